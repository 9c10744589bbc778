// The catalog of a gateway in a cluster: reads what the controller published to Redis, and follows its
// changes. A good policy stays in force until a newer good one replaces it: an empty, older or unreadable
// Redis removes nothing.
import { z } from 'zod'
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { isRedisUnavailable, runScript } from '../../redis/run-script.js'
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
import { loadCatalogScripts, readChanges, readDirectory, readRecords } from './scripts.js'
import { compareVersions, versionText, type CatalogVersion } from '../version.js'
import type { TenantPolicy } from '../../tenant/policy.js'
import type { SealingKeys } from './sealing.js'

export interface CatalogReaderOptions {
  /** Creates a link to the master. The caller owns the link and keeps it open. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  readonly sealing: SealingKeys
  readonly clock: Clock
  readonly log: Log
  /** The time between two polls, in milliseconds, when no notification arrives. Default 1,000. */
  readonly pollMs?: number
}

/**
 * The number of records or changes in one read, so that neither Redis nor this process is blocked for long.
 */
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

/** The version of the catalog in Redis, and the age of its confirmation. */
interface CatalogHead {
  readonly version: CatalogVersion
  /** The time since the controller last confirmed the catalog, in milliseconds, by the clock of Redis. */
  readonly confirmedAgoMs: number
}

/** The policies in force, and the problems of those that cannot be, by `<namespace>/<name>`. */
interface Served {
  readonly tenants: Map<string, TenantPolicy>
  readonly problems: Map<string, CatalogProblem>
}

/** The catalog that gateways follow in Redis. */
export class CatalogReader implements Catalog {
  readonly #options: CatalogReaderOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink
  readonly #listeners: CatalogListener[] = []
  readonly #appliedListeners: (() => void)[] = []
  #served: Served = { tenants: new Map(), problems: new Map() }
  #version: CatalogVersion | undefined
  #confirmed: { atMs: number; agoMs: number } | undefined
  #staleReason: string | undefined = 'it has not been read yet'
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

  /** Calls `listener` after each new version, when all its changes are in force. */
  onApplied(listener: () => void): void {
    this.#appliedListeners.push(listener)
  }

  /**
   * The version in force, except for the tenants in `problems`. Undefined when no complete catalog has been
   * read yet, so that nothing is served.
   */
  get version(): CatalogVersion | undefined {
    return this.#version
  }

  /** Whether a complete catalog has been read. */
  get synced(): boolean {
    return this.#version !== undefined
  }

  /**
   * The problems of tenants whose newest revision cannot be served. Each of them keeps its last good
   * revision.
   */
  get problems(): readonly CatalogProblem[] {
    return [...this.#served.problems.values()]
  }

  /**
   * The age of the catalog in milliseconds: the longest time since the policies in force were those that the
   * controller wants. It grows while Redis or the controller is not available. Undefined when no catalog was
   * confirmed yet.
   */
  get ageMs(): number | undefined {
    if (!this.#confirmed) return undefined
    const { agoMs, atMs } = this.#confirmed
    return agoMs + this.#options.clock.monotonicMs() - atMs
  }

  /**
   * Why the catalog cannot be followed at the moment, or undefined when it can. The policies in force stay in
   * force.
   */
  get unavailableReason(): string | undefined {
    return this.#link.unavailableReason ?? (this.#staleReason && `catalog: ${this.#staleReason}`)
  }

  /** Follows the catalog until `signal` is aborted. Rejects only with an error that a listener threw. */
  async run(signal: AbortSignal): Promise<void> {
    const { pollMs = 1_000 } = this.#options
    while (!signal.aborted) {
      // Set before reading, because a notification during the read may be about a newer version.
      this.#pollNow = new AbortController()
      await this.refresh()
      await pause(pollMs, signal, this.#pollNow.signal)
    }
  }

  /** Reads all new changes. It must not run twice at the same time: either `run` or a test calls it. */
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

  /** Reads one page of the log. Returns true when there may be more changes. */
  async #readPage(live: LiveRedis): Promise<boolean> {
    const { log, stamps, tenants, version: versionKey } = this.#keys
    const current = this.#version
    const [headReply, reached, names, namedStamps, records] = await runScript(live, readChanges, {
      keys: [versionKey, tenants, stamps, log],
      args: [current?.epoch ?? '', current?.n ?? '', pageSize],
      reply: ChangesReply,
    })
    const head = this.#accept(headReply)
    if (!head) return false
    if (current && compareVersions(head.version, current) === 0) {
      this.#confirm(head)
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
    this.#apply(changes, { epoch: head.version.epoch, n: Number(reached) }, head)
    return true
  }

  /**
   * Reads all stamps consistently, and then, in pages, the records that are not in force yet. A record may be
   * newer than its stamp; then the log, which is read from the moment of the stamps, contains its change too.
   * When a new epoch begins meanwhile, nothing is applied, and the next read begins with that epoch.
   */
  async #readAll(live: LiveRedis): Promise<boolean> {
    const { stamps: stampsKey, tenants, version: versionKey } = this.#keys
    const [headReply, flat] = await runScript(live, readDirectory, {
      keys: [versionKey, stampsKey],
      reply: DirectoryReply,
    })
    const head = this.#accept(headReply)
    if (!head) return false

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
        args: [head.version.epoch, ...page.map(([name]) => name)],
        reply: RecordsReply,
      })
      if (same !== 1) return true
      page.forEach(([name, stamp], index) => {
        const record = records[index] ?? undefined
        if (record !== undefined) return this.#update(next, name, { stamp, record })
        // The tenant was removed after the stamps were read. The log contains the removal.
        const served = this.#served.tenants.get(name)
        if (served) next.tenants.set(name, served)
      })
    }
    const changes = changesBetween(this.#served.tenants, next.tenants)
    this.#served = next
    this.#apply(changes, head.version, head)
    return true
  }

