// Epochs of streams. The gateway remembers the epochs of the channels that it publishes to: this spares most
// publishes the script that would look the epoch up.
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../time.js'

export interface KnownEpoch {
  readonly epoch: string
  /**
   * The incarnation of the data in which the epoch was found: see `Generation`. A Redis that lost its data
   * has another one, and other epochs.
   */
  readonly store: string
}

/** After this time a publish runs the script again, which also renews the idle time of stream and epoch. */
const knownForMs = 3_600_000
const knownMax = 100_000

export class KnownEpochs {
  readonly #clock: Clock
  /** In the order of `set`: at `knownMax` the oldest is dropped. */
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

/** A random epoch, 12 characters. */
export function newEpoch(): string {
  return randomBytes(9).toString('base64url')
}
