// What a gateway reports of itself at each heartbeat, and what the others read of it.
import { z } from 'zod'
import type { CatalogVersion } from './version.js'

export const TenantUsage = z.object({
  connections: z.int(),
  publicationsPerSecond: z.number(),
  /** For a limit, since the gateway began to serve the tenant. Absent: none. */
  refusals: z.int().optional(),
})
export type TenantUsage = z.infer<typeof TenantUsage>

/** What a gateway says at each beat. */
export interface GatewayReport {
  /** The catalog's version that it enforces; undefined: none yet. */
  readonly version: CatalogVersion | undefined
  /** Tenants (`<namespace>/<name>`) of whom it cannot serve the newest revision, whatever its version. */
  readonly problems: readonly string[]
  readonly connections: number
  /** It takes new sessions. */
  readonly ready: boolean
  /** By `<namespace>/<name>`. Those that use nothing may be left out. */
  readonly usage: ReadonlyMap<string, TenantUsage>
}

export const HeartbeatPayload = z.object({
  version: z.object({ epoch: z.int(), n: z.int() }).optional(),
  problems: z.array(z.string()),
  problemCount: z.int(),
  connections: z.int(),
  /** Not told by gateways older than this field. */
  ready: z.boolean().default(true),
  startedAtMs: z.int(),
})

/** A gateway that beat within the last 15 seconds. */
export interface LiveGateway extends z.infer<typeof HeartbeatPayload> {
  readonly id: string
  /** Since it said so, by Redis's clock. */
  readonly ageMs: number
  /** Empty unless it was asked for. */
  readonly usage: ReadonlyMap<string, TenantUsage>
}

export const UsageByTenant = z.record(z.string(), TenantUsage)
