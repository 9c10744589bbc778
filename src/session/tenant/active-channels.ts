// The channels that a tenant has in use on this gateway: those with subscribers, and those whose history
// received a publication within its time to live. Their number is limited, so that a client cannot fill the
// memory with invented channel names.
import type { Clock } from '../../time.js'

interface ChannelUse {
  subscribers: number
  /** Monotonic milliseconds. */
  storedUntilMs: number
}

const sweepIntervalMs = 1000

export class ActiveChannels {
  readonly #clock: Clock
  readonly #channels = new Map<string, ChannelUse>()
  #sweptAtMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  has(channel: string): boolean {
    return this.#channels.has(channel)
  }

  /**
   * Returns the number of active channels. A channel whose history has expired is counted until the next
   * sweep, at most a second later.
   */
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

  addSubscriber(channel: string): void {
    this.#use(channel).subscribers += 1
  }

  removeSubscriber(channel: string): void {
    const use = this.#channels.get(channel)
    if (!use) return
    use.subscribers -= 1
    if (use.subscribers === 0 && use.storedUntilMs <= this.#clock.monotonicMs())
      this.#channels.delete(channel)
  }

  /** Keeps the channel active for `historyTtlMs` milliseconds from now. */
  addPublication(channel: string, historyTtlMs: number): void {
    this.#use(channel).storedUntilMs = this.#clock.monotonicMs() + historyTtlMs
  }

  subscribersOf(channel: string): number {
    return this.#channels.get(channel)?.subscribers ?? 0
  }

  /** Yields the channels that have subscribers on this gateway, with their number. */
  *subscribedChannels(): Iterable<[channel: string, subscribers: number]> {
    for (const [channel, use] of this.#channels) if (use.subscribers > 0) yield [channel, use.subscribers]
  }

  #use(channel: string): ChannelUse {
    let use = this.#channels.get(channel)
    if (!use) {
      use = { subscribers: 0, storedUntilMs: 0 }
      this.#channels.set(channel, use)
    }
    return use
  }
}
