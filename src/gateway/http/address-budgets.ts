// A rate limit for each client address. Addresses that have not used their budget for a while take no memory.
import { TokenBucket } from '../../quota/token-bucket.js'

export class AddressBudgets {
  /** The rate of each address. */
  readonly perSecond: number
  readonly #burstS: number
  // A bucket that is not used for `burstS` is full again, like a new one. The buckets used since the last
  // swap and those used only in the period before it are two maps, so that old buckets are dropped all at
  // once.
  #recent = new Map<string, TokenBucket>()
  #older = new Map<string, TokenBucket>()
  #swapMs = -Infinity

  /** An address may use `burstS` seconds of its rate at once. */
  constructor({ burstS, rate }: { rate: number; burstS: number }) {
    this.perSecond = rate
    this.#burstS = burstS
  }

  /** Takes one token. Returns 0, or the milliseconds until the address has one. */
  take(address: string, nowMs: number): number {
    if (nowMs - this.#swapMs >= this.#burstS * 1000) {
      this.#older = this.#recent
      this.#recent = new Map<string, TokenBucket>()
      this.#swapMs = nowMs
    }
    let bucket = this.#recent.get(address)
    if (!bucket) {
      bucket =
        this.#older.get(address) ??
        new TokenBucket({ rate: this.perSecond, burst: this.perSecond * this.#burstS }, nowMs)
      this.#recent.set(address, bucket)
    }
    return bucket.take(1, nowMs)
  }
}
