// Publishers that never stop, and write down what became of each publish. Every other one bears a key and is sent again until it is
// acknowledged, as a client does that follows the documentation.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Position } from '../../src/broker/broker.js'
import type { Sent } from './oracle.js'

export interface Channel {
  readonly tenant: string
  readonly channel: string
}

/** Whoever can publish: a broker, a client at one of the doors. Rejects with an error that has a `code` when it is refused. */
export interface Publisher {
  readonly name: string
  /** Of which tenant's channels; undefined: of all. */
  readonly tenant?: string | undefined
  /** Whether keys make a repeat harmless here. */
  readonly keys: boolean
  publish(to: Channel, text: string, key: string | undefined): Promise<Position | undefined>
}

export interface Span {
  readonly fromMs: number
  readonly endMs: number
}

export interface LoadOptions {
  readonly publishers: readonly Publisher[]
  readonly channels: readonly Channel[]
  /** Of each publisher. */
  readonly perSecond: number
  /** A publish with a key is given up after so long. */
  readonly retryForMs?: number
}

/** Refusals that say: send it again with the same key. */
const temporary = new Set(['NOT_REPLICATED', 'BROKER_UNAVAILABLE', 'INTERNAL', 'CONNECTION_LOST'])
const retryPauseMs = 300

export class Load {
  readonly sent: Sent[] = []
  readonly #options: LoadOptions
  readonly #open = new Set<Promise<void>>()
  #count = 0
  #going: Promise<void> | undefined
  #stopped = false
  #abandoned = false

  constructor(options: LoadOptions) {
    this.#options = options
  }

  start(): void {
    this.#going = this.#run()
  }

  /** Resolves when every publish has its end. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#going
    await Promise.all(this.#open)
  }

  /** The same, but nothing is tried again: the judgement is over. */
  async abandon(): Promise<void> {
    this.#abandoned = true
    await this.stop()
  }

  get acked(): readonly Sent[] {
    return this.sent.filter(({ outcome }) => outcome === 'acked')
  }

  /** Publishes that were sent after `sinceMs` (to this channel) and acknowledged. */
  ackedSince(sinceMs: number, to?: Channel): number {
    return this.sent.filter(
      ({ outcome, sentMs, ...sent }) => outcome === 'acked' && sentMs > sinceMs && isTo(sent, to),
    ).length
  }

  failures(): Record<string, number> {
    const codes: Record<string, number> = {}
    for (const { code, outcome } of this.sent)
      if (outcome === 'failed') codes[code ?? '?'] = (codes[code ?? '?'] ?? 0) + 1
    return codes
  }

  /** The times after `sinceMs` in which nobody got an acknowledgement (in this channel) for at least `atLeastMs`. */
  pauses(sinceMs: number, atLeastMs: number, of?: Channel): Span[] {
    const times = this.acked
      .filter((sent) => isTo(sent, of))
      .map(({ ackedMs = 0 }) => ackedMs)
      .filter((ms) => ms >= sinceMs)
      .toSorted((a, b) => a - b)
    return times
      .map((endMs, index) => ({ fromMs: times[index - 1] ?? sinceMs, endMs }))
      .filter(({ endMs, fromMs }) => endMs - fromMs >= atLeastMs)
  }

  /** One more, with a key and much patience. */
  async sendOne(to: Channel): Promise<Sent> {
    const publisher = this.#options.publishers.find(
      ({ keys, tenant }) => keys && (tenant ?? to.tenant) === to.tenant,
    )
    if (!publisher) throw new Error('nobody can send it')
    return this.#send(publisher, to, { keyed: publisher.keys, forMs: 30_000 })
  }

  async #run(): Promise<void> {
    const { channels, perSecond, publishers, retryForMs = 20_000 } = this.#options
    while (!this.#stopped) {
      for (const publisher of publishers) {
        const own = channels.filter(({ tenant }) => (publisher.tenant ?? tenant) === tenant)
        const to = own[Math.floor(Math.random() * own.length)]
        if (!to) continue
        const keyed = publisher.keys && this.#count % 2 === 0
        const done = this.#send(publisher, to, { keyed, forMs: keyed ? retryForMs : 0 })
          .then(() => {})
          .finally(() => this.#open.delete(done))
        this.#open.add(done)
      }
      await sleep(1000 / perSecond)
    }
  }

  async #send(publisher: Publisher, to: Channel, how: { keyed: boolean; forMs: number }): Promise<Sent> {
    this.#count += 1
    const text = `${to.tenant}|${to.channel}|${publisher.name}-${this.#count}`
    const sentMs = performance.now()
    const sent: Sent = { text, ...to, sentMs, outcome: 'open' }
    this.sent.push(sent)
    for (;;) {
      try {
        sent.position = await publisher.publish(to, text, how.keyed ? text : undefined)
        sent.ackedMs = performance.now()
        sent.outcome = 'acked'
        return sent
      } catch (error) {
        sent.code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
        if (this.#abandoned || !temporary.has(sent.code) || performance.now() - sentMs > how.forMs) {
          sent.outcome = 'failed'
          return sent
        }
      }
      await sleep(retryPauseMs)
    }
  }
}

function isTo({ channel, tenant }: Channel, to: Channel | undefined): boolean {
  return !to || (channel === to.channel && tenant === to.tenant)
}
