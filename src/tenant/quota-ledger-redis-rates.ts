// What this gateway wants of a tenant's rates, second by second, and what share it was given. Pure: knows no Redis, and the time it is told.
import { sharedRates, type SharedRate } from './quota-ledger.js'

/** A share given so long ago has been given to others since. Also when a gateway's wishes end, if it does not repeat them. */
export const shareTtlMs = 5_000

/** A rate over a shorter time says little. */
const windowMsMin = 100

/** As the script takes it: `just begun`. */
const justBegun = -1

interface Wish {
  /** `begun`: since the last turn; others are told so, and what is wanted per second shows at the next turn. */
  kind: 'idle' | 'begun' | 'known'
  /** Since `sinceMs`. */
  count: number
  sinceMs: number
  /** The window before: what was wanted in it, and how long it was. Both 0: there was none. */
  beforeCount: number
  beforeMs: number
  wanted: number
  /** Undefined: an equal part. */
  share: number | undefined
}

export class RateWishes {
  readonly #wishes: Record<SharedRate, Wish>
  #delivered = 0
  #deliveredPerSecond = 0
  #turnMs = 0
  /** When the last answer came; undefined: none since it was idle. */
  #answeredMs: number | undefined

  constructor() {
    const idle = (): Wish => ({
      kind: 'idle',
      count: 0,
      sinceMs: 0,
      beforeCount: 0,
      beforeMs: 0,
      wanted: 0,
      share: undefined,
    })
    this.#wishes = { publish: idle(), connect: idle() }
  }

  /** Undefined: an equal part. */
  share(rate: SharedRate): number | undefined {
    return this.#wishes[rate].share
  }

  /** True when the others are to be told at once. */
  spend(rate: SharedRate, n: number, nowMs: number): boolean {
    const wish = this.#wishes[rate]
    wish.count += n
    if (wish.kind !== 'idle') return false
    wish.kind = 'begun'
    wish.sinceMs = nowMs
    wish.wanted = justBegun
    return true
  }

  delivered(n: number): void {
    this.#delivered += n
  }

  /** The end of a window. False: there is nothing to tell, and the others know that. */
  turn(nowMs: number): boolean {
    const wasIdle = this.#idle
    for (const rate of sharedRates) turnWish(this.#wishes[rate], nowMs)
    const seconds = Math.max(windowMsMin, Math.min(1_000, nowMs - this.#turnMs)) / 1000
    this.#deliveredPerSecond = this.#delivered / seconds
    this.#delivered = 0
    this.#turnMs = nowMs
    if (wasIdle && this.#idle) this.#answeredMs = undefined
    return !(wasIdle && this.#idle)
  }

  /** What the script takes. */
  message(limitOf: (rate: SharedRate) => number): readonly number[] {
    const ofRates = sharedRates.flatMap((rate) => [this.#wishes[rate].wanted, limitOf(rate)])
    return [this.#deliveredPerSecond, ...ofRates]
  }

  /** What the script gave. Returns what others have delivered since the last time. `shareMax`: no share grows above it, or its last size. */
  answered(
    [deliveredPerSecond = 0, ...shares]: readonly number[],
    { nowMs, shareMax }: { nowMs: number; shareMax: number },
  ): number {
    sharedRates.forEach((rate, index) => {
      const wish = this.#wishes[rate]
      if (wish.kind === 'known')
        wish.share = Math.min(shares[index] ?? 0, Math.max(shareMax, wish.share ?? 0))
    })
    const elapsedMs = this.#answeredMs === undefined ? 0 : Math.min(nowMs - this.#answeredMs, shareTtlMs)
    this.#answeredMs = nowMs
    return Math.round((deliveredPerSecond * elapsedMs) / 1000)
  }

  /** True when a share was forgotten, since the last answer is too old. */
  forget(nowMs: number): boolean {
    if (this.#answeredMs === undefined || nowMs - this.#answeredMs <= shareTtlMs) return false
    this.#answeredMs = undefined
    const wishes = sharedRates.map((rate) => this.#wishes[rate])
    const some = wishes.some(({ share }) => share !== undefined)
    for (const wish of wishes) wish.share = undefined
    return some
  }

  get #idle(): boolean {
    return this.#deliveredPerSecond === 0 && sharedRates.every((rate) => this.#wishes[rate].kind === 'idle')
  }
}

/** What is wanted is seen over two windows: one alone jumps too much, more come too late. */
function turnWish(wish: Wish, nowMs: number): void {
  if (wish.kind === 'idle') return
  const { beforeCount, beforeMs, count } = wish
  const elapsedMs = nowMs - wish.sinceMs
  wish.wanted = ((beforeCount + count) * 1000) / Math.max(windowMsMin, beforeMs + elapsedMs)
  wish.kind = wish.wanted === 0 ? 'idle' : 'known'
  if (wish.kind === 'idle') wish.share = undefined
  wish.beforeCount = count
  wish.beforeMs = wish.kind === 'idle' ? 0 : elapsedMs
  wish.count = 0
  wish.sinceMs = nowMs
}
