// Reads revocations from Redis, in pages, so that neither Redis nor this process is blocked for long.
import { z } from 'zod'
import type { LimitedLog } from '../../log.js'
import { tenantRevocationsKey, type RevocationKeys } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { checkedReply, runPipeline, runScript } from '../../redis/run-script.js'
import { RevocationSet } from '../../tenant/revocations.js'
import type { RevocationPage } from '../store.js'
import { parseEntry } from './entry.js'
import { readChanges } from './scripts.js'

/** The last change that was read. The id is '' when the log was empty. */
export interface LogPosition {
  readonly id: string
  readonly nonce: string
}

export type ChangesPage =
  /** Entries by tenant id, in order; none at the end of the log. */
  | {
      readonly kind: 'changes'
      readonly reached: LogPosition
      readonly changes: ReadonlyMap<string, readonly string[]>
    }
  /** The log does not contain the position: everything must be read. */
  | { readonly kind: 'unknown'; readonly newest: LogPosition }

const changesPerPage = 1_000
const entriesPerPage = 1_000
const tenantsPerPipeline = 20

const Texts = z.array(z.string())
const ChangesReply = z.tuple([z.number(), z.string(), z.string(), Texts])
const ListReply = z.tuple([Texts, z.number()])

export class RevocationReader {
  readonly #keys: RevocationKeys
  readonly #log: LimitedLog

  constructor(keys: RevocationKeys, log: LimitedLog) {
    this.#keys = keys
    this.#log = log
  }

  /** Reads the changes after `position`. @throws errors that `isRedisUnavailable` recognizes. */
  async readChanges(live: LiveRedis, position: LogPosition | undefined): Promise<ChangesPage> {
    const [continues, id, nonce, flat] = await runScript(live, readChanges, {
      keys: [this.#keys.log],
      args: [position?.id ?? 'none', position?.nonce ?? '', changesPerPage],
      reply: ChangesReply,
    })
    if (continues !== 1) return { kind: 'unknown', newest: { id, nonce } }
    const changes = new Map<string, string[]>()
    for (let index = 0; index + 1 < flat.length; index += 2) {
      const [tenantId = '', entry = ''] = flat.slice(index, index + 2)
      const known = changes.get(tenantId)
      if (known) known.push(entry)
      else changes.set(tenantId, [entry])
    }
    return { kind: 'changes', reached: { id, nonce }, changes }
  }

  /** Returns the id of the store; undefined when it never had a revocation. Throws like `readAll`. */
  async readStoreId(live: LiveRedis): Promise<string | undefined> {
    const [id] = await runPipeline(live, live.client.pipeline().hget(this.#keys.tenants, ''))
    return checkedReply(id, z.string().nullable()) ?? undefined
  }

  /** Reads the revocations of all tenants. @throws errors that `isRedisUnavailable` recognizes. */
  async readAll(live: LiveRedis): Promise<Map<string, RevocationSet>> {
    const [fields] = await runPipeline(live, live.client.pipeline().hkeys(this.#keys.tenants))
    const tenants = checkedReply(fields, Texts).filter((field) => field !== '')
    const sets = new Map(tenants.map((tenantId) => [tenantId, new RevocationSet()]))
    const cursors = [...sets.keys()].map((tenantId) => ({ tenantId, min: '-' }))
    while (cursors.length > 0) {
      const batch = cursors.splice(-tenantsPerPipeline)
      const pipeline = live.client.pipeline()
      for (const { min, tenantId } of batch)
        pipeline.zrange(tenantRevocationsKey(tenantId), min, '+', 'BYLEX', 'LIMIT', 0, entriesPerPage)
      const pages = await runPipeline(live, pipeline)
      batch.forEach(({ tenantId }, index) => {
        const page = checkedReply(pages[index], Texts)
        for (const text of page) this.#put(sets.get(tenantId), text)
        if (page.length === entriesPerPage) cursors.push({ tenantId, min: `(${page.at(-1) ?? ''}` })
      })
    }
    return sets
  }

  /** Reads one page of a tenant's revocations. @throws errors that `isRedisUnavailable` recognizes. */
  async readPage(
    live: LiveRedis,
    tenantId: string,
    { after, limit }: { after: string; limit: number },
  ): Promise<RevocationPage> {
    const key = tenantRevocationsKey(tenantId)
    // Every entry begins with its name and \n, and no name contains a control character.
    const min = after === '' ? '-' : `(${after}\u000B`
    const replies = await runPipeline(
      live,
      live.client
        .pipeline()
        .zrange(key, min, '+', 'BYLEX', 'LIMIT', 0, limit + 1)
        .zcard(key),
    )
    const [texts, total] = checkedReply(replies, ListReply)
    const page = texts.slice(0, limit)
    return {
      revocations: page.flatMap((text) => parseEntry(text)?.revocation ?? []),
      next: texts.length > limit ? page.at(-1)?.split('\n')[0] : undefined,
      total,
    }
  }

  #put(set: RevocationSet | undefined, text: string): void {
    const revocation = parseEntry(text)?.revocation
    if (revocation) set?.put(revocation)
    else this.#log.warn('unknown kind', {}, 'ignored a revocation of an unknown kind')
  }
}
