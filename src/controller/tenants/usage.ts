// What status tells of a tenant's use: seldom, and only what moved, so that thousands of idle tenants cost nothing.
import type { Limits } from '../../tenant/policy.js'
import type { Pressure } from './conditions.js'

/** Of all gateways together. */
export interface Usage {
  readonly connections: number
  readonly publishRate: number
  readonly rejected: number
}

/** As it stands in status. */
export interface WrittenUsage extends Usage {
  readonly peakConnections: number
  readonly asOf: string
}

export const noUsage: Usage = { connections: 0, publishRate: 0, rejected: 0 }

export const usageIntervalMs = 30_000
const movedShare = 0.05
const pressureShare = 0.9
/** A tenant that sways about the threshold is under pressure all the time. */
const reliefShare = 0.85

/** What status is to say: what it says already, unless that is old enough and something moved. */
export function usageToWrite(
  written: WrittenUsage | undefined,
  measured: Usage,
  { limits, nowMs }: { limits: Limits | undefined; nowMs: number },
): WrittenUsage | undefined {
  if (!written && usesNothing(measured)) return undefined
  if (written && nowMs - Date.parse(written.asOf) < usageIntervalMs) return written
  if (written && !hasMoved(written, measured, limits)) return written
  return {
    ...measured,
    peakConnections: Math.max(written?.peakConnections ?? 0, measured.connections),
    asOf: new Date(nowMs).toISOString(),
  }
}

/** In how long `usageToWrite` will say something else than `written`; undefined: when something is measured that differs. */
export function usageDueInMs(
  written: WrittenUsage | undefined,
  measured: Usage,
  { limits, nowMs }: { limits: Limits | undefined; nowMs: number },
): number | undefined {
  if (!written) return usesNothing(measured) ? undefined : 0
  if (!hasMoved(written, measured, limits)) return undefined
  return Math.max(0, Date.parse(written.asOf) + usageIntervalMs - nowMs)
}

/** From what is written, so that condition and numbers agree. */
export function pressureOf(
  used: Usage | undefined,
  limits: Limits | undefined,
  before: { readonly pressed: boolean },
): Pressure {
  if (!used || !limits) return undefined
  const share = before.pressed ? reliefShare : pressureShare
  return [
    { limit: 'connections.max', used: used.connections, allowed: limits.connections.max },
    { limit: 'messages.publishPerSecond', used: used.publishRate, allowed: limits.messages.publishPerSecond },
  ].find(({ allowed, used: count }) => allowed > 0 && count > share * allowed)
}

function usesNothing({ connections, publishRate, rejected }: Usage): boolean {
  return connections === 0 && publishRate === 0 && rejected === 0
}

function hasMoved(written: Usage, measured: Usage, limits: Limits | undefined): boolean {
  if (moved(written.connections, measured.connections)) return true
  if (moved(written.publishRate, measured.publishRate) || moved(written.rejected, measured.rejected))
    return true
  const pressed = pressureOf(written, limits, { pressed: false }) !== undefined
  return pressed !== (pressureOf(measured, limits, { pressed: false }) !== undefined)
}

function moved(from: number, to: number): boolean {
  return Math.abs(to - from) > movedShare * Math.max(from, to)
}
