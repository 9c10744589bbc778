// The catalog's parts on a real Redis, for tests: writers, gateways' catalogs and their heartbeats, each with links of its own.
import { catalogTag } from '../../src/redis/keys.js'
import type { Prepare, RedisLink } from '../../src/redis/link.js'
import { CatalogReader, type CatalogReaderOptions } from '../../src/catalog/redis/reader.js'
import { Heartbeats } from '../../src/catalog/redis/heartbeats.js'
import type { GatewayReport } from '../../src/catalog/heartbeat.js'
import { CatalogWriter, type CatalogWriterOptions } from '../../src/catalog/redis/writer.js'
import { tenantKey, type TenantPolicy } from '../../src/tenant/policy.js'
import { SealingKeys } from '../../src/catalog/redis/sealing.js'
import { systemClock } from '../../src/time.js'
import { generousLimits, tenantPolicy } from './policies.js'
import { recordingLog, startLink, type TestLink } from './redis-links.js'

export const keyLineA = `a:${Buffer.alloc(32, 'A').toString('base64')}`
export const keyLineB = `b:${Buffer.alloc(32, 'B').toString('base64')}`

/** Key `a`, unless told otherwise. */
export function sealingKeys(...lines: string[]): SealingKeys {
  return SealingKeys.parse((lines.length === 0 ? [keyLineA] : lines).join('\n'), 'test')
}

/** Tenant `demo/<name>`. Another `revision` is another policy, another `life` another tenant of the same name. */
export function tenant(name: string, revision = 1, incarnation = 1): TenantPolicy {
  return tenantPolicy({
    name,
    tenantId: `id-${name}-${incarnation}`,
    limits: { ...generousLimits, channels: { ...generousLimits.channels, max: revision } },
  })
}

/** Who is there, and in which revision: to compare by. */
export function revisionsOf(policies: Iterable<TenantPolicy>): Record<string, string> {
  const entries = [...policies].map((policy) => [tenantKey(policy), policy.revision] as const)
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

export interface CatalogLocation {
  readonly url: string
  readonly installation: string
}

export interface TestWriter {
  readonly writer: CatalogWriter
  readonly link: TestLink
}

export async function openWriter(
  { installation, url }: CatalogLocation,
  options: Partial<CatalogWriterOptions> = {},
): Promise<TestWriter> {
  const { createLink, made } = createLinkFactory(url)
  const { log } = recordingLog()
  const defaults = { sealing: sealingKeys(), fence: () => 1, log }
  const writer = new CatalogWriter({ createLink, installation, ...defaults, ...options })
  return { writer, link: await made() }
}

export interface TestCatalog {
  readonly catalog: CatalogReader
  readonly link: TestLink
  /** `put demo/acme`, in order. */
  readonly changes: string[]
  readonly logged: () => string
}

/** Connected, and not running: it reads when `refresh` is called. */
export async function openCatalog(
  { installation, url }: CatalogLocation,
  options: Partial<CatalogReaderOptions> = {},
): Promise<TestCatalog> {
  const { createLink, made } = createLinkFactory(url)
  const { log, text } = recordingLog()
  const defaults = { sealing: sealingKeys(), clock: systemClock, log }
  const catalog = new CatalogReader({ createLink, installation, ...defaults, ...options })
  const changes: string[] = []
  catalog.listen({ changed: ({ kind, policy }) => changes.push(`${kind} ${tenantKey(policy)}`) })
  return { catalog, link: await made(), changes, logged: text }
}

export async function openHeartbeats(
  { installation, url }: CatalogLocation,
  { id, report }: { id: string; report: () => GatewayReport },
): Promise<{ heartbeats: Heartbeats; link: TestLink }> {
  const { createLink, made } = createLinkFactory(url)
  const { log } = recordingLog()
  const heartbeats = new Heartbeats({ createLink, installation, id, startedAtMs: 1, report, log })
  return { heartbeats, link: await made() }
}

function createLinkFactory(url: string): {
  createLink: (role: string, prepare: Prepare) => RedisLink
  /** Resolves when the link is open. */
  made: () => Promise<TestLink>
} {
  let started: TestLink | undefined
  return {
    createLink(role, prepare) {
      started = startLink(url, { role, prepare, tag: catalogTag })
      return started.link
    },
    async made() {
      if (!started) throw new Error('no link was made')
      await started.link.ready(5_000)
      return started
    },
  }
}
