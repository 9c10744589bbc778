// Publishes continuously, and records the outcome of each publish. Every second publish has an idempotency
// key and is repeated until it is acknowledged, as the documentation asks of clients.
import { setTimeout as sleep } from 'node:timers/promises'
import type { Position } from '../../src/broker/broker.js'
import type { PublishRecord } from './oracle.js'

export interface Channel {
  readonly tenant: string
  readonly channel: string
}

/**
 * A broker, or a client of one of the endpoints. `publish` rejects with an error that has a `code` when it is
 * refused.
 */
export interface Publisher {
  readonly name: string
  /** The tenant to whose channels it publishes. Undefined: it publishes to all channels. */
  readonly tenant?: string | undefined
  /** True when it supports idempotency keys. */
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
  /** Publishes per second of each publisher. */
  readonly perSecond: number
  /** Time after which a publish with a key is not repeated any more. Default: 20,000. */
  readonly retryForMs?: number
}

/** Error codes after which a publish is repeated with the same key. */
const temporary = new Set(['NOT_REPLICATED', 'BROKER_UNAVAILABLE', 'INTERNAL', 'CONNECTION_LOST'])
const retryPauseMs = 300

export class Load {
  readonly sent: PublishRecord[] = []
  readonly #options: LoadOptions
  readonly #open = new Set<Promise<void>>()
  #count = 0
  #running: Promise<void> | undefined
  #stopped = false
  #abandoned = false

  constructor(options: LoadOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Stops publishing. Resolves when every publish has an outcome. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    await Promise.all(this.#open)
  }

  /** Stops publishing without further repetitions. */
  async abandon(): Promise<void> {
    this.#abandoned = true
    await this.stop()
  }

  get acked(): readonly PublishRecord[] {
    return this.sent.filter(({ outcome }) => outcome === 'acked')
  }

  /** Number of publishes that were sent after `sinceMs` and acknowledged. With `to`: only of that channel. */
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

  /**
   * The spans after `sinceMs` of at least `atLeastMs` without an acknowledgement. With `of`: only of that
   * channel.
   */
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

  /** Sends one more publish with a key, and repeats it for up to 30 s. */
  async sendOne(to: Channel): Promise<PublishRecord> {
    const publisher = this.#options.publishers.find(
      ({ keys, tenant }) => keys && (tenant ?? to.tenant) === to.tenant,
    )
    if (!publisher) throw new Error('no publisher supports keys for this tenant')
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

  async #send(
    publisher: Publisher,
    to: Channel,
    options: { keyed: boolean; forMs: number },
  ): Promise<PublishRecord> {
    this.#count += 1
    const text = `${to.tenant}|${to.channel}|${publisher.name}-${this.#count}`
    const sentMs = performance.now()
    const sent: PublishRecord = { text, ...to, sentMs, outcome: 'open' }
    this.sent.push(sent)
    for (;;) {
      try {
        sent.position = await publisher.publish(to, text, options.keyed ? text : undefined)
        sent.ackedMs = performance.now()
        sent.outcome = 'acked'
        return sent
      } catch (error) {
        sent.code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
        if (this.#abandoned || !temporary.has(sent.code) || performance.now() - sentMs > options.forMs) {
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
