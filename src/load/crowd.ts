// Many connections of one process: they come, stay, publish in rounds, and count exactly what arrives.
import { setTimeout as sleep } from 'node:timers/promises'
import { Line, type LineOwner } from './line.js'
import type { Language, Visitor } from './language.js'
import { Latencies, type LatencySummary } from './latencies.js'
import { Round, type RoundOptions, type RoundReport } from './round.js'
import { nowUs } from './stamp.js'

export interface CrowdOptions {
  readonly url: URL
  readonly language: Language
  readonly subscribers: number
  /** Of one subscriber. */
  readonly channelsOf: (index: number) => readonly string[]
  readonly publishers: number
  /** Handshakes under way at once. */
  readonly arrivingMax: number
  /** For more connections than one address has ports. */
  readonly localAddressOf?: (index: number) => string | undefined
}

export interface Arrival {
  readonly ready: number
  readonly seconds: number
  /** From the first byte to the last answer, of the attempt that led in. */
  readonly latency: LatencySummary
  /** Told to come later, and come later. */
  readonly postponed: number
  /** Who was refused or lost on the way, by code. */
  readonly failures: Readonly<Record<string, number>>
}

/** How an attempt ended: ready, gone for good, or told to come again after so many milliseconds. */
type Ended = { readonly retryAfterMs: number | undefined }

class Member implements Visitor, LineOwner {
  readonly index: number
  readonly channels: readonly string[]
  readonly #crowd: Crowd
  readonly #line: Line
  readonly #settled: (ended: Ended) => void
  readonly #startedUs = nowUs()
  /** Answers that are missing until it is ready. */
  #missing = 1
  ready = false

  constructor(
    crowd: Crowd,
    visitor: Visitor,
    options: { url: URL; localAddress: string | undefined; settled: (ended: Ended) => void },
  ) {
    this.index = visitor.index
    this.channels = visitor.channels
    this.#crowd = crowd
    this.#settled = options.settled
    const { localAddress, url } = options
    this.#line = new Line(url, crowd.language.target(visitor), { owner: this, localAddress })
  }

  onOpen(): void {
    const hello = this.#crowd.language.hello(this)
    this.#missing = hello?.answers ?? 0
    if (hello) this.#line.send(hello.text)
    else this.#becomeReady()
  }

  onText(bytes: Buffer, from: number, to: number): void {
    const { language, round } = this.#crowd
    const heard = language.hear(bytes, from, to)
    if (heard === 'push') return round?.onPush(bytes, from, to)
    if (heard === 'ping') return this.#line.send(language.pong)
    const text = bytes.toString('utf8', from, to)
    if (this.ready) {
      const refusal = heard === 'refusal' ? language.refusal(text) : undefined
      return round?.onAnswer(this, refusal)
    }
    if (heard === 'refusal') return this.#fail(language.refusal(text))
    language.welcome(this, text)
    this.#missing -= 1
    if (this.#missing === 0) this.#becomeReady()
  }

  onClosed(reason: string, retryAfterMs?: number): void {
    this.#crowd.lose(this, retryAfterMs === undefined ? reason : undefined)
    this.#settled({ retryAfterMs })
  }

  send(text: string): void {
    this.#line.send(text)
  }

  cut(): void {
    this.#line.cut()
  }

  #becomeReady(): void {
    this.ready = true
    this.#crowd.onReady(this, nowUs() - this.#startedUs)
    this.#settled({ retryAfterMs: undefined })
  }

  #fail(reason: string): void {
    this.#line.cut()
    this.onClosed(reason)
  }
}

export class Crowd {
  readonly language: Language
  /** The one under way. */
  round: Round | undefined
  readonly #options: CrowdOptions
  readonly #members = new Set<Member>()
  readonly #publishers: Member[] = []
  readonly #subscribersOf = new Map<string, number>()
  readonly #failures = new Map<string, number>()
  #arrivals = new Latencies()
  #rounds = 0

  constructor(options: CrowdOptions) {
    this.#options = options
    this.language = options.language
  }

  get size(): number {
    return this.#members.size
  }

  get canPublish(): boolean {
    return this.#publishers.length > 0
  }

  /** By code, since the crowd came. */
  get failures(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#failures)
  }

  /** Resolves when everybody is ready or refused. */
  async come(): Promise<Arrival> {
    const { arrivingMax, channelsOf, localAddressOf, publishers, subscribers, url } = this.#options
    this.#failures.clear()
    this.#arrivals = new Latencies()
    const startedUs = nowUs()
    const indices = Array.from({ length: subscribers + publishers }, (_, index) => index).values()
    let postponed = 0
    const usher = async (): Promise<void> => {
      for (const index of indices) {
        const visitor = { index, channels: index < subscribers ? channelsOf(index) : [] }
        const localAddress = localAddressOf?.(index)
        const attempt = (): Promise<Ended> =>
          new Promise((settled) => {
            this.#members.add(new Member(this, visitor, { url, localAddress, settled }))
          })
        let { retryAfterMs } = await attempt()
        while (retryAfterMs !== undefined) {
          postponed += 1
          await sleep(retryAfterMs)
          ;({ retryAfterMs } = await attempt())
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(arrivingMax, subscribers + publishers) }, usher))
    return {
      ready: this.#members.size,
      seconds: (nowUs() - startedUs) / 1e6,
      latency: this.#arrivals.summary(),
      postponed,
      failures: this.failures,
    }
  }

  onReady(member: Member, us: number): void {
    this.#arrivals.add(us)
    for (const channel of member.channels)
      this.#subscribersOf.set(channel, (this.#subscribersOf.get(channel) ?? 0) + 1)
    if (member.channels.length === 0) this.#publishers.push(member)
  }

  /** `reason`: of a failure. Undefined: it comes again. */
  lose(member: Member, reason: string | undefined): void {
    if (reason !== undefined) this.#failures.set(reason, (this.#failures.get(reason) ?? 0) + 1)
    this.#forget(member)
  }

  /** One at a time. Resolves when all is delivered and answered, or `drainMs` after the end. */
  async run(options: RoundOptions): Promise<RoundReport> {
    this.#rounds += 1
    this.round = new Round(options, {
      number: this.#rounds,
      language: this.language,
      publishers: this.#publishers.toSorted((a, b) => a.index - b.index),
      subscribersOf: this.#subscribersOf,
    })
    try {
      return await this.round.run()
    } finally {
      this.round = undefined
    }
  }

  /** Everybody, at once and without a word. */
  vanish(): void {
    for (const member of this.#members) {
      member.cut()
      this.#forget(member)
    }
  }

  #forget(member: Member): void {
    if (!this.#members.delete(member) || !member.ready) return
    for (const channel of member.channels)
      this.#subscribersOf.set(channel, (this.#subscribersOf.get(channel) ?? 1) - 1)
    const publisher = this.#publishers.indexOf(member)
    if (publisher !== -1) this.#publishers.splice(publisher, 1)
  }
}
