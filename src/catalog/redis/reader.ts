// The catalog of a gateway in a cluster: what the controller wrote to Redis, read at the start and followed. What is known good is served
// until something newer is known good: an empty, older or unreadable Redis takes nothing away.
import { z } from 'zod'
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import type { Clock } from '../../time.js'
import type { Catalog, CatalogChange, CatalogListener } from '../catalog.js'
import {
  decodeRecord,
  isOpenable,
  parseStamp,
  unknownRevision,
  type CatalogProblem,
  type Stamp,
} from './record.js'
import {
  loadCatalogScripts,
  readChanges,
  readDirectory,
  readRecords,
  runScript,
} from './scripts.js'
import { isRedisUnavailable } from './unavailable.js'
import { compareVersions, versionText, type CatalogVersion } from '../version.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import type { SealingKeys } from './sealing.js'

export interface CatalogReaderOptions {
  /** A link to the master, made and kept open by the caller. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  readonly sealing: SealingKeys
  readonly clock: Clock
  readonly log: Log
  /** How often Redis is asked when no hint comes. Default 1,000. */
  readonly pollMs?: number
}

/** Records, or changes, of one read: Redis and this process do other things in between. */
const pageSize = 100

const HeadReply = z.tuple([z.string(), z.string(), z.string(), z.string()])
const ChangesReply = z.tuple([
  HeadReply,
  z.string(),
  z.array(z.string()),
  z.array(z.string().nullable()),
  z.array(z.string().nullable()),
])
const DirectoryReply = z.tuple([HeadReply, z.array(z.string())])
const RecordsReply = z.tuple([z.number(), z.array(z.string().nullable())])

interface CatalogHead {
  readonly version: CatalogVersion
  /** Since the controller said last that all is as it should be; by Redis's clock. */
  readonly confirmedAgoMs: number
}

/** By `<namespace>/<name>`: what is in force, and what cannot be. */
interface Served {
  readonly tenants: Map<string, TenantPolicy>
  readonly problems: Map<string, CatalogProblem>
}

export class CatalogReader implements Catalog {
  readonly #options: CatalogReaderOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink
  readonly #listeners: CatalogListener[] = []
  readonly #appliedListeners: (() => void)[] = []
  #served: Served = { tenants: new Map(), problems: new Map() }
  #version: CatalogVersion | undefined
  #confirmed: { atMs: number; agoMs: number } | undefined
  #staleReason: string | undefined = 'it was not read yet'
  #pollNow = new AbortController()

