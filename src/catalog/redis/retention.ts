// What is to become of a tenant's data once the tenant is gone. It stands in Redis beside the catalog, since nobody can be asked then: the
// resource is deleted, perhaps while no controller was running.
import { z } from 'zod'
import { parseJson } from '../../json.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { loadScripts, script } from '../../redis/scripts.js'
import { runScript } from './scripts.js'

/** Of one tenant, by its id. */
const RetentionRecord = z.object({
  /** `<namespace>/<name>`, for people. */
  tenant: z.string(),
  /** How long data is kept after the tenant; null: for ever. */
  purgeAfterMs: z.int().min(0).nullable(),
  /** When it was found to be gone, by Redis's clock; absent while it is there. */
  goneAtMs: z.int().optional(),
})
export type RetentionRecord = z.infer<typeof RetentionRecord>

/**
 * Leaders of the past and of other clusters are refused, as they are by the catalog.
 * KEYS: version, remains · ARGV: fence, owner, then tenant ids and texts in turn; an empty text removes.
 * Returns 'written', 'fenced' or 'foreign'.
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

/** Of one moment. KEYS: version, remains. Returns {Redis's time in ms, owner or '', tenant ids and texts in turn}. */
const readRetentionRecords = script(`
local time = redis.call('TIME')
local nowMs = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
return {nowMs, redis.call('HGET', KEYS[1], 'owner') or '', redis.call('HGETALL', KEYS[2])}
`)

const ReadReply = z.tuple([z.string(), z.string(), z.array(z.string())])
const ChangeReply = z.enum(['written', 'fenced', 'foreign'])

export interface RetentionRecordsOptions {
  /** A link to the master, made and kept open by the caller. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  /** As for the catalog's writer. */
  readonly fence: () => number
  readonly owner: string
  /** How long a call waits for Redis. Default 5,000. */
  readonly waitMs?: number
}

/** Each method throws what `isRedisTrouble` knows: try again. */
export class RetentionRecords {
  readonly #options: RetentionRecordsOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink

  constructor(options: RetentionRecordsOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('catalog remains', async (live) =>
      loadScripts(live, [changeRetentionRecords, readRetentionRecords]),
    )
  }

  /** What makes no sense is passed over, and stays. Undefined: they are those of another cluster's tenants. */
  async read(): Promise<{ nowMs: number; byTenantId: Map<string, RetentionRecord> } | undefined> {
    const live = await this.#ready()
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

  /** Undefined removes. */
  async change(changes: ReadonlyMap<string, RetentionRecord | undefined>): Promise<z.infer<typeof ChangeReply>> {
    if (changes.size === 0) return 'written'
    const live = await this.#ready()
    const { fence, owner } = this.#options
    for (const page of pagesOf([...changes])) {
      const reply = await runScript(live, changeRetentionRecords, {
        keys: [this.#keys.version, this.#keys.retention],
        args: [
          ...[fence(), owner],
          ...page.flatMap(([tenantId, remnant]) => [tenantId, remnant ? JSON.stringify(remnant) : '']),
        ],
        reply: ChangeReply,
      })
      if (reply !== 'written') return reply
    }
    return 'written'
  }

  #ready(): Promise<LiveRedis> {
    return this.#link.ready(this.#options.waitMs ?? 5_000)
  }
}

/** A script that takes too many at once would hold Redis up. */
const pageSize = 500

function pagesOf<Item>(items: readonly Item[]): Item[][] {
  return Array.from({ length: Math.ceil(items.length / pageSize) }, (_, page) =>
    items.slice(page * pageSize, (page + 1) * pageSize),
  )
}
