// A token bucket, which enforces one rate limit of one tenant or connection. It uses no timer; the caller
// passes the time.

/**
 * The longest wait that a bucket returns, in milliseconds. A bucket also returns it when no wait would help
 * under the current limits, because limits can be raised at run time.
 */
export const retryAfterMsMax = 60_000

/**
 * The time in milliseconds whose tokens a full bucket remembers for requests that the gateway itself has
 * delayed. A longer delay counts as this one.
 */
const savedMsMax = 5_000

/** `rate`: tokens per second. `burst`: tokens in a full bucket. Both are 0 or more. */
export interface BucketLimits {
  readonly rate: number
  readonly burst: number
}

/**
 * A bucket that starts full and never gives more than `burst + rate * t` tokens in any window of `t` seconds.
 * Times are monotonic milliseconds; a time before the last one counts as the last one. The bucket counts
 * thousandths of a token and whole milliseconds, so that sums are exact.
 *
 * `delayedMs` is how long the gateway itself has delayed a request, for example because its event loop was
 * blocked. Requests that were sent in time then arrive all at once, so they may also use the tokens that the
 * full bucket had no room for, up to `rate * delayedMs` and never more than those of the last five seconds.
 */
export class TokenBucket {
  #rate: number
  #burstMilli: number
  #milli: number
  /** The tokens that the full bucket had no room for. */
  #savedMilli = 0
  #atMs: number

  constructor(limits: BucketLimits, nowMs: number) {
    this.#rate = limits.rate
    this.#burstMilli = limits.burst * 1000
    this.#milli = this.#burstMilli
    this.#atMs = Math.floor(nowMs)
  }

  /**
   * Takes `n` tokens or none. Returns 0 when they were taken, otherwise the milliseconds until `n` are
   * available if nothing else is taken.
   */
  take(n: number, nowMs: number, delayedMs = 0): number {
    this.#refill(nowMs)
    // At rate 0 nothing is allowed, even when tokens are left in the bucket.
    if (this.#rate === 0 || n * 1000 > this.#burstMilli) return retryAfterMsMax
    const missing = n * 1000 - this.#milli
    if (missing > 0) {
      if (missing > this.#usable(delayedMs)) return Math.min(Math.ceil(missing / this.#rate), retryAfterMsMax)
      this.#useSaved(missing)
    }
    this.#milli -= n * 1000
    return 0
  }

  /**
   * Takes `n` tokens for work that is already done, and goes into debt if necessary: the fan-out of a
   * publication is known only after the publication was accepted. Returns 0 when there is no debt, otherwise
   * the milliseconds until the debt is paid if nothing else is charged. `charge(0, nowMs)` only checks.
   */
  charge(n: number, nowMs: number, delayedMs = 0): number {
    this.#refill(nowMs)
    this.#milli -= n * 1000
    if (this.#rate === 0) return retryAfterMsMax
    if (this.#milli < 0) this.#useSaved(Math.min(-this.#milli, this.#usable(delayedMs)))
    return this.#milli < 0 ? Math.min(Math.ceil(-this.#milli / this.#rate), retryAfterMsMax) : 0
  }

  /** Applies new limits immediately. Tokens above the new burst are dropped, and a debt stays. */
  configure(limits: BucketLimits, nowMs: number): void {
    this.#refill(nowMs)
    this.#rate = limits.rate
    this.#burstMilli = limits.burst * 1000
    this.#milli = Math.min(this.#milli, this.#burstMilli)
    this.#savedMilli = Math.min(this.#savedMilli, this.#rate * savedMsMax)
  }

  /** Returns how many saved tokens, in thousandths, a request with this delay may use. */
  #usable(delayedMs: number): number {
    return Math.min(this.#savedMilli, this.#rate * Math.min(Math.max(delayedMs, 0), savedMsMax))
  }

  /** Moves `milli` saved thousandths into the bucket. */
  #useSaved(milli: number): void {
    this.#savedMilli -= milli
    this.#milli += milli
  }

  #refill(nowMs: number): void {
    const now = Math.floor(nowMs)
    if (now <= this.#atMs) return
    // Tokens per second equal thousandths of a token per millisecond.
    const filled = this.#milli + (now - this.#atMs) * this.#rate
    this.#milli = Math.min(this.#burstMilli, filled)
    if (filled > this.#burstMilli)
      this.#savedMilli = Math.min(this.#savedMilli + filled - this.#burstMilli, this.#rate * savedMsMax)
    this.#atMs = now
  }
}

/** One bucket with the same limits for each owner. */
export class TokenBuckets<Owner extends object> {
  readonly #limits: BucketLimits
  readonly #buckets = new WeakMap<Owner, TokenBucket>()

  constructor(limits: BucketLimits) {
    this.#limits = limits
  }

  /** See `TokenBucket.take`. */
  take(owner: Owner, n: number, nowMs: number): number {
    let bucket = this.#buckets.get(owner)
    if (!bucket) this.#buckets.set(owner, (bucket = new TokenBucket(this.#limits, nowMs)))
    return bucket.take(n, nowMs)
  }
}
