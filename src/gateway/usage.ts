// What each tenant uses of this gateway, as the heartbeat tells it to the others.
import type { ErrorCode } from '../errors.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'
import type { TenantUsage } from '../catalog/heartbeat.js'
import type { Clock } from '../time.js'

const limitCodes: readonly ErrorCode[] = [
  'CONNECTION_LIMIT',
  'SUBSCRIPTION_LIMIT',
  'CHANNEL_LIMIT',
  'QUOTA_EXCEEDED',
  'TOO_MANY_REQUESTS',
]

/** What is read of a tenant. */
type MeteredTenant = Pick<TenantRuntime, 'connections' | 'key' | 'publicationsTotal' | 'refusals'>

/** Rates are over the time since the last reading. */
export class UsageMeter {
  readonly #clock: Clock
  #readAtMs: number
  /** At the last reading. By state: a tenant that was made again under its name begins at nothing. */
  #publications = new Map<MeteredTenant, number>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#readAtMs = clock.monotonicMs()
  }

  /** By `<namespace>/<name>`, without those that use nothing. */
  read(tenants: Iterable<MeteredTenant>): Map<string, TenantUsage> {
    const nowMs = this.#clock.monotonicMs()
    const seconds = Math.max(0.001, (nowMs - this.#readAtMs) / 1000)
    const totals = new Map<MeteredTenant, number>()
    const usage = new Map<string, TenantUsage>()
    for (const tenant of tenants) {
      const { connections, key, publicationsTotal, refusals } = tenant
      totals.set(tenant, publicationsTotal)
      const published = publicationsTotal - (this.#publications.get(tenant) ?? 0)
      const publicationsPerSecond = Math.round((published / seconds) * 10) / 10
      const refused = limitCodes.reduce((sum, code) => sum + (refusals.get(code) ?? 0), 0)
      if (connections === 0 && publicationsPerSecond === 0 && refused === 0) continue
      usage.set(key, { connections, publicationsPerSecond, ...(refused > 0 && { refusals: refused }) })
    }
    this.#publications = totals
    this.#readAtMs = nowMs
    return usage
  }
}
