// Rates. One bucket is one limit of one tenant or connection; it knows no timers, only the time it is told.

/** The longest wait that is ever advised, milliseconds; also where no wait would help, since limits are raised at run time. */
export const retryAfterMsMax = 60_000

/** Tokens per second, and how many a full bucket holds. Both >= 0. */
export interface BucketLimits {
  readonly rate: number
  readonly burst: number
}

/**
 * Starts full, and never gives more than `burst + rate * t` in any window of `t` seconds. Time is monotonic milliseconds; time that
 * goes back is taken for no time at all. Counts in thousandths of a token and whole milliseconds, so that sums are exact.
 */
export class TokenBucket {
  #rate: number
  #burstMilli: number
  #milli: number
  #atMs: number

  constructor(limits: BucketLimits, nowMs: number) {
    this.#rate = limits.rate
    this.#burstMilli = limits.burst * 1000
    this.#milli = this.#burstMilli
    this.#atMs = Math.floor(nowMs)
  }

  /** Takes `n` tokens or none. 0: taken. Else milliseconds until `n` will be there, if nobody else takes any. */
  take(n: number, nowMs: number): number {
    this.#refill(nowMs)
    // A tenant at rate 0 is shut, even with a burst left over.
    if (this.#rate === 0 || n * 1000 > this.#burstMilli) return retryAfterMsMax
    const missing = n * 1000 - this.#milli
    if (missing > 0) return Math.min(Math.ceil(missing / this.#rate), retryAfterMsMax)
    this.#milli -= n * 1000
    return 0
  }

  /**
   * Takes `n` tokens that are spent already, into debt if need be: what a publication fans out to is known only after it is let in.
   * 0: solvent. Else milliseconds until the debt is paid, if nothing is added; `charge(0, nowMs)` only asks.
   */
  charge(n: number, nowMs: number): number {
    this.#refill(nowMs)
    this.#milli -= n * 1000
    if (this.#rate === 0) return retryAfterMsMax
    return this.#milli < 0 ? Math.min(Math.ceil(-this.#milli / this.#rate), retryAfterMsMax) : 0
  }

  /** New limits hold at once: what was saved above the new burst is gone, a debt stays. */
  configure(limits: BucketLimits, nowMs: number): void {
    this.#refill(nowMs)
    this.#rate = limits.rate
    this.#burstMilli = limits.burst * 1000
    this.#milli = Math.min(this.#milli, this.#burstMilli)
  }

  #refill(nowMs: number): void {
    const now = Math.floor(nowMs)
    if (now <= this.#atMs) return
    // Tokens per second are thousandths per millisecond.
    this.#milli = Math.min(this.#burstMilli, this.#milli + (now - this.#atMs) * this.#rate)
    this.#atMs = now
  }
}
