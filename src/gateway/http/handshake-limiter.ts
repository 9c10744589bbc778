// Limits how many handshakes a gateway accepts per second. When another gateway dies, its clients would
// otherwise all wait for one gateway whose core they keep busy.
import { CommandError } from '../../errors.js'
import { TokenBucket } from '../../quota/token-bucket.js'
import type { Clock } from '../../time.js'

/** The throughput of one core. */
export const defaultHandshakesPerSecond = 3_000
/**
 * Handshakes accepted at once, in seconds of the rate. The last of a burst waits about as long in the pacer.
 */
const burstS = 3
/** The longest wait that a client is asked for, without the jitter. */
const backlogMsMax = 30_000
/** Retry-After has a resolution of one second. Clients that are refused together must not return together. */
const jitterMs = 2_000

export class HandshakeLimiter {
  readonly #perSecond: number
  readonly #clock: Clock
  readonly #random: () => number
  readonly #burst: number
  readonly #bucket: TokenBucket
  /** Its debt is the refused clients whose turn has not come yet. */
  readonly #backlog: TokenBucket

  constructor(perSecond: number, { clock, random }: { clock: Clock; random: () => number }) {
    const nowMs = clock.monotonicMs()
    this.#perSecond = perSecond
    this.#clock = clock
    this.#random = random
    this.#burst = perSecond * burstS
    this.#bucket = new TokenBucket({ rate: perSecond, burst: this.#burst }, nowMs)
    this.#backlog = new TokenBucket({ rate: perSecond, burst: 0 }, nowMs)
  }

  /**
   * Accepts one handshake, while `waiting` accepted ones still wait in the pacer. More than a burst of them
   * means that the core handles fewer than the rate. Throws OVERLOADED; `retryAfterMs` is the time until all
   * clients refused before have had their turn, plus a random part.
   */
  admit(waiting: number): void {
    const nowMs = this.#clock.monotonicMs()
    if (waiting < this.#burst && this.#bucket.take(1, nowMs) === 0) return
    const backlogMs =
      this.#backlog.charge(0, nowMs) < backlogMsMax ? this.#backlog.charge(1, nowMs) : backlogMsMax
    throw new CommandError(
      'OVERLOADED',
      `This gateway accepts ${this.#perSecond} handshakes per second and received more`,
      { retryAfterMs: backlogMs + this.#random() * jitterMs },
    )
  }
}