  constructor(options: CatalogReaderOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('catalog', async (live) => {
      await loadCatalogScripts(live)
      live.client.on('message', () => this.#pollNow.abort())
      await live.client.subscribe(this.#keys.changes)
    })
    this.#link.onOpen(() => this.#pollNow.abort())
  }

  get(key: string): TenantPolicy | undefined {
    return this.#served.tenants.get(key)
  }

  all(): Iterable<TenantPolicy> {
    return this.#served.tenants.values()
  }

  listen(listener: CatalogListener): void {
    this.#listeners.push(listener)
  }

  /** Calls `listener` after each new version, when all that it brought is in force. */
  onApplied(listener: () => void): void {
    this.#appliedListeners.push(listener)
  }

  /** What is in force, but for the tenants in `problems`. Undefined: no complete catalog was read yet, and nothing is served. */
  get version(): CatalogVersion | undefined {
    return this.#version
  }

  get synced(): boolean {
    return this.#version !== undefined
  }

  /** Tenants whose newest revision cannot be served; each keeps its last good one. */
  get problems(): readonly CatalogProblem[] {
    return [...this.#served.problems.values()]
  }

  /** How long ago, at most, what is in force was what the controller wants. Undefined: never was. Grows without Redis and without controller. */
  get ageMs(): number | undefined {
    if (!this.#confirmed) return undefined
    const { agoMs, atMs } = this.#confirmed
    return agoMs + this.#options.clock.monotonicMs() - atMs
  }

  /** Why the catalog is not followed at the moment. What is in force stays so. */
  get unavailableReason(): string | undefined {
    return this.#link.unavailableReason ?? (this.#staleReason && `catalog: ${this.#staleReason}`)
  }

  /** Follows the catalog until `signal` ends it. Rejects only with what a listener threw. */
  async run(signal: AbortSignal): Promise<void> {
    const { pollMs = 1_000 } = this.#options
    while (!signal.aborted) {
      // Before reading: what comes while it is read may be newer than what is read.
      this.#pollNow = new AbortController()
      await this.refresh()
      await pause(pollMs, signal, this.#pollNow.signal)
    }
  }

  /** Reads what is new, to its end. Once at a time: `run` calls it, or a test. */
  async refresh(): Promise<void> {
    const live = this.#link.current
    if (!live) return
    try {
      while (await this.#readPage(live));
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      this.#setStaleReason(error.message)
    }
  }

  /** True: there may be more. */
  async #readPage(live: LiveRedis): Promise<boolean> {
    const { log, stamps, tenants, version: versionKey } = this.#keys
    const mine = this.#version
    const [head, reached, names, namedStamps, records] = await runScript(live, readChanges, {
      keys: [versionKey, tenants, stamps, log],
      args: [mine?.epoch ?? '', mine?.n ?? '', pageSize],
      reply: ChangesReply,
    })
    const seen = this.#accept(head)
    if (!seen) return false
    if (mine && compareVersions(seen.version, mine) === 0) {
      this.#confirm(seen)
      return false
    }
    if (reached === '') return this.#readAll(live)

    const { tenants: inForce } = this.#served
    const before = names.map((name) => inForce.get(name))
    names.forEach((name, index) => {
      const found = { stamp: namedStamps[index] ?? undefined, record: records[index] ?? undefined }
      this.#update(this.#served, name, found)
    })
    const changes = names.flatMap((name, index) => changeOf(before[index], inForce.get(name)))
    this.#apply(changes, { epoch: seen.version.epoch, n: Number(reached) }, seen)
    return true
  }

  /**
   * Stamps of one moment, then, in pages, the records that are not served yet. A record may be newer than its stamp: then the log, which is
   * read on from that moment, speaks of it again. When an epoch begins meanwhile, nothing is taken, and the next look begins with that one.
   */
  async #readAll(live: LiveRedis): Promise<boolean> {
    const { stamps: stampsKey, tenants, version: versionKey } = this.#keys
    const [head, flat] = await runScript(live, readDirectory, {
      keys: [versionKey, stampsKey],
      reply: DirectoryReply,
    })
    const seen = this.#accept(head)
    if (!seen) return false

    const next: Served = { tenants: new Map(), problems: new Map() }
    const unread: [string, string][] = []
    for (let index = 0; index + 1 < flat.length; index += 2) {
      const [name = '', stampText = ''] = flat.slice(index, index + 2)
      const stamp = parseStamp(stampText)
      const served = stamp && this.#servedIfCurrent(name, stamp)
      if (served) next.tenants.set(name, served)
      else if (stamp?.revision === unknownRevision) this.#update(next, name, { stamp: stampText })
      else unread.push([name, stampText])
    }
    for (let start = 0; start < unread.length; start += pageSize) {
      const page = unread.slice(start, start + pageSize)
      const [same, records] = await runScript(live, readRecords, {
        keys: [versionKey, tenants],
        args: [seen.version.epoch, ...page.map(([name]) => name)],
        reply: RecordsReply,
      })
      if (same !== 1) return true
      page.forEach(([name, stamp], index) => {
        const record = records[index] ?? undefined
        if (record !== undefined) return this.#update(next, name, { stamp, record })
        // Removed a moment ago. The log will say so, in its turn.
        const served = this.#served.tenants.get(name)
        if (served) next.tenants.set(name, served)
      })
    }
    const changes = changesBetween(this.#served.tenants, next.tenants)
    this.#served = next
    this.#apply(changes, seen.version, seen)
    return true
  }

  /** What is in force, if that is what lies in Redis and could be opened there: who was sealed anew, or has a problem, is looked at. */
  #servedIfCurrent(name: string, stamp: Stamp): TenantPolicy | undefined {
    const { problems, tenants } = this.#served
    if (problems.has(name) || !isOpenable(stamp, this.#options.sealing)) return undefined
    const served = tenants.get(name)
    return served?.revision === stamp.revision && served.tenantId === stamp.tenantId ? served : undefined
  }

  /** Puts a tenant into `into` as it lies in Redis; without stamp and record it is gone. */
  #update(
    into: Served,
    name: string,
    { record, stamp: stampText }: { stamp: string | undefined; record?: string | undefined },
  ): void {
    const served = this.#served.tenants.get(name)
    const toldBefore = this.#served.problems.get(name)?.message
    into.tenants.delete(name)
    into.problems.delete(name)
    if (stampText === undefined && record === undefined) return

    const decoded = record === undefined ? undefined : decodeRecord(name, record, this.#options.sealing)
    if (decoded?.kind === 'good') {
      into.tenants.set(name, decoded.policy)
      return
    }
    // Of the same tenant only: one that was recreated under the name inherits nothing.
    const lastGood = served && parseStamp(stampText ?? '')?.tenantId === served.tenantId ? served : undefined
    if (lastGood) into.tenants.set(name, lastGood)
    const problem = decoded?.problem ?? (lastGood ? undefined : noGoodRevisionProblem(name))
    if (!problem) return
    into.problems.set(name, problem)
    if (problem.message !== toldBefore)
      this.#options.log.warn({ ...problem }, 'a tenant’s newest revision cannot be served')
  }

  /** What is served has changed so. */
  #apply(changes: readonly CatalogChange[], version: CatalogVersion, seen: CatalogHead): void {
    for (const change of changes) {
      for (const listener of this.#listeners) listener.changed(change)
    }
    const first = this.#version === undefined
    this.#version = version
    if (compareVersions(version, seen.version) === 0) this.#confirm(seen)
    this.#options.log[first ? 'info' : 'debug'](
      { version: versionText(version), tenants: this.#served.tenants.size, changes: changes.length },
      'applied the catalog',
    )
    for (const listener of this.#appliedListeners) listener()
  }

  /** Undefined: what Redis holds is nothing, or of the past; it is not to be listened to. */
  #accept([epoch, n, confirmed, nowMs]: z.infer<typeof HeadReply>): CatalogHead | undefined {
    if (epoch === '') {
      this.#setStaleReason('there is none in Redis; the controller has to publish it')
      return undefined
    }
    const version = { epoch: Number(epoch), n: Number(n) }
    if (this.#version && compareVersions(version, this.#version) < 0) {
      this.#setStaleReason(
        `Redis holds ${versionText(version)}, which is older than ${versionText(this.#version)} in force here; the controller has to publish it again`,
      )
      return undefined
    }
    return { version, confirmedAgoMs: Math.max(0, Number(nowMs) - Number(confirmed)) }
  }

  #confirm({ confirmedAgoMs }: CatalogHead): void {
    this.#confirmed = { atMs: this.#options.clock.monotonicMs(), agoMs: confirmedAgoMs }
    this.#setStaleReason(undefined)
  }

  #setStaleReason(trouble: string | undefined): void {
    if (trouble === this.#staleReason) return
    this.#staleReason = trouble
    if (trouble === undefined) this.#options.log.info('the catalog is followed')
    else this.#options.log.warn({ reason: trouble }, 'the catalog is not followed; what is in force stays')
  }
}

function noGoodRevisionProblem(tenant: string): CatalogProblem {
  const message = 'Its present form cannot be enforced, and no earlier one is known.'
  return { tenant, reason: 'NoGoodRevision', message }
}

function changesBetween(
  before: ReadonlyMap<string, TenantPolicy>,
  after: ReadonlyMap<string, TenantPolicy>,
): CatalogChange[] {
  const gone = [...before].filter(([name]) => !after.has(name))
  return [
    ...gone.map(([, policy]) => ({ kind: 'remove' as const, policy })),
    ...[...after].flatMap(([name, policy]) => changeOf(before.get(name), policy)),
  ]
}

/** One, or none. */
function changeOf(before: TenantPolicy | undefined, after: TenantPolicy | undefined): CatalogChange[] {
  if (!after) return before ? [{ kind: 'remove', policy: before }] : []
  const same = before?.revision === after.revision && before.tenantId === after.tenantId
  return same ? [] : [{ kind: 'put', policy: after }]
}