  /**
   * Returns the policy in force when it equals the record in Redis, so that the record need not be read. A
   * tenant with a problem, or with a record that cannot be opened, is always read.
   */
  #servedIfCurrent(name: string, stamp: Stamp): TenantPolicy | undefined {
    const { problems, tenants } = this.#served
    if (problems.has(name) || !isOpenable(stamp, this.#options.sealing)) return undefined
    const served = tenants.get(name)
    return served?.revision === stamp.revision && served.tenantId === stamp.tenantId ? served : undefined
  }

  /** Updates one tenant in `into` from its stamp and record in Redis. Without both the tenant is removed. */
  #update(
    into: Served,
    name: string,
    { record, stamp: stampText }: { stamp: string | undefined; record?: string | undefined },
  ): void {
    const served = this.#served.tenants.get(name)
    const messageBefore = this.#served.problems.get(name)?.message
    into.tenants.delete(name)
    into.problems.delete(name)
    if (stampText === undefined && record === undefined) return

    const decoded = record === undefined ? undefined : decodeRecord(name, record, this.#options.sealing)
    if (decoded?.kind === 'good') {
      into.tenants.set(name, decoded.policy)
      return
    }
    // A tenant that was recreated under the name does not inherit the policy of the former one.
    const lastGood = served && parseStamp(stampText ?? '')?.tenantId === served.tenantId ? served : undefined
    if (lastGood) into.tenants.set(name, lastGood)
    const problem = decoded?.problem ?? (lastGood ? undefined : noGoodRevisionProblem(name))
    if (!problem) return
    into.problems.set(name, problem)
    if (problem.message !== messageBefore)
      this.#options.log.warn({ ...problem }, 'the newest revision of a tenant cannot be served')
  }

  /** Notifies the listeners of changes that are already in force, and records the version. */
  #apply(changes: readonly CatalogChange[], version: CatalogVersion, head: CatalogHead): void {
    for (const change of changes) {
      for (const listener of this.#listeners) listener.changed(change)
    }
    const first = this.#version === undefined
    this.#version = version
    if (compareVersions(version, head.version) === 0) this.#confirm(head)
    this.#options.log[first ? 'info' : 'debug'](
      { version: versionText(version), tenants: this.#served.tenants.size, changes: changes.length },
      'applied the catalog',
    )
    for (const listener of this.#appliedListeners) listener()
  }

  /**
   * Returns the head of the catalog in Redis, or undefined when there is none or it is older than the version
   * in force.
   */
  #accept([epoch, n, confirmed, nowMs]: z.infer<typeof HeadReply>): CatalogHead | undefined {
    if (epoch === '') {
      this.#setStaleReason('Redis has no catalog; the controller must publish it')
      return undefined
    }
    const version = { epoch: Number(epoch), n: Number(n) }
    if (this.#version && compareVersions(version, this.#version) < 0) {
      this.#setStaleReason(
        `Redis has version ${versionText(version)}, which is older than ` +
          `${versionText(this.#version)} in force; the controller must publish it again`,
      )
      return undefined
    }
    return { version, confirmedAgoMs: Math.max(0, Number(nowMs) - Number(confirmed)) }
  }

  #confirm({ confirmedAgoMs }: CatalogHead): void {
    this.#confirmed = { atMs: this.#options.clock.monotonicMs(), agoMs: confirmedAgoMs }
    this.#setStaleReason(undefined)
  }

  #setStaleReason(reason: string | undefined): void {
    if (reason === this.#staleReason) return
    this.#staleReason = reason
    if (reason === undefined) this.#options.log.info('following the catalog')
    else this.#options.log.warn({ reason }, 'cannot follow the catalog; the current policies stay in force')
  }
}

function noGoodRevisionProblem(tenant: string): CatalogProblem {
  const message =
    'The present spec of the tenant cannot be enforced, and no earlier revision is known. Correct the spec.'
  return { tenant, reason: 'NoGoodRevision', message }
}

function changesBetween(
  before: ReadonlyMap<string, TenantPolicy>,
  after: ReadonlyMap<string, TenantPolicy>,
): CatalogChange[] {
  const removed = [...before].filter(([name]) => !after.has(name))
  return [
    ...removed.map(([, policy]) => ({ kind: 'remove' as const, policy })),
    ...[...after].flatMap(([name, policy]) => changeOf(before.get(name), policy)),
  ]
}

/** Returns the change from `before` to `after`: one or none. */
function changeOf(before: TenantPolicy | undefined, after: TenantPolicy | undefined): CatalogChange[] {
  if (!after) return before ? [{ kind: 'remove', policy: before }] : []
  const same = before?.revision === after.revision && before.tenantId === after.tenantId
  return same ? [] : [{ kind: 'put', policy: after }]
}
