// All gateways of an installation together, as `/stats` tells it, and how many they are.
import { CommandError } from '../errors.js'
import { isRedisTrouble } from '../tenant/catalog-redis-scripts.js'
import type { Heartbeats } from '../tenant/catalog-redis-heartbeats.js'

interface TenantTotal {
  connections: number
  publications_per_second: number
}

/** From the last heartbeats, at most five seconds old; `{ error }` while Redis is away. */
export async function readCluster(heartbeats: Heartbeats): Promise<object> {
  try {
    const gateways = await heartbeats.readGateways({ usage: true, waitMs: 1_000 })
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
      gateways: gateways.map(({ connections, id, version }) => ({
        id,
        connections,
        catalog_version: version,
      })),
      tenants,
    }
  } catch (error) {
    if (!isRedisTrouble(error)) throw error
    return { error: 'Redis does not answer: nothing is known of the other gateways' }
  }
}

/** This gateway included. Rejects with BROKER_UNAVAILABLE while Redis is away. */
export async function countGateways(heartbeats: Heartbeats): Promise<number> {
  try {
    const gateways = await heartbeats.readGateways({ usage: false, waitMs: 1_000 })
    return Math.max(1, gateways.length)
  } catch (error) {
    if (!isRedisTrouble(error)) throw error
    const message = 'Redis does not answer: nothing is known of the other gateways. Try again'
    throw new CommandError('BROKER_UNAVAILABLE', message, { retryAfterMs: 1_000, cause: error })
  }
}
