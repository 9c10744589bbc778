// A cache of stream epochs. The gateway caches the epochs of the channels that it publishes to, so that most
// publishes do not need the script that looks the epoch up.
import { randomBytes } from 'node:crypto'
import type { Clock } from '../../time.js'

export interface KnownEpoch {
  readonly epoch: string
  /**
   * The incarnation of the data in which the epoch was found: see `Generation.store`. A Redis that lost its
   * data has another incarnation and other epochs.
   */
  readonly store: string
  /** The time to live in milliseconds for which the stream is due for the sweep. */
  readonly ttlMs: number
}

/**
 * The lifetime of an entry, in milliseconds. After it a publish runs the script again, which also extends the
 * expiry of stream and epoch.
 */
const knownForMs = 3_600_000
const knownMax = 100_000

export class KnownEpochs {
  readonly #clock: Clock
  /** Entries by stream key, in the order of `set`. At `knownMax` entries the oldest is dropped. */
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

  set(streamKey: string, { epoch, store, ttlMs }: KnownEpoch): void {
    this.#known.delete(streamKey)
    if (this.#known.size >= knownMax) {
      const [oldest] = this.#known.keys()
      if (oldest !== undefined) this.#known.delete(oldest)
    }
    this.#known.set(streamKey, { epoch, store, ttlMs, untilMs: this.#clock.monotonicMs() + knownForMs })
  }

  delete(streamKey: string): void {
    this.#known.delete(streamKey)
  }
}

/** Returns 12 random characters, by which the epochs of two streams differ. */
export function newNonce(): string {
  return randomBytes(9).toString('base64url')
}
