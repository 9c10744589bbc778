// Counts the channels a tenant has in use, so that nobody fills the memory by making up names: those with subscribers here, and
// those with history that somebody published to within its time to live.
import type { Clock } from '../../time.js'

interface Use {
  subscribers: number
  /** Monotonic milliseconds. */
  storedUntilMs: number
}

const sweepIntervalMs = 1000

export class ChannelCensus {
  readonly #clock: Clock
  readonly #channels = new Map<string, Use>()
  #sweptAtMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  has(channel: string): boolean {
    return this.#channels.has(channel)
  }

  /** Channels in use. One whose history has ended counts until the next sweep, at most a second later. */
  count(): number {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#sweptAtMs >= sweepIntervalMs) {
      this.#sweptAtMs = nowMs
      for (const [channel, use] of this.#channels) {
        if (use.subscribers === 0 && use.storedUntilMs <= nowMs) this.#channels.delete(channel)
      }
    }
    return this.#channels.size
  }

  subscribed(channel: string): void {
    this.#use(channel).subscribers += 1
  }

  unsubscribed(channel: string): void {
    const use = this.#channels.get(channel)
    if (!use) return
    use.subscribers -= 1
    if (use.subscribers === 0 && use.storedUntilMs <= this.#clock.monotonicMs())
      this.#channels.delete(channel)
  }

  published(channel: string, historyTtlMs: number): void {
    this.#use(channel).storedUntilMs = this.#clock.monotonicMs() + historyTtlMs
  }

  subscribersOf(channel: string): number {
    return this.#channels.get(channel)?.subscribers ?? 0
  }

  /** Channels that have subscribers here, with their number, for `/stats`. */
  *subscribedChannels(): Iterable<[channel: string, subscribers: number]> {
    for (const [channel, use] of this.#channels) if (use.subscribers > 0) yield [channel, use.subscribers]
  }

  #use(channel: string): Use {
    let use = this.#channels.get(channel)
    if (!use) {
      use = { subscribers: 0, storedUntilMs: 0 }
      this.#channels.set(channel, use)
    }
    return use
  }
}
