// The retention records. They state how long the data of a tenant is kept after the tenant was deleted. They
// are in Redis beside the catalog, because the resource no longer exists at that time, and may have been
// deleted while no controller was running.
import { z } from 'zod'
import { parseJson } from '../../json.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { runScript } from '../../redis/run-script.js'
import { loadScripts, script } from '../../redis/scripts.js'

/** The retention record of one tenant. Records are stored by tenant id. */
const RetentionRecord = z.object({
  /** `<namespace>/<name>`, for logs. */
  tenant: z.string(),
  /** How long data is kept after the tenant was deleted, in milliseconds. Null: forever. */
  purgeAfterMs: z.int().min(0).nullable(),
  /** When the controller noticed the deletion, by the clock of Redis. Absent while the tenant exists. */
  goneAtMs: z.int().optional(),
})
export type RetentionRecord = z.infer<typeof RetentionRecord>

/**
 * Writes records atomically. Stale leaders and leaders of other clusters are refused, as for the catalog.
 * - KEYS: version, retention records.
 * - ARGV: fence, owner or '', then alternating tenant ids and records; an empty record is removed.
 * - Returns 'written', 'fenced' or 'foreign'.
 */
const changeRetentionRecords = script(`
local known = redis.call('HMGET', KEYS[1], 'fence', 'owner')
if known[2] and ARGV[2] ~= '' and known[2] ~= ARGV[2] then return 'foreign' end
if known[1] and tonumber(ARGV[1]) < tonumber(known[1]) then return 'fenced' end
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 'written'
`)

/**
 * Reads all records consistently.
 * - KEYS: version, retention records.
 * - Returns {time of Redis in ms, owner or '', alternating tenant ids and records}.
 */
const readRetentionRecords = script(`
local time = redis.call('TIME')
local nowMs = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {nowMs, redis.call('HGET', KEYS[1], 'owner') or '', redis.call('HGETALL', KEYS[2])}
`)

const ReadReply = z.tuple([z.string(), z.string(), z.array(z.string())])
const ChangeReply = z.enum(['written', 'fenced', 'foreign'])

export interface RetentionRecordsOptions {
  /** Creates a link to the master. The caller owns the link and keeps it open. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  /** The leader's term, as for `CatalogWriter`. */
  readonly fence: () => number
  /** Identifies the cluster, as for `CatalogWriter`. Empty: no owner is checked. */
  readonly owner: string
  /** How long a call waits for Redis, in milliseconds. Default 5,000. */
  readonly waitMs?: number
}

/**
 * Reads and writes the retention records. Each method throws errors that `isRedisUnavailable` recognizes; the
 * caller may try again.
 */
export class RetentionRecords {
  readonly #options: RetentionRecordsOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink

  constructor(options: RetentionRecordsOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('retention records', async (live) =>
      loadScripts(live, [changeRetentionRecords, readRetentionRecords]),
    )
  }

  /**
   * Reads all records. Malformed records are skipped and not removed. Returns undefined when the records
   * belong to another cluster.
   */
  async read(): Promise<{ nowMs: number; byTenantId: Map<string, RetentionRecord> } | undefined> {
    const live = await this.#openLink()
    const keys = [this.#keys.version, this.#keys.retention]
    const [nowMs, owner, flat] = await runScript(live, readRetentionRecords, { keys, reply: ReadReply })
    if (owner !== '' && this.#options.owner !== '' && owner !== this.#options.owner) return undefined
    const byTenantId = new Map<string, RetentionRecord>()
    for (let index = 0; index + 1 < flat.length; index += 2) {
      const parsed = RetentionRecord.safeParse(parseJson(flat[index + 1] ?? ''))
      if (parsed.success) byTenantId.set(flat[index] ?? '', parsed.data)
    }
    return { nowMs: Number(nowMs), byTenantId }
  }

  /** Writes the given records, by tenant id. Undefined removes a record. */
  async change(
    changes: ReadonlyMap<string, RetentionRecord | undefined>,
  ): Promise<z.infer<typeof ChangeReply>> {
    if (changes.size === 0) return 'written'
    const live = await this.#openLink()
    const { fence, owner } = this.#options
    for (const page of pagesOf([...changes])) {
      const reply = await runScript(live, changeRetentionRecords, {
        keys: [this.#keys.version, this.#keys.retention],
        args: [
          ...[fence(), owner],
          ...page.flatMap(([tenantId, record]) => [tenantId, record ? JSON.stringify(record) : '']),
        ],
        reply: ChangeReply,
      })
      if (reply !== 'written') return reply
    }
    return 'written'
  }

  #openLink(): Promise<LiveRedis> {
    return this.#link.ready(this.#options.waitMs ?? 5_000)
  }
}

/** The number of records in one script call. A longer script would block Redis. */
const pageSize = 500

function pagesOf<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / pageSize) }, (_, page) =>
    items.slice(page * pageSize, (page + 1) * pageSize),
  )
}
