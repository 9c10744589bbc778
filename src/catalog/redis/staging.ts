// Writes a complete catalog under separate keys, which no reader uses yet, in pages that do not block Redis.
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { catalogStagingKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { replyErrorOf, runScript } from '../../redis/run-script.js'
import { stampBodyOf, unknownStampBody } from './record.js'
import { readRecords } from './scripts.js'
import type { CatalogState } from './writer-state.js'

/**
 * A reference to a tenant. `key` is `<namespace>/<name>`; `tenantId` distinguishes a tenant from an earlier
 * one of the same name.
 */
export interface TenantRef {
  readonly key: string
  readonly tenantId: string
}

interface StagedRecord {
  readonly key: string
  /** The stamp of the record, without its `n`. */
  readonly body: string
  /** Undefined: the tenant exists, but no record of it is known. */
  readonly record: string | undefined
}

const pageSize = 100
/** The lifetime of staged keys in seconds. Redis then removes the data of a writer that did not finish. */
const ttlS = 600

const RecordsReply = z.tuple([z.number(), z.array(z.string().nullable())])

/**
 * A catalog that is being written, under keys of its own. Each method throws errors that `isRedisUnavailable`
 * recognizes.
 */
export class Staging {
  readonly keys: Pick<CatalogKeys, 'tenants' | 'stamps'>
  readonly #live: LiveRedis
  readonly #catalog: CatalogKeys
  #records = 0
  #stamps = 0

  constructor(live: LiveRedis, { installation, keys }: { installation: string; keys: CatalogKeys }) {
    this.#live = live
    this.#catalog = keys
    this.keys = catalogStagingKeys(installation, randomBytes(9).toString('base64url'))
  }

  /** The number of records written so far. */
  get recordCount(): number {
    return this.#records
  }

  /** The number of stamps written so far. */
  get stampCount(): number {
    return this.#stamps
  }

  /** Writes records and their stamps. */
  async putAll(records: Iterable<StagedRecord>): Promise<void> {
    for (const page of pagesOf(records)) {
      const pipeline = this.#live.client.pipeline()
      for (const { body, key, record } of page) {
        pipeline.hset(this.keys.stamps, key, `1 ${body}`)
        this.#stamps += 1
        if (record === undefined) continue
        pipeline.hset(this.keys.tenants, key, record)
        this.#records += 1
      }
      pipeline.expire(this.keys.stamps, ttlS).expire(this.keys.tenants, ttlS)
      await this.#run(pipeline)
    }
  }

  /** Copies records of the present catalog unchanged, so that they need not be decoded or opened. */
  async keepAll(kept: readonly TenantRef[], state: CatalogState): Promise<void> {
    for (const page of pagesOf(kept)) {
      const records = await this.#presentRecords(page, state)
      await this.putAll(
        page.map(({ key, tenantId }, index) => {
          const stamp = state.stamps.get(key)
          const record = stamp?.tenantId === tenantId ? (records[index] ?? undefined) : undefined
          const body = stamp && record !== undefined ? stampBodyOf(stamp) : unknownStampBody(tenantId)
          return { key, body, record }
        }),
      )
    }
  }

  /** Removes everything that was written. */
  async clear(): Promise<void> {
    await this.#run(this.#live.client.pipeline().unlink(this.keys.tenants, this.keys.stamps))
  }

  async #presentRecords(
    page: readonly TenantRef[],
    { version }: CatalogState,
  ): Promise<readonly (string | null)[]> {
    if (!version) return []
    const [, records] = await runScript(this.#live, readRecords, {
      keys: [this.#catalog.version, this.#catalog.tenants],
      args: [version.epoch, ...page.map(({ key }) => key)],
      reply: RecordsReply,
    })
    return records
  }

  async #run(pipeline: Parameters<LiveRedis['run']>[0]): Promise<void> {
    for (const reply of await this.#live.run(pipeline))
      if (reply instanceof Error) throw replyErrorOf(this.#live, reply)
  }
}

function* pagesOf<Item>(items: Iterable<Item>): Iterable<readonly Item[]> {
  let page: Item[] = []
  for (const item of items) {
    page.push(item)
    if (page.length < pageSize) continue
    yield page
    page = []
  }
  if (page.length > 0) yield page
}
