// All gateways of an installation together: as `/stats` tells of them, and as one of them compares itself with the others.
import type { Member } from '../gateway/fleet/rebalance-policy.js'
import { isRedisTrouble } from '../catalog/redis/scripts.js'
import type { Heartbeats } from '../catalog/redis/heartbeats.js'

const waitMs = 1_000

interface TenantTotal {
  connections: number
  publications_per_second: number
}

/** From the last heartbeats, at most five seconds old; `{ error }` while Redis is away. */
export async function readCluster(heartbeats: Heartbeats): Promise<object> {
  try {
    const gateways = await heartbeats.readGateways({ usage: true, waitMs })
    const tenants: Record<string, TenantTotal> = {}
    for (const { usage } of gateways) {
      for (const [key, { connections, publicationsPerSecond }] of usage) {
        const total = (tenants[key] ??= { connections: 0, publications_per_second: 0 })
        total.connections += connections
        total.publications_per_second += publicationsPerSecond
      }
    }
    return {
      connections: gateways.reduce((sum, gateway) => sum + gateway.connections, 0),
      gateways: gateways.map(({ connections, id, ready, version }) => ({
        id,
        connections,
        ready,
        catalog_version: version,
      })),
      tenants,
    }
  } catch (error) {
    if (!isRedisTrouble(error)) throw error
    return { error: 'Redis does not answer: nothing is known of the other gateways' }
  }
}

/** Undefined while Redis is away. */
export async function readFleet(heartbeats: Heartbeats): Promise<readonly Member[] | undefined> {
  try {
    return await heartbeats.readGateways({ usage: false, waitMs })
  } catch (error) {
    if (!isRedisTrouble(error)) throw error
    return undefined
  }
}
