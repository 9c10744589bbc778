// Sends messages: shown at once, then acknowledged, refused, or in doubt. What is written while the connection is away waits for it.
import type { Author, Log } from './message-log.js'
import { isAnswer, refusalOf, refusalSentence } from './error-text.js'

/** What an outbox needs of its conversation. */
export interface OutboxPeer {
  readonly log: Log
  /** Would a publish be sent now? */
  isOpen(): boolean
  publish(text: string): Promise<unknown>
  me(): Author
  changed(): void
}

/** Nobody should write a novel into a dead line. */
const waitingMax = 20

export class Outbox {
  readonly #peer: OutboxPeer
  #waiting: number[] = []

  constructor(peer: OutboxPeer) {
    this.#peer = peer
  }

  get isFull(): boolean {
    return this.#waiting.length >= waitingMax
  }

  /** Does nothing when full: whoever calls looks first. */
  send(text: string): void {
    if (this.isFull) return
    const { log } = this.#peer
    this.#post(log.draft(this.#peer.me(), text, { timeMs: Date.now(), delivery: { kind: 'sending' } }).id)
  }

  retry(id: number): void {
    if (!this.isFull) this.#post(id)
  }

  discard(id: number): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting !== id)
    this.#peer.log.discard(id)
    this.#peer.changed()
  }

  /** The line is open again: sends what waited, in the order it was written. */
  flush(): void {
    for (const id of this.#waiting.splice(0)) this.#post(id)
  }

  #post(id: number): void {
    const { log } = this.#peer
    const message = log.find(id)
    if (!message) return
    if (this.#peer.isOpen()) {
      log.setDelivery(id, { kind: 'sending' })
      void this.#publish(id, message.text)
    } else {
      log.setDelivery(id, { kind: 'waiting' })
      this.#waiting.push(id)
    }
    this.#peer.changed()
  }

  /** Never rejects: each outcome is shown at the message. */
  async #publish(id: number, text: string): Promise<void> {
    const { log } = this.#peer
    try {
      await this.#peer.publish(text)
      log.setDelivery(id, { kind: 'delivered' })
    } catch (error) {
      const refusal = refusalOf(error)
      log.setDelivery(
        id,
        isAnswer(refusal) ? { kind: 'refused', why: refusalSentence(refusal) } : { kind: 'unsure' },
      )
    }
    this.#peer.changed()
  }
}
