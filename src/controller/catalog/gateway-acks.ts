// What the gateways say of themselves, put together: who lives, how far each is, whom it cannot serve, what each tenant uses.
import type { LiveGateway } from '../../catalog/heartbeat.js'
import { reaches, type CatalogVersion } from '../../catalog/version.js'
import { noUsage, type Usage } from '../tenants/usage.js'

/** How far a written version is. */
export type Progress =
  | { readonly kind: 'noGateways' }
  | { readonly kind: 'problem' | 'pending' | 'all'; readonly gateways: number; readonly synced: number }

/** Of one reading. */
export class GatewaysView {
  readonly gateways: readonly LiveGateway[]
  /** Tenants (`<namespace>/<name>`) that some gateway cannot serve as they are. */
  readonly problems: ReadonlySet<string>

  constructor(gateways: readonly LiveGateway[]) {
    this.gateways = gateways
    this.problems = new Set(gateways.flatMap(({ problems }) => problems))
  }

  progressOf(key: string, version: CatalogVersion): Progress {
    const { length: count } = this.gateways
    if (count === 0) return { kind: 'noGateways' }
    const synced = this.gateways.filter((gateway) => reaches(gateway.version, version)).length
    if (synced < count) return { kind: 'pending', gateways: count, synced }
    const able = this.gateways.filter(({ problems }) => !problems.includes(key)).length
    return { kind: able < count ? 'problem' : 'all', gateways: count, synced: able }
  }
}

/** By `<namespace>/<name>`, those that use nothing left out. */
export function usageOf(gateways: readonly LiveGateway[]): Map<string, Usage> {
  const usage = new Map<string, Usage>()
  for (const gateway of gateways) {
    for (const [key, { connections, publicationsPerSecond, refusals = 0 }] of gateway.usage) {
      const sum = usage.get(key) ?? noUsage
      usage.set(key, {
        connections: sum.connections + connections,
        publishRate: sum.publishRate + publicationsPerSecond,
        rejected: sum.rejected + refusals,
      })
    }
  }
  for (const [key, sum] of usage) usage.set(key, { ...sum, publishRate: Math.round(sum.publishRate) })
  return usage
}
