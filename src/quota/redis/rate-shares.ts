// The demand of this gateway for a tenant's shared rates, second by second, and the shares that it was given.
// This file is pure: it knows no Redis, and the caller passes the time.
import { sharedRates, type QuotaRate, type SharedRate } from '../ledger.js'

/**
 * A share expires after this: it has then been given to others. The demand of a gateway also ends after this
 * if it is not repeated.
 */
export const shareTtlMs = 5_000

/** The shortest time over which a rate is measured: over less, it says little. */
const windowMsMin = 100

/**
 * A gateway reports no demand while it uses at most this fraction of its equal part, or at most one per
 * second. Nearly all of thousands of tenants are that idle, and Redis would otherwise run a script for each
 * of them on each gateway every second. The unreported demand of all gateways together is at most this
 * fraction of the limit.
 */
const idleFraction = 0.05
const idlePerSecondMin = 1

/**
 * Returns the rate per second up to which a gateway counts as idle. `limit`: per second, over all gateways.
 */
export function idlePerSecond(limit: number, gateways: number): number {
  return Math.max(idlePerSecondMin, (idleFraction * limit) / gateways)
}

/**
 * After this many windows an idle gateway still asks what the others have delivered: what it publishes may
 * reach thousands of their clients.
 */
const idleWindowsMax = 4

/** The demand that stands for `just started` in the script. */
const justStarted = -1

interface RateDemand {
  /**
   * `started`: since the last window, and reported as such; the demand per second is known at the end of this
   * window.
   */
  kind: 'idle' | 'started' | 'measured'
  /** The requests since `sinceMs`; while idle, since the last window. */
  count: number
  sinceMs: number
  /** The requests in the window before, and its length. Both are 0 when there was none. */
  beforeCount: number
  beforeMs: number
  /** The demand per second, or `justStarted`. */
  desired: number
  /** Undefined: an equal part. */
  share: number | undefined
}

export class RateShares {
  readonly #demands: Record<SharedRate, RateDemand> = { publish: idleDemand(), connect: idleDemand() }
  #delivered = 0
  #deliveredPerSecond = 0
  #windowEndMs: number | undefined
  /** Idle windows since the last exchange. */
  #idleWindows = 0
  /** The number of last windows without any use. */
  #unusedWindows = idleWindowsMax
  /** When the last reply came. Undefined: none has come since all rates became idle. */
  #repliedMs: number | undefined

  /** Returns the share of the tenant's limit. Undefined: an equal part. */
  share(rate: SharedRate): number | undefined {
    return this.#demands[rate].share
  }

  /**
   * Counts `n` requests. Returns true when the demand should be reported at once. `idleBelow`: per second.
   */
  spend(rate: SharedRate, n: number, { nowMs, idleBelow }: { nowMs: number; idleBelow: number }): boolean {
    const demand = this.#demands[rate]
    demand.count += n
    if (demand.kind !== 'idle' || demand.count <= idleBelow) return false
    demand.kind = 'started'
    demand.count = n
    demand.sinceMs = nowMs
    demand.desired = justStarted
    return true
  }

  delivered(n: number): void {
    this.#delivered += n
  }

  /**
   * Ends a window. Returns false when there is nothing to report or to ask, which the others know.
   * `idleBelowOf`: per second.
   */
  endWindow(nowMs: number, idleBelowOf: (rate: QuotaRate) => number): boolean {
    const wasIdle = this.#isIdle
    const used = this.#delivered > 0 || sharedRates.some((rate) => this.#demands[rate].count > 0)
    for (const rate of sharedRates)
      endDemandWindow(this.#demands[rate], { nowMs, idleBelow: idleBelowOf(rate) })
    // A late call ends a long window, and its deliveries were not faster for that.
    const seconds = Math.max(windowMsMin, nowMs - (this.#windowEndMs ?? nowMs - 1_000)) / 1000
    const perSecond = this.#delivered / seconds
    this.#deliveredPerSecond = perSecond <= idleBelowOf('delivery') ? 0 : perSecond
    this.#delivered = 0
    this.#windowEndMs = nowMs
    this.#unusedWindows = used ? 0 : this.#unusedWindows + 1
    const unused = this.#unusedWindows >= idleWindowsMax
    const idle = wasIdle && this.#isIdle
    if (unused) this.#repliedMs = undefined
    this.#idleWindows = idle && !unused ? this.#idleWindows + 1 : 0
    if (idle && this.#idleWindows < idleWindowsMax) return false
    this.#idleWindows = 0
    return true
  }

  /**
   * Returns the last arguments of the script: deliveries per second, then for each rate the demand and the
   * limit per second.
   */
  report(limitOf: (rate: SharedRate) => number): readonly number[] {
    const ofRates = sharedRates.flatMap((rate) => [this.#demands[rate].desired, limitOf(rate)])
    return [this.#deliveredPerSecond, ...ofRates]
  }

  /**
   * Applies the reply of the script. Returns how much other gateways have delivered since the last reply.
   * `shareMax`: no share grows above it, or above its last size.
   */
  applyReply(
    [deliveredPerSecond = 0, ...shares]: readonly number[],
    { nowMs, shareMax }: { nowMs: number; shareMax: number },
  ): number {
    sharedRates.forEach((rate, index) => {
      const demand = this.#demands[rate]
      if (demand.kind === 'measured')
        demand.share = Math.min(shares[index] ?? 0, Math.max(shareMax, demand.share ?? 0))
    })
    const elapsedMs = this.#repliedMs === undefined ? 0 : Math.min(nowMs - this.#repliedMs, shareTtlMs)
    this.#repliedMs = nowMs
    return Math.round((deliveredPerSecond * elapsedMs) / 1000)
  }

  /** Drops the shares when the last reply is too old. Returns true when there was a share to drop. */
  expire(nowMs: number): boolean {
    if (this.#repliedMs === undefined || nowMs - this.#repliedMs <= shareTtlMs) return false
    this.#repliedMs = undefined
    const demands = sharedRates.map((rate) => this.#demands[rate])
    const hadShare = demands.some(({ share }) => share !== undefined)
    for (const demand of demands) demand.share = undefined
    return hadShare
  }

  get #isIdle(): boolean {
    return this.#deliveredPerSecond === 0 && sharedRates.every((rate) => this.#demands[rate].kind === 'idle')
  }
}

function idleDemand(): RateDemand {
  return {
    kind: 'idle',
    count: 0,
    sinceMs: 0,
    beforeCount: 0,
    beforeMs: 0,
    desired: 0,
    share: undefined,
  }
}

/** Measures the demand over two windows: over one it varies too much, over more it follows too late. */
function endDemandWindow(
  demand: RateDemand,
  { nowMs, idleBelow }: { nowMs: number; idleBelow: number },
): void {
  const { beforeCount, beforeMs, count, kind, sinceMs } = demand
  demand.count = 0
  if (kind === 'idle') return
  const elapsedMs = nowMs - sinceMs
  demand.desired = ((beforeCount + count) * 1000) / Math.max(windowMsMin, beforeMs + elapsedMs)
  if (demand.desired <= idleBelow) return void Object.assign(demand, idleDemand())
  demand.kind = 'measured'
  demand.beforeCount = count
  demand.beforeMs = elapsedMs
  demand.sinceMs = nowMs
}
