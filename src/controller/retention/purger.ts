// Purges the data of deleted tenants in Redis. The deletion policy of each ChatTenant says whether and when.
// It is stored in Redis as a retention record, because the resource no longer exists at the time of the
// purge.
import { pause } from '../../deadline.js'
import type { LiveRedis } from '../../redis/link.js'
import type { Log } from '../../log.js'
import type { RetentionRecords, RetentionRecord } from '../../catalog/redis/retention.js'
import { isRedisUnavailable } from '../../redis/run-script.js'
import { parseDuration } from '../../resources/duration.js'
import { isApiError } from '../../kube/api-error.js'
import { chatTenants } from '../kinds.js'
import type { Leadership, ObjectApi, ObjectCache } from '../../kube/ports.js'
import { purge } from './purge.js'

export interface RetentionPurgerOptions {
  readonly records: RetentionRecords
  /** Returns a connection to every master. */
  readonly masters: () => Promise<readonly LiveRedis[]>
  readonly tenants: ObjectCache
  readonly api: ObjectApi
  readonly leadership: Leadership
  readonly log: Log
  /**
   * The shortest time, in milliseconds, between a deletion and the purge: gateways may still write after the
   * tombstone. Default 15,000.
   */
  readonly settleMs?: number
  /** The longest time between two passes, in milliseconds. Default 60,000. */
  readonly everyMs?: number
}

/** The deletion policy of a ChatTenant: the retention of its data after its deletion. */
export interface RetentionPolicy {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  readonly deletionPolicy: 'Delete' | 'Retain'
  /** A duration, such as `24h`. Ignored for `Retain`. */
  readonly purgeAfter: string
}

/** The shortest time between two passes, and the wait after a failed one. */
const passPauseMs = 2_000

export class RetentionPurger {
  readonly #options: RetentionPurgerOptions
  /** The desired records of existing tenants, by tenant id. */
  readonly #desired = new Map<string, RetentionRecord>()
  /** The last known records in Redis, as JSON, by tenant id. */
  readonly #stored = new Map<string, string>()
  #wake = new AbortController()

  constructor(options: RetentionPurgerOptions) {
    this.#options = options
  }

  /**
   * Writes the retention record of an existing tenant. Call it before the tenant's first record in the
   * catalog. Does not reject when Redis is unavailable: the next pass writes the record.
   */
  async ensureRecord(
    tenantId: string,
    { deletionPolicy, purgeAfter, tenant }: RetentionPolicy,
    { redisUnavailable }: { redisUnavailable: boolean },
  ): Promise<void> {
    const purgeAfterMs = deletionPolicy === 'Retain' ? null : (parseDuration(purgeAfter) ?? 0)
    const record: RetentionRecord = { tenant, purgeAfterMs }
    this.#desired.set(tenantId, record)
    if (redisUnavailable || this.#stored.get(tenantId) === JSON.stringify(record)) return
    try {
      await this.#change(new Map([[tenantId, record]]))
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
    }
  }

  /** Starts the next pass soon, because a tenant may have been deleted. */
  checkNow(): void {
    this.#wake.abort()
  }

  /** Runs passes until `signal` aborts. A failed pass is logged and repeated. */
  async run(signal: AbortSignal): Promise<void> {
    const { everyMs = 60_000, log } = this.#options
    while (!signal.aborted) {
      this.#wake = new AbortController()
      let waitMs = passPauseMs
      try {
        waitMs = Math.min(await this.#runPass(signal), everyMs)
      } catch (error) {
        if (signal.aborted) return
        // A purge is not urgent: the next pass starts again from the beginning.
        log.warn({ err: error }, 'cannot check the data of deleted tenants for purging: retrying')
      }
      await pause(passPauseMs, signal)
      if (waitMs > passPauseMs) await pause(waitMs - passPauseMs, signal, this.#wake.signal)
    }
  }

  /** Returns the milliseconds until the next pass is due. */
  async #runPass(signal: AbortSignal): Promise<number> {
    const { records, settleMs = 15_000, tenants } = this.#options
    const read = await records.read()
    // The records belong to another cluster, whose tenants are not in this cache although they exist.
    if (!read) return Infinity
    const { byTenantId, nowMs } = read
    // Read the cache after Redis: a tenant with a record was in the cache before, and is missing now only if
    // it was deleted.
    const live = new Set([...tenants.list()].map(({ metadata }) => metadata.uid))
    const changes = new Map<string, RetentionRecord | undefined>()
    this.#stored.clear()
    for (const [tenantId, record] of byTenantId) {
      this.#stored.set(tenantId, JSON.stringify(record))
      if (!live.has(tenantId) && record.goneAtMs === undefined)
        changes.set(tenantId, { ...record, goneAtMs: nowMs })
    }
    for (const [tenantId, desired] of this.#desired) {
      if (!live.has(tenantId)) this.#desired.delete(tenantId)
      else if (this.#stored.get(tenantId) !== JSON.stringify(desired)) changes.set(tenantId, desired)
    }
    await this.#change(changes)

    const due = new Map<string, string>()
    let nextInMs = Infinity
    for (const [tenantId, { goneAtMs = nowMs, purgeAfterMs, tenant }] of byTenantId) {
      if (live.has(tenantId)) continue
      if (purgeAfterMs === null) {
        this.#options.log.info(
          { tenant, tenantId },
          'keeping the data of a deleted tenant (deletionPolicy: Retain)',
        )
        await this.#change(new Map([[tenantId, undefined]]))
        continue
      }
      const inMs = goneAtMs + Math.max(purgeAfterMs, settleMs) - nowMs
      if (inMs > 0) nextInMs = Math.min(nextInMs, inMs)
      else due.set(tenantId, tenant)
    }
    await this.#purge(due, signal)
    return nextInMs
  }

  async #purge(due: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const { leadership, log, masters } = this.#options
    const gone = new Set<string>()
    for (const [tenantId, tenant] of due) if (await this.#isGone(tenantId, tenant)) gone.add(tenantId)
    if (gone.size === 0) return
    const guard = () => leadership.assertLeading()
    let keys = 0
    for (const live of await masters()) keys += await purge(live, gone, { guard, signal })
    if (signal.aborted) return
    log.info(
      { tenants: [...gone].map((tenantId) => due.get(tenantId)), keys },
      'purged the data of deleted tenants',
    )
    await this.#change(new Map([...gone].map((tenantId) => [tenantId, undefined])))
  }

  /** Asks the API server whether the tenant is deleted. A deleted uid never comes back. */
  async #isGone(tenantId: string, tenant: string): Promise<boolean> {
    const [namespace, name = ''] = tenant.split('/')
    try {
      const { metadata } = await this.#options.api.get(chatTenants, { namespace, name })
      return metadata.uid !== tenantId
    } catch (error) {
      if (isApiError(error, 'NotFound')) return true
      throw error
    }
  }

  async #change(changes: ReadonlyMap<string, RetentionRecord | undefined>): Promise<void> {
    // The change is refused when another controller leads or another cluster owns the catalog. The publisher
    // detects and handles both cases.
    if ((await this.#options.records.change(changes)) !== 'written') return
    for (const [tenantId, record] of changes) {
      if (record) this.#stored.set(tenantId, JSON.stringify(record))
      else this.#stored.delete(tenantId)
    }
  }
}
