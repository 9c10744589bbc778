// Reads the heartbeats of all gateways of an installation: for `/stats`, and for a gateway that compares its
// load with that of the others.
import type { FleetMember } from '../gateway/fleet/rebalance-policy.js'
import type { GatewayLoad } from '../gateway/fleet/rebalance-tenants.js'
import { heartbeatIntervalMs, type Heartbeats } from '../catalog/redis/heartbeats.js'
import { isRedisUnavailable } from '../redis/run-script.js'

const waitMs = 1_000
/** A heartbeat of this age was missed. */
const lateMs = 1.5 * heartbeatIntervalMs

interface TenantTotal {
  connections: number
  publications_per_second: number
  stored_bytes: number
}

/**
 * Returns the fleet as `/stats` shows it, from heartbeats. `incomplete` says how many of how many live
 * gateways sent theirs in time; `{ error }` while Redis is unavailable.
 */
export async function readCluster(heartbeats: Heartbeats): Promise<object> {
  try {
    const gateways = await heartbeats.readGateways({ usage: true, waitMs })
    const tenants: Record<string, TenantTotal> = {}
    for (const { usage } of gateways) {
      for (const [key, { connections, publicationsPerSecond, storedBytes = 0 }] of usage) {
        const total = (tenants[key] ??= { connections: 0, publications_per_second: 0, stored_bytes: 0 })
        // Every gateway reports what all of them have stored.
        total.stored_bytes = Math.max(total.stored_bytes, storedBytes)
        total.connections += connections
        total.publications_per_second += publicationsPerSecond
      }
    }
    const answered = gateways.filter(({ ageMs }) => ageMs <= lateMs).length
    return {
      connections: gateways.reduce((sum, gateway) => sum + gateway.connections, 0),
      gateways: gateways.map(({ connections, id, ready, version }) => ({
        id,
        connections,
        ready,
        catalog_version: version,
      })),
      tenants,
      // A gateway that has missed a heartbeat may be gone, or its numbers are old.
      ...(answered < gateways.length && { incomplete: { answered, expected: gateways.length } }),
    }
  } catch (error) {
    if (!isRedisUnavailable(error)) throw error
    return { error: 'Redis does not answer, so the other gateways are not known' }
  }
}

/**
 * Returns the live gateways with their connections, with `usage` also of each tenant. Returns undefined while
 * Redis is unavailable.
 */
export async function readFleet(
  heartbeats: Heartbeats,
  { usage = false } = {},
): Promise<readonly (FleetMember & GatewayLoad)[] | undefined> {
  try {
    return await heartbeats.readGateways({ usage, waitMs })
  } catch (error) {
    if (!isRedisUnavailable(error)) throw error
    return undefined
  }
}
