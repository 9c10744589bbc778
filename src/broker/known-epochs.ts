// Epochs of channels that this gateway publishes to: spares each publish the script that would look its channel's up.
import type { Clock } from '../time.js'

/** Asked again after so long: the script then also renews the idle time of stream and epoch. */
const knownForMs = 3_600_000
const knownMax = 100_000

export class KnownEpochs {
  readonly #clock: Clock
  /** In order of `set`: the oldest goes when there are too many. */
  readonly #known = new Map<string, { epoch: string; untilMs: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get(streamKey: string): string | undefined {
    const known = this.#known.get(streamKey)
    if (!known) return undefined
    if (known.untilMs > this.#clock.monotonicMs()) return known.epoch
    this.#known.delete(streamKey)
    return undefined
  }

  set(streamKey: string, epoch: string): void {
    this.#known.delete(streamKey)
    if (this.#known.size >= knownMax) {
      const [oldest] = this.#known.keys()
      if (oldest !== undefined) this.#known.delete(oldest)
    }
    this.#known.set(streamKey, { epoch, untilMs: this.#clock.monotonicMs() + knownForMs })
  }

  delete(streamKey: string): void {
    this.#known.delete(streamKey)
  }
}
