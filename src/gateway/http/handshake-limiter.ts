// How many clients a gateway lets in at a time, so that the clients of another that died do not all wait for one whose core they keep busy.
import { CommandError } from '../../errors.js'
import { TokenBucket } from '../../quota/token-bucket.js'
import type { Clock } from '../../time.js'

/** What one core does. */
export const defaultHandshakesPerSecond = 3_000
/** So much at once is let in: who is last of them waits about as long for the turnstile. */
const burstS = 3
/** Nobody is told to wait longer. */
const backlogMsMax = 30_000
/** Whole seconds are all that Retry-After can say: who was refused together must not come back together. */
const jitterMs = 2_000

export class HandshakeLimiter {
  readonly #perSecond: number
  readonly #clock: Clock
  readonly #random: () => number
  readonly #burst: number
  readonly #bucket: TokenBucket
  /** In debt by those who were refused and whose turn has not come. */
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
   * One client more, while `waiting` who were let in still wait for their turn: more than a burst are too many, where a core does less than the
   * rate. Throws OVERLOADED with the time when all who were refused before have had their turn, and some chance.
   */
  admit(waiting: number): void {
    const nowMs = this.#clock.monotonicMs()
    if (waiting < this.#burst && this.#bucket.take(1, nowMs) === 0) return
    const behindMs = this.#backlog.charge(0, nowMs) < backlogMsMax ? this.#backlog.charge(1, nowMs) : backlogMsMax
    throw new CommandError(
      'OVERLOADED',
      `This gateway lets in ${this.#perSecond} clients per second, and more came`,
      { retryAfterMs: behindMs + this.#random() * jitterMs },
    )
  }
}
