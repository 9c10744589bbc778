// What the operators of a gateway see of its tenants' usage, and of the memory of Redis.
import type { BrokerStorage } from '../broker/storage.js'
import type { TenantGauges } from '../metrics-tenants.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'

/** Reads the values of the metrics per tenant. */
export function* tenantGauges(
  tenants: Iterable<TenantRuntime>,
  storage: BrokerStorage,
): Iterable<TenantGauges> {
  for (const tenant of tenants) {
    const { connections, messages, retention } = tenant.policy.limits
    const { counters } = tenant.quota
    yield {
      tenant: tenant.key,
      connections: tenant.quota.connections,
      connectionsLimit: connections.max,
      guests: tenant.quota.guests,
      guestsLimit: tenant.quota.guestsMax,
      channels: tenant.channels.count(),
      subscriptions: counters.subscriptionsTotal,
      publications: counters.publicationsTotal,
      publicationsByRule: counters.publicationsByRule,
      deliveries: counters.deliveriesTotal,
      publishRateLimit: messages.publishPerSecond,
      revocations: tenant.revocations.size,
      storedBytes: storage.storedBytes(tenant.policy.tenantId) ?? 0,
      storedBytesLimit: retention.storedBytes,
      refusals: counters.refusals,
      bytesOut: counters.bytesOutTotal,
      reads: counters.readsTotal,
      joins: counters.joinsTotal,
      apiRequests: counters.apiRequestsTotal,
      excesses: counters.excesses,
    }
  }
}

/** Returns sentences about the memory of Redis for `/readyz`; none while publications are stored. */
export function memoryWarnings(storage: BrokerStorage): string[] {
  const memory = storage.memory()
  if (!memory?.reserved) return []
  const { maxBytes, usedBytes } = memory
  return [
    `Redis uses ${usedBytes} of ${maxBytes} bytes: publications with history are refused, and the rest is reserved for control commands`,
  ]
}
