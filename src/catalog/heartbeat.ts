// What a gateway reports in its heartbeats, and what the controller and other gateways read from them.
import { z } from 'zod'
import type { CatalogVersion } from './version.js'

/** How much of its limits a tenant uses on one gateway. */
export const TenantUsage = z.object({
  connections: z.int(),
  publicationsPerSecond: z.number(),
  /**
   * The number of requests refused because of a limit since the gateway began to serve the tenant. Absent:
   * none.
   */
  refusals: z.int().optional(),
  /**
   * What the tenant's histories occupy in all of Redis, in bytes, as far as the gateway knows. Absent:
   * nothing.
   */
  storedBytes: z.int().optional(),
})
export type TenantUsage = z.infer<typeof TenantUsage>

/** The usage of all tenants on one gateway, by `<namespace>/<name>`. */
export const UsageByTenant = z.record(z.string(), TenantUsage)

/** What a gateway reports in each heartbeat. */
export interface GatewayReport {
  /** The version of the catalog that the gateway enforces; undefined when it has applied none. */
  readonly version: CatalogVersion | undefined
  /** The tenants (`<namespace>/<name>`) whose newest revision the gateway cannot serve. */
  readonly problems: readonly string[]
  readonly connections: number
  /** Whether the gateway accepts new sessions. */
  readonly ready: boolean
  /** The usage by `<namespace>/<name>`. Tenants that use nothing may be left out. */
  readonly usage: ReadonlyMap<string, TenantUsage>
}

/** A heartbeat as it is stored in Redis, as JSON. */
export const HeartbeatPayload = z.object({
  version: z.object({ epoch: z.int(), n: z.int() }).optional(),
  problems: z.array(z.string()),
  problemCount: z.int(),
  connections: z.int(),
  /** Absent in the heartbeats of gateways that are older than this field. */
  ready: z.boolean().default(true),
  startedAtMs: z.int(),
})

/** A gateway that has sent a heartbeat within the last 15 seconds. */
export interface LiveGateway extends z.infer<typeof HeartbeatPayload> {
  readonly id: string
  /** The age of the heartbeat in milliseconds, by the clock of Redis. */
  readonly ageMs: number
  /** Empty unless the caller requested usage. */
  readonly usage: ReadonlyMap<string, TenantUsage>
}
