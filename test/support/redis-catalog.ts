// Opens parts of the catalog on a real Redis, for tests: writers, the catalogs of gateways, and heartbeats.
// Each part has its own link.
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

/** Returns sealing keys from lines of a key file. Default: key `a`. */
export function sealingKeys(...lines: string[]): SealingKeys {
  return SealingKeys.parse((lines.length === 0 ? [keyLineA] : lines).join('\n'), 'test')
}

/**
 * Returns the policy of tenant `demo/<name>`. Another `revision` is another policy; another `incarnation` is
 * another tenant of the same name.
 */
export function tenant(name: string, revision = 1, incarnation = 1): TenantPolicy {
  return tenantPolicy({
    name,
    tenantId: `id-${name}-${incarnation}`,
    limits: { ...generousLimits, channels: { ...generousLimits.channels, max: revision } },
  })
}

/** Returns the revision of each tenant, for comparisons. */
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
  const { createLink, opened } = createLinkFactory(url)
  const { log } = recordingLog()
  const defaults = { sealing: sealingKeys(), fence: () => 1, log }
  const writer = new CatalogWriter({ createLink, installation, ...defaults, ...options })
  return { writer, link: await opened() }
}

export interface TestCatalog {
  readonly catalog: CatalogReader
  readonly link: TestLink
  /** Changes such as `put demo/acme`, in order. */
  readonly changes: string[]
  readonly logged: () => string
}

/** Opens a catalog that is connected but not running: it reads when `refresh` is called. */
export async function openCatalog(
  { installation, url }: CatalogLocation,
  options: Partial<CatalogReaderOptions> = {},
): Promise<TestCatalog> {
  const { createLink, opened } = createLinkFactory(url)
  const { log, text } = recordingLog()
  const defaults = { sealing: sealingKeys(), clock: systemClock, log }
  const catalog = new CatalogReader({ createLink, installation, ...defaults, ...options })
  const changes: string[] = []
  catalog.listen({ changed: ({ kind, policy }) => changes.push(`${kind} ${tenantKey(policy)}`) })
  return { catalog, link: await opened(), changes, logged: text }
}

export async function openHeartbeats(
  { installation, url }: CatalogLocation,
  { id, report }: { id: string; report: () => GatewayReport },
): Promise<{ heartbeats: Heartbeats; link: TestLink }> {
  const { createLink, opened } = createLinkFactory(url)
  const { log } = recordingLog()
  const heartbeats = new Heartbeats({ createLink, installation, id, startedAtMs: 1, report, log })
  return { heartbeats, link: await opened() }
}

function createLinkFactory(url: string): {
  createLink: (role: string, prepare: Prepare) => RedisLink
  /** Resolves when the link is open. */
  opened: () => Promise<TestLink>
} {
  let started: TestLink | undefined
  return {
    createLink(role, prepare) {
      started = startLink(url, { role, prepare, tag: catalogTag })
      return started.link
    },
    async opened() {
      if (!started) throw new Error('no link was created')
      await started.link.ready(5_000)
      return started
    },
  }
}
