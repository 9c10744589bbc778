// Epochs of channels that this gateway publishes to: spares each publish the script that would look its channel's up.
import type { Clock } from '../../time.js'

/** `store`: the life of the Redis in which the epoch was met. A Redis that lost its data has another, and other epochs. */
export interface KnownEpoch {
  readonly epoch: string
  readonly store: string
}

/** Asked again after so long: the script then also renews the idle time of stream and epoch. */
const knownForMs = 3_600_000
const knownMax = 100_000

export class KnownEpochs {
  readonly #clock: Clock
  /** In order of `set`: the oldest goes when there are too many. */
  readonly #known = new Map<string, KnownEpoch & { readonly untilMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get(streamKey: string): KnownEpoch | undefined {
    const known = this.#known.get(streamKey)
    if (!known) return undefined
    if (known.untilMs > this.#clock.monotonicMs()) return known
    this.#known.delete(streamKey)
    return undefined
  }

  set(streamKey: string, { epoch, store }: KnownEpoch): void {
    this.#known.delete(streamKey)
    if (this.#known.size >= knownMax) {
      const [oldest] = this.#known.keys()
      if (oldest !== undefined) this.#known.delete(oldest)
    }
    this.#known.set(streamKey, { epoch, store, untilMs: this.#clock.monotonicMs() + knownForMs })
  }

  delete(streamKey: string): void {
    this.#known.delete(streamKey)
  }
}
