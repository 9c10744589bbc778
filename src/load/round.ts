// One measured round: publishes at a given rate, or as fast as publishes are acknowledged, and counts
// deliveries and replies.
import type { ClientProtocol } from './client-protocol.js'
import { Latencies, type LatencySummary } from './latencies.js'
import { nowUs, readStamp, stamped } from './stamp.js'

export interface RoundOptions {
  readonly seconds: number
  readonly pace:
    /** All publishers together publish at this rate, independent of replies. */
    | { readonly kind: 'rate'; readonly perSecond: number }
    /** Each publisher keeps this many publishes without a reply. */
    | { readonly kind: 'inFlight'; readonly perPublisher: number }
  readonly payloadBytes: number
  /** The publishers publish to these channels in turn. */
  readonly channels: readonly string[]
  /** A delivery that has not arrived this long after the last publication counts as missing. */
  readonly drainMs: number
}

export interface RoundReport {
  readonly published: number
  /** Number of deliveries that the publications should cause: one for each subscriber of their channels. */
  readonly expected: number
  readonly delivered: number
  readonly missing: number
  /** Time from the first publication to the last delivery or reply. */
  readonly seconds: number
  readonly deliveryLatency: LatencySummary
  readonly replied: number
  readonly replyLatency: LatencySummary
  /** Number of publishes that were refused, by error code. */
  readonly errors: Readonly<Record<string, number>>
}

interface Publisher {
  send(text: string): void
}

interface RoundParts {
  /** Number of the round, counted from 1. It is part of the stamp of each publication. */
  readonly number: number
  readonly protocol: ClientProtocol
  readonly publishers: readonly Publisher[]
  readonly subscribersOf: ReadonlyMap<string, number>
}

const tickMs = 1

export class Round {
  readonly #options: RoundOptions
  readonly #parts: RoundParts
  readonly #deliveryLatencies = new Latencies()
  readonly #replyLatencies = new Latencies()
  readonly #errors = new Map<string, number>()
  /** The send times of the publishes without a reply, oldest first. */
  readonly #sentUs = new Map<Publisher, number[]>()
  #startedUs = 0
  #lastUs = 0
  #published = 0
  #expected = 0
  #delivered = 0
  #replied = 0
  #isPublishing = true
  #finish: (() => void) | undefined

  constructor(options: RoundOptions, parts: RoundParts) {
    if (parts.publishers.length === 0 || options.channels.length === 0)
      throw new Error('A round needs at least one publisher and one channel')
    this.#options = options
    this.#parts = parts
    for (const publisher of parts.publishers) this.#sentUs.set(publisher, [])
  }

  /** Resolves when everything is delivered and acknowledged, or `drainMs` after the last publication. */
  async run(): Promise<RoundReport> {
    const { drainMs, pace, seconds } = this.#options
    this.#startedUs = this.#lastUs = nowUs()
    if (pace.kind === 'inFlight') {
      for (const publisher of this.#parts.publishers)
        for (let sent = 0; sent < pace.perPublisher; sent += 1) this.#publish(publisher)
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    } else await this.#publishAtRate(pace.perSecond)
    this.#isPublishing = false
    await this.#drain(drainMs)
    return {
      published: this.#published,
      expected: this.#expected,
      delivered: this.#delivered,
      missing: this.#expected - this.#delivered,
      seconds: (this.#lastUs - this.#startedUs) / 1e6,
      deliveryLatency: this.#deliveryLatencies.summary(),
      replied: this.#replied,
      replyLatency: this.#replyLatencies.summary(),
      errors: Object.fromEntries(this.#errors),
    }
  }

  onPush(bytes: Buffer, from: number, to: number): void {
    const sentUs = readStamp(bytes, { from, to, round: this.#parts.number })
    if (sentUs === undefined) return
    this.#delivered += 1
    this.#lastUs = nowUs()
    this.#deliveryLatencies.add(this.#lastUs - sentUs)
    this.#finishIfDone()
  }

  onReply(publisher: Publisher, error: string | undefined): void {
    const sentUs = this.#sentUs.get(publisher)?.shift()
    if (sentUs === undefined) return
    this.#replied += 1
    this.#lastUs = nowUs()
    this.#replyLatencies.add(this.#lastUs - sentUs)
    if (error !== undefined) this.#errors.set(error, (this.#errors.get(error) ?? 0) + 1)
    if (this.#isPublishing && this.#options.pace.kind === 'inFlight') this.#publish(publisher)
    this.#finishIfDone()
  }

  #publish(publisher: Publisher): void {
    const { channels, payloadBytes } = this.#options
    const { protocol, number, subscribersOf } = this.#parts
    const channel = channels[this.#published % channels.length] ?? ''
    this.#published += 1
    this.#expected += subscribersOf.get(channel) ?? 0
    if (protocol.acknowledgesPublishes) this.#sentUs.get(publisher)?.push(nowUs())
    publisher.send(protocol.publish(this.#published + 1000, channel, stamped(number, payloadBytes)))
  }

  #publishAtRate(perSecond: number): Promise<void> {
    const { publishers } = this.#parts
    const total = Math.round(perSecond * this.#options.seconds)
    return new Promise((resolve) => {
      const tick = setInterval(() => {
        const due = Math.min(total, ((nowUs() - this.#startedUs) / 1e6) * perSecond)
        while (this.#published < due) {
          const publisher = publishers[this.#published % publishers.length]
          if (publisher) this.#publish(publisher)
        }
        if (this.#published < total) return
        clearInterval(tick)
        resolve()
      }, tickMs)
    })
  }

  #drain(drainMs: number): Promise<void> {
    return new Promise((resolve) => {
      const deadline = setTimeout(() => this.#finish?.(), drainMs)
      this.#finish = () => {
        clearTimeout(deadline)
        this.#finish = undefined
        resolve()
      }
      this.#finishIfDone()
    })
  }

  #finishIfDone(): void {
    if (!this.#finish || this.#delivered < this.#expected) return
    if (this.#parts.protocol.acknowledgesPublishes && this.#replied < this.#published) return
    this.#finish()
  }
}
