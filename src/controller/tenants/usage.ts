// The usage in a tenant's status. It is written rarely and only after a change, so that thousands of idle
// tenants cause no writes.
import type { Limits } from '../../tenant/policy.js'
import type { QuotaPressure } from './conditions.js'

/** The usage of one tenant, summed over all gateways. */
export interface MeasuredUsage {
  readonly connections: number
  /** Publications per second. */
  readonly publishRate: number
  /** Operations refused because of a limit, since the gateways began to serve the tenant. */
  readonly rejected: number
  /** What the histories of the tenant occupy in Redis, in bytes. Absent: nothing. */
  readonly storedBytes?: number | undefined
}

/** The usage in status. */
export interface WrittenUsage extends MeasuredUsage {
  /** The largest value of `connections` that status has contained. */
  readonly peakConnections: number
  /** When the usage was measured, in RFC 3339. */
  readonly asOf: string
}

export const noUsage: MeasuredUsage = { connections: 0, publishRate: 0, rejected: 0 }

export const usageIntervalMs = 30_000
const changeShareMin = 0.05
const pressureShare = 0.9
/** Pressure ends below this share, so that usage around the threshold does not toggle the condition. */
const reliefShare = 0.85

/**
 * Returns the usage that status should contain: `written` itself, unless it is older than `usageIntervalMs`
 * and differs from `measured`.
 */
export function usageToWrite(
  written: WrittenUsage | undefined,
  measured: MeasuredUsage,
  { limits, nowMs }: { limits: Limits | undefined; nowMs: number },
): WrittenUsage | undefined {
  if (!written && isIdle(measured)) return undefined
  if (written && nowMs - Date.parse(written.asOf) < usageIntervalMs) return written
  if (written && !hasChanged(written, measured, limits)) return written
  return {
    ...measured,
    peakConnections: Math.max(written?.peakConnections ?? 0, measured.connections),
    asOf: new Date(nowMs).toISOString(),
  }
}

/**
 * Returns the milliseconds until `usageToWrite` returns a new value, or undefined while `measured` does not
 * differ.
 */
export function usageDueInMs(
  written: WrittenUsage | undefined,
  measured: MeasuredUsage,
  { limits, nowMs }: { limits: Limits | undefined; nowMs: number },
): number | undefined {
  if (!written) return isIdle(measured) ? undefined : 0
  if (!hasChanged(written, measured, limits)) return undefined
  return Math.max(0, Date.parse(written.asOf) + usageIntervalMs - nowMs)
}

/**
 * Returns the limit under pressure. Pass the usage in status, so that the condition and the numbers agree.
 */
export function pressureOf(
  used: MeasuredUsage | undefined,
  limits: Limits | undefined,
  before: { readonly underPressure: boolean },
): QuotaPressure {
  if (!used || !limits) return undefined
  const share = before.underPressure ? reliefShare : pressureShare
  return [
    { limit: 'connections.max', used: used.connections, allowed: limits.connections.max },
    { limit: 'messages.publishPerSecond', used: used.publishRate, allowed: limits.messages.publishPerSecond },
    {
      limit: 'retention.storedBytes',
      used: used.storedBytes ?? 0,
      allowed: limits.retention.storedBytes,
    },
  ].find(({ allowed, used: count }) => allowed > 0 && count > share * allowed)
}

function isIdle({ connections, publishRate, rejected, storedBytes = 0 }: MeasuredUsage): boolean {
  return connections === 0 && publishRate === 0 && rejected === 0 && storedBytes === 0
}

function hasChanged(written: MeasuredUsage, measured: MeasuredUsage, limits: Limits | undefined): boolean {
  if (differs(written.connections, measured.connections)) return true
  if (differs(written.storedBytes ?? 0, measured.storedBytes ?? 0)) return true
  if (differs(written.publishRate, measured.publishRate) || differs(written.rejected, measured.rejected))
    return true
  const underPressure = pressureOf(written, limits, { underPressure: false }) !== undefined
  return underPressure !== (pressureOf(measured, limits, { underPressure: false }) !== undefined)
}

function differs(from: number, to: number): boolean {
  return Math.abs(to - from) > changeShareMin * Math.max(from, to)
}
