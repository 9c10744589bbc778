// Combines the heartbeats of the gateways: which gateways are live, which catalog version each one enforces,
// which tenants it cannot serve, and the usage of each tenant.
import type { LiveGateway } from '../../catalog/heartbeat.js'
import { hasReached, type CatalogVersion } from '../../catalog/version.js'
import { noUsage, type MeasuredUsage } from '../tenants/usage.js'

/**
 * How many of the live gateways enforce a written version. `noGateways`: no gateway is live. `pending`:
 * `synced` of the gateways have reached the version, and the others have not yet. `problem`: all have reached
 * it, but only `synced` of them can serve the tenant. `all`: all of them enforce it.
 */
export type RolloutProgress =
  | { readonly kind: 'noGateways' }
  | { readonly kind: 'problem' | 'pending' | 'all'; readonly gateways: number; readonly synced: number }

/** The reports of all live gateways at one moment. */
export class GatewayAcks {
  readonly gateways: readonly LiveGateway[]
  /** Tenants (`<namespace>/<name>`) that at least one gateway cannot serve at their current revision. */
  readonly problems: ReadonlySet<string>

  constructor(gateways: readonly LiveGateway[]) {
    this.gateways = gateways
    this.problems = new Set(gateways.flatMap(({ problems }) => problems))
  }

  /** Returns the rollout progress of `version` for the tenant `key`. */
  progressOf(key: string, version: CatalogVersion): RolloutProgress {
    const { length: count } = this.gateways
    if (count === 0) return { kind: 'noGateways' }
    const synced = this.gateways.filter((gateway) => hasReached(gateway.version, version)).length
    if (synced < count) return { kind: 'pending', gateways: count, synced }
    const serving = this.gateways.filter(({ problems }) => !problems.includes(key)).length
    return { kind: serving < count ? 'problem' : 'all', gateways: count, synced: serving }
  }
}

/** Sums the usage over all gateways, by `<namespace>/<name>`. Tenants without usage are left out. */
export function usageByTenant(gateways: readonly LiveGateway[]): Map<string, MeasuredUsage> {
  const usage = new Map<string, MeasuredUsage>()
  for (const gateway of gateways) {
    for (const [
      key,
      { connections, publicationsPerSecond, refusals = 0, storedBytes = 0 },
    ] of gateway.usage) {
      const sum = usage.get(key) ?? noUsage
      // Every gateway reports what all of them have stored.
      const stored = Math.max(sum.storedBytes ?? 0, storedBytes)
      usage.set(key, {
        connections: sum.connections + connections,
        publishRate: sum.publishRate + publicationsPerSecond,
        rejected: sum.rejected + refusals,
        ...(stored > 0 && { storedBytes: stored }),
      })
    }
  }
  for (const [key, sum] of usage) usage.set(key, { ...sum, publishRate: Math.round(sum.publishRate) })
  return usage
}
