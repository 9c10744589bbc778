// Sends the messages of a conversation. A message is shown immediately and is then delivered, refused or
// unconfirmed. While the connection is lost, messages wait.
import type { Author, MessageLog } from './message-log.js'
import { isServerRefusal, parseRefusal, refusalText } from './error-text.js'

/** What a sender needs of its conversation. */
export interface MessageSenderHost {
  readonly log: MessageLog
  /** Whether a publish would be sent now. */
  canSend(): boolean
  publish(text: string): Promise<unknown>
  ownAuthor(): Author
  changed(): void
}

/** Limit on the messages that wait for the connection. */
const waitingMax = 20

export class MessageSender {
  readonly #host: MessageSenderHost
  #waiting: number[] = []

  constructor(host: MessageSenderHost) {
    this.#host = host
  }

  get isFull(): boolean {
    return this.#waiting.length >= waitingMax
  }

  /** Sends a message, or queues it while the connection is lost. Does nothing when `isFull`. */
  send(text: string): void {
    if (this.isFull) return
    const { log } = this.#host
    this.#sendOrQueue(
      log.draft(this.#host.ownAuthor(), text, { timeMs: Date.now(), delivery: { kind: 'sending' } }).id,
    )
  }

  retry(id: number): void {
    if (!this.isFull) this.#sendOrQueue(id)
  }

  discard(id: number): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting !== id)
    this.#host.log.discard(id)
    this.#host.changed()
  }

  /**
   * Sends the waiting messages in the order in which they were written. Called when the connection is back.
   */
  flush(): void {
    for (const id of this.#waiting.splice(0)) this.#sendOrQueue(id)
  }

  #sendOrQueue(id: number): void {
    const { log } = this.#host
    const message = log.find(id)
    if (!message) return
    if (this.#host.canSend()) {
      log.setDelivery(id, { kind: 'sending' })
      void this.#publish(id, message.text)
    } else {
      log.setDelivery(id, { kind: 'waiting' })
      this.#waiting.push(id)
    }
    this.#host.changed()
  }

  /** Never rejects. The message shows the outcome. */
  async #publish(id: number, text: string): Promise<void> {
    const { log } = this.#host
    try {
      await this.#host.publish(text)
      log.setDelivery(id, { kind: 'delivered' })
    } catch (error) {
      const refusal = parseRefusal(error)
      log.setDelivery(
        id,
        isServerRefusal(refusal)
          ? { kind: 'refused', reason: refusalText(refusal) }
          : { kind: 'unconfirmed' },
      )
    }
    this.#host.changed()
  }
}
