// Tells the broker how long the channels of tenants keep their history, and how much each tenant may store.
import type { ChannelRef } from '../broker/broker.js'
import type { HistoryPolicies, HistoryRule, StorageQuota } from '../broker/storage.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'

/** What an entry needs in Redis beside its data, at most: a quarter of it, and a header. */
const storedShare = 1.25
const headerBytes = 2_000

export class GatewayHistoryPolicies implements HistoryPolicies {
  readonly #tenants: () => Iterable<TenantRuntime>
  readonly #byId: (tenantId: string) => TenantRuntime | undefined

  constructor(options: {
    readonly tenants: () => Iterable<TenantRuntime>
    readonly byId: (tenantId: string) => TenantRuntime | undefined
  }) {
    this.#tenants = options.tenants
    this.#byId = options.byId
  }

  historyOf({ channel, tenantId }: ChannelRef): HistoryRule | null | undefined {
    // The channels of gateways have no rule: each message is kept as it was published.
    if (channel.startsWith('$')) return undefined
    const tenant = this.#byId(tenantId)
    return tenant && (tenant.rules.settings(channel)?.history ?? null)
  }

  *tenants(): Iterable<StorageQuota> {
    for (const { policy } of this.#tenants()) {
      const { messages, retention } = policy.limits
      yield {
        tenantId: policy.tenantId,
        storedBytesMax: retention.storedBytes,
        publishBytesPerSecond: messages.publishPerSecond * (messages.maxBytes * storedShare + headerBytes),
      }
    }
  }
}
