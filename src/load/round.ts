// One measured round: publications at a given rate, or as fast as they are acknowledged, and what became of each.
import type { Language } from './language.js'
import { Latencies, type LatencySummary } from './latencies.js'
import { nowUs, readStamp, stamped } from './stamp.js'

export interface RoundOptions {
  readonly seconds: number
  readonly pace:
    /** All publishers together, whatever the server does. */
    | { readonly kind: 'rate'; readonly perSecond: number }
    /** Each publisher has so many unanswered ones. */
    | { readonly kind: 'inFlight'; readonly each: number }
  readonly payloadBytes: number
  /** Published to in turn. */
  readonly channels: readonly string[]
  /** What is not delivered so long after the end is missing. */
  readonly drainMs: number
}

export interface RoundReport {
  readonly published: number
  /** Deliveries that the publications should lead to. */
  readonly offered: number
  readonly delivered: number
  readonly missing: number
  /** From the first publication to the last delivery or answer. */
  readonly seconds: number
  readonly delivery: LatencySummary
  readonly answered: number
  readonly answer: LatencySummary
  /** By code. */
  readonly refusals: Readonly<Record<string, number>>
}

interface Publisher {
  send(text: string): void
}

interface RoundParts {
  /** From 1. */
  readonly number: number
  readonly language: Language
  readonly publishers: readonly Publisher[]
  readonly subscribersOf: ReadonlyMap<string, number>
}

const tickMs = 1

export class Round {
  readonly #options: RoundOptions
  readonly #parts: RoundParts
  readonly #deliveries = new Latencies()
  readonly #answers = new Latencies()
  readonly #refusals = new Map<string, number>()
  /** When those were sent that are not answered, oldest first. */
  readonly #unanswered = new Map<Publisher, number[]>()
  #startedUs = 0
  #lastUs = 0
  #published = 0
  #offered = 0
  #delivered = 0
  #answered = 0
  #publishing = true
  #finish: (() => void) | undefined

  constructor(options: RoundOptions, parts: RoundParts) {
    if (parts.publishers.length === 0 || options.channels.length === 0)
      throw new Error('a round needs a publisher and a channel')
    this.#options = options
    this.#parts = parts
    for (const publisher of parts.publishers) this.#unanswered.set(publisher, [])
  }

  async run(): Promise<RoundReport> {
    const { drainMs, pace, seconds } = this.#options
    this.#startedUs = this.#lastUs = nowUs()
    if (pace.kind === 'inFlight') {
      for (const publisher of this.#parts.publishers)
        for (let sent = 0; sent < pace.each; sent += 1) this.#publish(publisher)
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
    } else await this.#atRate(pace.perSecond)
    this.#publishing = false
    await this.#drained(drainMs)
    return {
      published: this.#published,
      offered: this.#offered,
      delivered: this.#delivered,
      missing: this.#offered - this.#delivered,
      seconds: (this.#lastUs - this.#startedUs) / 1e6,
      delivery: this.#deliveries.summary(),
      answered: this.#answered,
      answer: this.#answers.summary(),
      refusals: Object.fromEntries(this.#refusals),
    }
  }

  onPush(bytes: Buffer, from: number, to: number): void {
    const sentUs = readStamp(bytes, { from, to, round: this.#parts.number })
    if (sentUs === undefined) return
    this.#delivered += 1
    this.#lastUs = nowUs()
    this.#deliveries.add(this.#lastUs - sentUs)
    this.#finishIfDone()
  }

  onAnswer(publisher: Publisher, refusal: string | undefined): void {
    const sentUs = this.#unanswered.get(publisher)?.shift()
    if (sentUs === undefined) return
    this.#answered += 1
    this.#lastUs = nowUs()
    this.#answers.add(this.#lastUs - sentUs)
    if (refusal !== undefined) this.#refusals.set(refusal, (this.#refusals.get(refusal) ?? 0) + 1)
    if (this.#publishing && this.#options.pace.kind === 'inFlight') this.#publish(publisher)
    this.#finishIfDone()
  }

  #publish(publisher: Publisher): void {
    const { channels, payloadBytes } = this.#options
    const { language, number, subscribersOf } = this.#parts
    const channel = channels[this.#published % channels.length] ?? ''
    this.#published += 1
    this.#offered += subscribersOf.get(channel) ?? 0
    if (language.acknowledges) this.#unanswered.get(publisher)?.push(nowUs())
    publisher.send(language.publish(this.#published + 1000, channel, stamped(number, payloadBytes)))
  }

  #atRate(perSecond: number): Promise<void> {
    const { publishers } = this.#parts
    const wanted = Math.round(perSecond * this.#options.seconds)
    return new Promise((resolve) => {
      const tick = setInterval(() => {
        const due = Math.min(wanted, ((nowUs() - this.#startedUs) / 1e6) * perSecond)
        while (this.#published < due) {
          const publisher = publishers[this.#published % publishers.length]
          if (publisher) this.#publish(publisher)
        }
        if (this.#published < wanted) return
        clearInterval(tick)
        resolve()
      }, tickMs)
    })
  }

  #drained(drainMs: number): Promise<void> {
    return new Promise((resolve) => {
      const late = setTimeout(() => this.#finish?.(), drainMs)
      this.#finish = () => {
        clearTimeout(late)
        this.#finish = undefined
        resolve()
      }
      this.#finishIfDone()
    })
  }

  #finishIfDone(): void {
    if (!this.#finish || this.#delivered < this.#offered) return
    if (this.#parts.language.acknowledges && this.#answered < this.#published) return
    this.#finish()
  }
}
