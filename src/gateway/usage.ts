// Measures the usage of this gateway by each tenant. The gateway's heartbeat reports it.
import type { ErrorCode } from '../errors.js'
import type { TenantCounters } from '../session/tenant/counters.js'
import type { TenantUsage } from '../catalog/heartbeat.js'
import type { Clock } from '../time.js'

const limitCodes: readonly ErrorCode[] = [
  'CONNECTION_LIMIT',
  'SUBSCRIPTION_LIMIT',
  'CHANNEL_LIMIT',
  'QUOTA_EXCEEDED',
  'STORAGE_LIMIT',
  'TOO_MANY_REQUESTS',
]

/** The counters of a tenant that are read. */
interface MeteredTenant {
  readonly key: string
  readonly policy: { readonly tenantId: string }
  readonly quota: {
    readonly connections: number
    readonly counters: Pick<TenantCounters, 'publicationsTotal' | 'refusals'>
  }
}

/** Computes rates over the time since the last reading. */
export class UsageMeter {
  readonly #clock: Clock
  #readAtMs: number
  /**
   * Publication totals at the last reading. Keyed by the tenant object: a tenant created again under its name
   * starts at zero.
   */
  #publications = new Map<MeteredTenant, number>()

  readonly #storedBytes: (tenantId: string) => number | undefined

  /** `storedBytes` returns what the histories of a tenant occupy, on all gateways together. */
  constructor(clock: Clock, storedBytes: (tenantId: string) => number | undefined) {
    this.#clock = clock
    this.#storedBytes = storedBytes
    this.#readAtMs = clock.monotonicMs()
  }

  /** Returns usage by `<namespace>/<name>`, without the tenants that use nothing. */
  read(tenants: Iterable<MeteredTenant>): Map<string, TenantUsage> {
    const nowMs = this.#clock.monotonicMs()
    const seconds = Math.max(0.001, (nowMs - this.#readAtMs) / 1000)
    const totals = new Map<MeteredTenant, number>()
    const usage = new Map<string, TenantUsage>()
    for (const tenant of tenants) {
      const { key, quota } = tenant
      const { connections, counters } = quota
      const { publicationsTotal, refusals } = counters
      totals.set(tenant, publicationsTotal)
      const published = publicationsTotal - (this.#publications.get(tenant) ?? 0)
      const publicationsPerSecond = Math.round((published / seconds) * 10) / 10
      const refused = limitCodes.reduce((sum, code) => sum + (refusals.get(code) ?? 0), 0)
      const storedBytes = this.#storedBytes(tenant.policy.tenantId) ?? 0
      if (connections === 0 && publicationsPerSecond === 0 && refused === 0 && storedBytes === 0) continue
      usage.set(key, {
        connections,
        publicationsPerSecond,
        ...(refused > 0 && { refusals: refused }),
        ...(storedBytes > 0 && { storedBytes }),
      })
    }
    this.#publications = totals
    this.#readAtMs = nowMs
    return usage
  }
}
