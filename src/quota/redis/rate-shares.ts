// What this gateway wants of a tenant's rates, second by second, and what share it was given. Pure: knows no Redis, and the time it is told.
import { sharedRates, type QuotaRate, type SharedRate } from '../ledger.js'

/** A share given so long ago has been given to others since. Also when a gateway's wishes end, if it does not repeat them. */
export const shareTtlMs = 5_000

/** A rate over a shorter time says little. */
const windowMsMin = 100

/**
 * Who uses so little of its equal part, or no more than one a second, keeps quiet: of thousands of tenants nearly all do, and Redis would run
 * a script for each of them on each gateway once a second. All that is not told of is together at most so much of the limit.
 */
const quietPart = 0.05
const quietPerSecondMin = 1

/** `limit`: per second, over all gateways. */
export function quietPerSecond(limit: number, gateways: number): number {
  return Math.max(quietPerSecondMin, (quietPart * limit) / gateways)
}

/** So many turns pass until who is quiet asks what the others have delivered: what it publishes may reach thousands there. */
const quietTurns = 4

/** As the script takes it: `just begun`. */
const justBegun = -1

interface Wish {
  /** `begun`: since the last turn; others are told so, and what is wanted per second shows at the next turn. */
  kind: 'quiet' | 'begun' | 'known'
  /** Since `sinceMs`; while it is quiet, since the last turn. */
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
  readonly #wishes: Record<SharedRate, Wish> = { publish: quietWish(), connect: quietWish() }
  #delivered = 0
  #deliveredPerSecond = 0
  #turnMs: number | undefined
  /** Turns since it last asked, while it is quiet; and how many of the last turns used nothing at all. */
  #quietFor = 0
  #unusedFor = quietTurns
  /** When the last answer came; undefined: none since all was quiet. */
  #answeredMs: number | undefined

  /** Undefined: an equal part. */
  share(rate: SharedRate): number | undefined {
    return this.#wishes[rate].share
  }

  /** True when the others are to be told at once. `quiet`: per second. */
  spend(rate: SharedRate, n: number, { nowMs, quiet }: { nowMs: number; quiet: number }): boolean {
    const wish = this.#wishes[rate]
    wish.count += n
    if (wish.kind !== 'quiet' || wish.count <= quiet) return false
    wish.kind = 'begun'
    wish.count = n
    wish.sinceMs = nowMs
    wish.wanted = justBegun
    return true
  }

  delivered(n: number): void {
    this.#delivered += n
  }

  /** The end of a window. `quietOf`: per second. False: there is nothing to tell or ask, and the others know that. */
  turn(nowMs: number, quietOf: (rate: QuotaRate) => number): boolean {
    const wasQuiet = this.#quiet
    const used = this.#delivered > 0 || sharedRates.some((rate) => this.#wishes[rate].count > 0)
    for (const rate of sharedRates) turnWish(this.#wishes[rate], { nowMs, quiet: quietOf(rate) })
    // A late turn ends a long window: what was delivered in it came no faster for that.
    const seconds = Math.max(windowMsMin, nowMs - (this.#turnMs ?? nowMs - 1_000)) / 1000
    const perSecond = this.#delivered / seconds
    this.#deliveredPerSecond = perSecond <= quietOf('delivery') ? 0 : perSecond
    this.#delivered = 0
    this.#turnMs = nowMs
    this.#unusedFor = used ? 0 : this.#unusedFor + 1
    const unused = this.#unusedFor >= quietTurns
    const quiet = wasQuiet && this.#quiet
    if (unused) this.#answeredMs = undefined
    this.#quietFor = quiet && !unused ? this.#quietFor + 1 : 0
    if (quiet && this.#quietFor < quietTurns) return false
    this.#quietFor = 0
    return true
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

  get #quiet(): boolean {
    return this.#deliveredPerSecond === 0 && sharedRates.every((rate) => this.#wishes[rate].kind === 'quiet')
  }
}

function quietWish(): Wish {
  return {
    kind: 'quiet',
    count: 0,
    sinceMs: 0,
    beforeCount: 0,
    beforeMs: 0,
    wanted: 0,
    share: undefined,
  }
}

/** What is wanted is seen over two windows: one alone jumps too much, more come too late. */
function turnWish(wish: Wish, { nowMs, quiet }: { nowMs: number; quiet: number }): void {
  const { beforeCount, beforeMs, count, kind, sinceMs } = wish
  wish.count = 0
  if (kind === 'quiet') return
  const elapsedMs = nowMs - sinceMs
  wish.wanted = ((beforeCount + count) * 1000) / Math.max(windowMsMin, beforeMs + elapsedMs)
  if (wish.wanted <= quiet) return void Object.assign(wish, quietWish())
  wish.kind = 'known'
  wish.beforeCount = count
  wish.beforeMs = elapsedMs
  wish.sinceMs = nowMs
}
