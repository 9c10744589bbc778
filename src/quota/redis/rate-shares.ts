// Measures the demand of this gateway for a tenant's shared rates in windows of about a second, and holds the
// shares that the gateway was granted. It has no side effects; the caller passes the time.
import { reportedRates, sharedRates, type QuotaRate, type ReportedRate, type SharedRate } from '../ledger.js'

/**
 * The lifetime of a share in milliseconds. After it the share has been granted to other gateways. The demand
 * of a gateway also expires after this time unless it is repeated.
 */
export const shareTtlMs = 5_000

/**
 * The shortest time over which a rate is measured, in milliseconds. Over a shorter time the rate would be
 * inaccurate.
 */
const windowMsMin = 100

/**
 * A gateway reports no demand while it uses at most this fraction of its equal part, or at most one per
 * second. Most of thousands of tenants are that idle, and Redis would otherwise run a script for each of them
 * and each gateway every second. The unreported demand of all gateways together is at most this fraction of
 * the limit.
 */
const idleFraction = 0.05
const idlePerSecondMin = 1

/**
 * Returns the rate per second up to which a gateway counts as idle. `limit` is the limit per second over all
 * gateways.
 */
export function idlePerSecond(limit: number, gateways: number): number {
  return Math.max(idlePerSecondMin, (idleFraction * limit) / gateways)
}

/**
 * An idle gateway exchanges its rates after this many windows, to learn the deliveries of the others: its
 * publications may reach thousands of their clients.
 */
const idleWindowsMax = 4

/** The demand value by which the script recognises a rate that has just started. */
const justStarted = -1

interface RateDemand {
  /**
   * `started`: the use began in this window and was reported as `justStarted`. The demand per second is known
   * at the end of the window.
   */
  kind: 'idle' | 'started' | 'measured'
  /** The number of requests since `sinceMs`; while idle, since the last window. */
  count: number
  sinceMs: number
  /**
   * The number of requests in the previous window, and its length. Both are 0 when there was no such window.
   */
  beforeCount: number
  beforeMs: number
  /** The demand per second, or `justStarted`. */
  desired: number
  /** The granted share, from 0 to 1. Undefined: an equal part. */
  share: number | undefined
}

/** What `spend` reads only when it needs it, because it runs for every request. */
export interface SpendReadings {
  nowMs(): number
  /** Returns the rate per second up to which the gateway counts as idle. */
  idleBelow(rate: SharedRate): number
}

export class RateShares {
  readonly #demands: Record<SharedRate, RateDemand> = {
    publish: idleDemand(),
    connect: idleDemand(),
    join: idleDemand(),
    read: idleDemand(),
    api: idleDemand(),
  }
  /** The work in this window, and the work per second of the last window. */
  readonly #reported: Record<ReportedRate, { amount: number; perSecond: number }> = {
    delivery: { amount: 0, perSecond: 0 },
    bytesOut: { amount: 0, perSecond: 0 },
  }
  #windowEndMs: number | undefined
  /** The number of idle windows since the last exchange. */
  #idleWindows = 0
  /** The number of windows since the last use. */
  #unusedWindows = idleWindowsMax
  /**
   * When the last reply arrived. Undefined when no reply has arrived since the last use ended, or since the
   * shares expired.
   */
  #repliedMs: number | undefined

  /** Returns the share of the tenant's limit, from 0 to 1. Undefined: an equal part. */
  share(rate: SharedRate): number | undefined {
    return this.#demands[rate].share
  }

  /** Counts `n` requests. Returns true when the demand should be reported immediately. */
  spend(rate: SharedRate, n: number, readings: SpendReadings): boolean {
    const demand = this.#demands[rate]
    demand.count += n
    if (demand.kind !== 'idle' || demand.count <= readings.idleBelow(rate)) return false
    demand.kind = 'started'
    demand.count = n
    demand.sinceMs = readings.nowMs()
    demand.desired = justStarted
    return true
  }

  report(rate: ReportedRate, n: number): void {
    this.#reported[rate].amount += n
  }

  /**
   * Ends a window. Returns false when no exchange is needed. `idleBelowOf` returns the rate per second up to
   * which the gateway counts as idle.
   */
  endWindow(nowMs: number, idleBelowOf: (rate: QuotaRate) => number): boolean {
    const wasIdle = this.#isIdle
    const used =
      reportedRates.some((rate) => this.#reported[rate].amount > 0) ||
      sharedRates.some((rate) => this.#demands[rate].count > 0)
    for (const rate of sharedRates)
      endDemandWindow(this.#demands[rate], { nowMs, idleBelow: idleBelowOf(rate) })
    // The rate is computed over the actual length of the window, because a late call ends a longer window.
    const seconds = Math.max(windowMsMin, nowMs - (this.#windowEndMs ?? nowMs - 1_000)) / 1000
    for (const rate of reportedRates) {
      const reported = this.#reported[rate]
      const perSecond = reported.amount / seconds
      reported.perSecond = perSecond <= idleBelowOf(rate) ? 0 : perSecond
      reported.amount = 0
    }
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
   * Returns the last arguments of the script: the work per second of each reported rate, then for each shared
   * rate the demand and the limit per second.
   */
  demandOf(limitOf: (rate: SharedRate) => number): readonly number[] {
    const ofRates = sharedRates.flatMap((rate) => [this.#demands[rate].desired, limitOf(rate)])
    return [...reportedRates.map((rate) => this.#reported[rate].perSecond), ...ofRates]
  }

  /**
   * Applies the reply of the script. Returns for each reported rate the work of other gateways since the last
   * reply. `shareMax`: a share may not grow above this value, but a larger share may keep its size.
   */
  applyReply(
    reply: readonly number[],
    { nowMs, shareMax }: { nowMs: number; shareMax: number },
  ): readonly (readonly [ReportedRate, number])[] {
    sharedRates.forEach((rate, index) => {
      const demand = this.#demands[rate]
      const share = reply[reportedRates.length + index] ?? 0
      if (demand.kind === 'measured') demand.share = Math.min(share, Math.max(shareMax, demand.share ?? 0))
    })
    const elapsedMs = this.#repliedMs === undefined ? 0 : Math.min(nowMs - this.#repliedMs, shareTtlMs)
    this.#repliedMs = nowMs
    return reportedRates.map((rate, index) => [rate, Math.round(((reply[index] ?? 0) * elapsedMs) / 1000)])
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
    return (
      reportedRates.every((rate) => this.#reported[rate].perSecond === 0) &&
      sharedRates.every((rate) => this.#demands[rate].kind === 'idle')
    )
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

/**
 * Measures the demand over two windows: over one window it varies too much, and over more it reacts too late.
 */
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
