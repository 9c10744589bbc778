// Sees to it that a deleted tenant's data goes when its time has come, and not before: whoever wrote the resource has said when.
import { pause } from '../../deadline.js'
import type { LiveRedis } from '../../redis/link.js'
import type { Log } from '../../log.js'
import type { Remains, Remnant } from '../../catalog/redis/retention.js'
import { isRedisTrouble } from '../../catalog/redis/scripts.js'
import { parseDuration } from '../../resources/duration.js'
import { isApiError } from '../../kube/api-error.js'
import { chatTenants } from '../kinds.js'
import type { Leadership, ObjectApi, ObjectCache } from '../../kube/ports.js'
import { purge } from './purge.js'

export interface RemainsKeeperOptions {
  readonly remains: Remains
  /** One connection to each master. */
  readonly masters: () => Promise<readonly LiveRedis[]>
  readonly tenants: ObjectCache
  readonly api: ObjectApi
  readonly leadership: Leadership
  readonly log: Log
  /** What gateways may still write after a tombstone is waited for. Default 15,000. */
  readonly settleMs?: number
  /** Default 60,000. */
  readonly everyMs?: number
}

export interface LastWill {
  readonly tenant: string
  readonly deletionPolicy: 'Delete' | 'Retain'
  readonly purgeAfter: string
}

const troubledMs = 2_000

export class RemainsKeeper {
  readonly #options: RemainsKeeperOptions
  /** What Redis is to hold of tenants that are there, by id. */
  readonly #wanted = new Map<string, Remnant>()
  /** What it holds, as far as known. */
  readonly #known = new Map<string, string>()
  #hurry = new AbortController()

  constructor(options: RemainsKeeperOptions) {
    this.#options = options
  }

  /** Before a tenant's first record. When Redis is away, as far as is known, it is made up for later. */
  async expect(
    tenantId: string,
    { deletionPolicy, purgeAfter, tenant }: LastWill,
    { isAway }: { isAway: boolean },
  ): Promise<void> {
    const purgeAfterMs = deletionPolicy === 'Retain' ? null : (parseDuration(purgeAfter) ?? 0)
    const remnant: Remnant = { tenant, purgeAfterMs }
    this.#wanted.set(tenantId, remnant)
    if (isAway || this.#known.get(tenantId) === JSON.stringify(remnant)) return
    try {
      await this.#change(new Map([[tenantId, remnant]]))
    } catch (error) {
      if (!isRedisTrouble(error)) throw error
    }
  }

  /** Somebody may have gone. */
  look(): void {
    this.#hurry.abort()
  }

  async run(signal: AbortSignal): Promise<void> {
    const { everyMs = 60_000, log } = this.#options
    while (!signal.aborted) {
      this.#hurry = new AbortController()
      let waitMs = troubledMs
      try {
        waitMs = Math.min(await this.#pass(signal), everyMs)
      } catch (error) {
        if (signal.aborted) return
        // Nothing here is urgent: whatever it was, the next pass begins anew.
        log.warn({ err: error }, 'what deleted tenants left could not be looked after')
      }
      await pause(troubledMs, signal)
      if (waitMs > troubledMs) await pause(waitMs - troubledMs, signal, this.#hurry.signal)
    }
  }

  /** Milliseconds until the next is due. */
  async #pass(signal: AbortSignal): Promise<number> {
    const { remains, settleMs = 15_000, tenants } = this.#options
    const read = await remains.read()
    // Another cluster's tenants are not in this one's cache, and no less there for it.
    if (!read) return Infinity
    const { byTenantId, nowMs } = read
    // After that: whoever is in Redis was seen before, and is in the cache unless it is gone.
    const live = new Set([...tenants.list()].map(({ metadata }) => metadata.uid))
    const changes = new Map<string, Remnant | undefined>()
    this.#known.clear()
    for (const [tenantId, remnant] of byTenantId) {
      this.#known.set(tenantId, JSON.stringify(remnant))
      if (!live.has(tenantId) && remnant.goneAtMs === undefined)
        changes.set(tenantId, { ...remnant, goneAtMs: nowMs })
    }
    for (const [tenantId, wanted] of this.#wanted) {
      if (!live.has(tenantId)) this.#wanted.delete(tenantId)
      else if (this.#known.get(tenantId) !== JSON.stringify(wanted)) changes.set(tenantId, wanted)
    }
    await this.#change(changes)

    const due = new Map<string, string>()
    let nextInMs = Infinity
    for (const [tenantId, { goneAtMs = nowMs, purgeAfterMs, tenant }] of byTenantId) {
      if (live.has(tenantId)) continue
      if (purgeAfterMs === null) {
        this.#options.log.info({ tenant, tenantId }, 'a deleted tenant’s data is retained')
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
      'deleted tenants’ data was purged',
    )
    await this.#change(new Map([...gone].map((tenantId) => [tenantId, undefined])))
  }

  /** By the API server's own word: what is deleted now never comes back. */
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

  async #change(changes: ReadonlyMap<string, Remnant | undefined>): Promise<void> {
    // Refused: another leads, or it is another's Redis. The catalog's keeper finds out as well, and acts.
    if ((await this.#options.remains.change(changes)) !== 'written') return
    for (const [tenantId, remnant] of changes) {
      if (remnant) this.#known.set(tenantId, JSON.stringify(remnant))
      else this.#known.delete(tenantId)
    }
  }
}
