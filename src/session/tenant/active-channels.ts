// The channels that a tenant has in use on this gateway: those with subscribers, and those whose history
// received a publication within its time to live. Their number is limited, so that a client cannot fill the
// memory with invented channel names.
import type { ChannelUse } from '../../quota/ledger.js'
import type { Clock } from '../../time.js'

interface ActiveChannel {
  subscribers: number
  /** Monotonic milliseconds. */
  storedUntilMs: number
}

const sweepIntervalMs = 1000

export class ActiveChannels {
  /**
   * Called when the number of subscribers of a channel changes, when it gets a history, and when it is no
   * longer active.
   */
  onChange: (channel: string) => void = () => undefined
  readonly #clock: Clock
  readonly #channels = new Map<string, ActiveChannel>()
  #sweptAtMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Returns the use of an active channel. */
  useOf(channel: string): ChannelUse | undefined {
    const active = this.#channels.get(channel)
    if (!active) return undefined
    const storedForMs = Math.max(0, active.storedUntilMs - this.#clock.monotonicMs())
    return { subscribers: active.subscribers, storedForMs }
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
        if (use.subscribers === 0 && use.storedUntilMs <= nowMs) this.#remove(channel)
      }
    }
    return this.#channels.size
  }

  addSubscriber(channel: string): void {
    this.#activate(channel).subscribers += 1
    this.onChange(channel)
  }

  removeSubscriber(channel: string): void {
    const use = this.#channels.get(channel)
    if (!use) return
    use.subscribers -= 1
    if (use.subscribers === 0 && use.storedUntilMs <= this.#clock.monotonicMs()) this.#remove(channel)
    else this.onChange(channel)
  }

  /** Keeps the channel active for `historyTtlMs` milliseconds from now. */
  addPublication(channel: string, historyTtlMs: number): void {
    const active = this.#activate(channel)
    const nowMs = this.#clock.monotonicMs()
    const isNew = active.storedUntilMs <= nowMs
    active.storedUntilMs = nowMs + historyTtlMs
    if (isNew) this.onChange(channel)
  }

  subscribersOf(channel: string): number {
    return this.#channels.get(channel)?.subscribers ?? 0
  }

  /** Yields the channels that have subscribers on this gateway, with their number. */
  *subscribedChannels(): Iterable<[channel: string, subscribers: number]> {
    for (const [channel, use] of this.#channels) if (use.subscribers > 0) yield [channel, use.subscribers]
  }

  #remove(channel: string): void {
    this.#channels.delete(channel)
    this.onChange(channel)
  }

  #activate(channel: string): ActiveChannel {
    let use = this.#channels.get(channel)
    if (!use) {
      use = { subscribers: 0, storedUntilMs: 0 }
      this.#channels.set(channel, use)
    }
    return use
  }
}
