// Writes the catalog that gateways read. There is one writer at a time: a fence refuses stale leaders. When
// Redis has lost or changed something, only a complete snapshot repairs the catalog.
import { z } from 'zod'
import type { Log } from '../../log.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { replyErrorOf, runScript } from '../../redis/run-script.js'
import { readGateways } from './heartbeats.js'
import type { LiveGateway } from '../heartbeat.js'
import { decodeRecord, encodeRecord, stampBody, stampBodyOf, type Stamp } from './record.js'
import { beginEpoch, commitChanges, confirmCatalog, loadCatalogScripts } from './scripts.js'
import { Staging, type TenantRef } from './staging.js'
import { isAhead, readLatestApplied, readCatalogState, type CatalogState } from './writer-state.js'
import { compareVersions, versionText, type CatalogVersion } from '../version.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import type { SealingKeys } from './sealing.js'

/** The result of one write. */
export type WriteOutcome =
  /** A gateway that has applied `version` enforces what was written. */
  | { readonly kind: 'written' | 'unchanged'; readonly version: CatalogVersion }
  /**
   * Nothing was written: Redis was flushed, restored or has another master, so only a complete snapshot may
   * follow.
   */
  | { readonly kind: 'snapshotNeeded' }
  /** Nothing was written: a later leader has written the catalog, so this one must stop. */
  | { readonly kind: 'fenced' }
  /** Nothing was written: the catalog belongs to the controllers of the cluster `owner`. */
  | { readonly kind: 'foreign'; readonly owner: string }

export interface CatalogWriterOptions {
  /** Creates a link to the master. The caller owns the link and keeps it open. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  readonly sealing: SealingKeys
  /**
   * Returns the term of the leader: an integer that never decreases from one leader to the next. Called
   * before each write; it may throw to refuse it.
   */
  readonly fence: () => number
  /** Identifies the cluster. The catalog of another cluster is never changed. Absent: no owner is checked. */
  readonly owner?: string | undefined
  /** The owner whose catalog may be taken over: another cluster, which no longer exists. Absent: none. */
  readonly takesOver?: string | undefined
  readonly log: Log
  /** How long a write waits for Redis, in milliseconds. Default 5,000. */
  readonly waitMs?: number
  /**
   * The number of changes that the log keeps. A gateway that is further behind reads the whole catalog.
   * Default 4,096.
   */
  readonly logMax?: number
}

interface Change {
  readonly op: 'put' | 'remove'
  readonly key: string
  /** For `put`, the stamp without its n; for `remove`, the id of the tenant, or '' for any. */
  readonly body: string
  readonly record: string
}

/**
 * A snapshot with more changes or bytes is not written to the log: it begins an epoch, in pages that do not
 * block Redis.
 */
const changesMax = 200
const bytesMax = 1_048_576
const attemptsMax = 5

const CommitReply = z.union([
  z.tuple([z.enum(['written', 'unchanged']), z.int(), z.int()]),
  z.tuple([z.enum(['snapshotNeeded', 'fenced', 'foreign']), z.string()]),
])
const BeginReply = z.union([
  z.tuple([z.literal('written'), z.int()]),
  z.tuple([z.enum(['fenced', 'moved'])]),
  z.tuple([z.literal('foreign'), z.string()]),
])
const ConfirmReply = z.enum(['confirmed', 'snapshotNeeded', 'fenced', 'foreign'])

/**
 * Writes the catalog, in the order of the calls. Each method throws errors that `isRedisUnavailable`
 * recognizes (RedisUnavailableError, UnknownOutcomeError, RedisReplyError); the caller may try again.
 */
export class CatalogWriter {
  readonly #options: CatalogWriterOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink
  /** The newest version known to be in Redis. */
  #known: CatalogVersion | undefined
  /** The fence at the last snapshot. A new leader must first write its own snapshot. */
  #snapshotFence: number | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: CatalogWriterOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('catalog writer', loadCatalogScripts)
  }

  /** Writes one policy. */
  put(policy: TenantPolicy): Promise<WriteOutcome> {
    return this.#enqueue(async (live, fence) => this.#change(live, fence, [this.#putChange(policy)]))
  }

  /** Removes one tenant. With `tenantId`, a tenant that was recreated under the name is not removed. */
  remove({ key, tenantId = '' }: { key: string; tenantId?: string }): Promise<WriteOutcome> {
    return this.#enqueue(async (live, fence) =>
      this.#change(live, fence, [{ op: 'remove', key, body: tenantId, record: '' }]),
    )
  }

  /**
   * Writes the complete catalog: every tenant that is neither in `policies` nor in `keep` is removed. `keep`
   * are tenants that exist but have no policy that can be enforced at the moment; they keep their last good
   * revision wherever it is still known.
   */
  snapshot(policies: Iterable<TenantPolicy>, keep: Iterable<TenantRef> = []): Promise<WriteOutcome> {
    const desired = new Map([...policies].map((policy) => [tenantKey(policy), policy]))
    const kept = [...keep].filter(({ key }) => !desired.has(key))
    return this.#enqueue(async (live, fence) => {
      const outcome = await this.#snapshot(live, fence, { desired, kept })
      if (outcome.kind === 'written' || outcome.kind === 'unchanged') this.#snapshotFence = fence
      return outcome
    })
  }

  /**
   * Confirms to the gateways that the catalog is up to date, and checks that it is. Returns `snapshotNeeded`
   * when Redis has lost or changed something, or when a gateway has applied a newer version than Redis holds.
   * It is called every few seconds; gateways report the age of the last confirmation.
   */
  confirm(): Promise<z.infer<typeof ConfirmReply>> {
    return this.#enqueue(async (live, fence) => {
      const known = this.#known
      if (!known || this.#snapshotFence !== fence) return 'snapshotNeeded'
      const applied = await readLatestApplied(live, this.#keys)
      const reply = await runScript(live, confirmCatalog, {
        keys: [this.#keys.version],
        args: [fence, known.epoch, known.n, this.#options.owner ?? ''],
        reply: ConfirmReply,
      })
      return reply === 'confirmed' && isAhead(applied, known) ? 'snapshotNeeded' : reply
    })
  }

  /**
   * Returns the owner of the catalog; undefined when it has none or does not exist. Throws the same errors as
   * a write.
   */
  async readOwner(): Promise<string | undefined> {
    return (await readCatalogState(await this.#openLink(), this.#keys)).owner
  }

  /**
   * Returns the policy of the tenant in the catalog; undefined when there is none or it cannot be decoded.
   * Throws the same errors as a write.
   */
  async readPolicy({ key, tenantId }: TenantRef): Promise<TenantPolicy | undefined> {
    const live = await this.#openLink()
    const [reply] = await live.run(live.client.pipeline().hget(this.#keys.tenants, key))
    if (reply instanceof Error) throw replyErrorOf(live, reply)
    if (typeof reply !== 'string') return undefined
    const decoded = decodeRecord(key, reply, this.#options.sealing)
    return decoded.kind === 'good' && decoded.policy.tenantId === tenantId ? decoded.policy : undefined
  }

  /**
   * Returns all live gateways, for the condition `Programmed` and the usage in status. Throws the same errors
   * as a write.
   */
  async readGateways(options: { usage: boolean } = { usage: false }): Promise<LiveGateway[]> {
    return readGateways(await this.#openLink(), this.#keys, options)
  }

  #openLink(): Promise<LiveRedis> {
    return this.#link.ready(this.#options.waitMs ?? 5_000)
  }

  #enqueue<Result>(write: (live: LiveRedis, fence: number) => Promise<Result>): Promise<Result> {
    const result = this.#last.then(async () => {
      const live = await this.#openLink()
      // Called as late as possible, because a term may end while this waits for Redis.
      return write(live, this.#options.fence())
    })
    this.#last = result.catch(() => {})
    return result
  }

  #putChange(policy: TenantPolicy): Change {
    const { sealing } = this.#options
    return {
      op: 'put',
      key: tenantKey(policy),
      body: stampBody(policy, sealing),
      record: encodeRecord(policy, sealing),
    }
  }

  async #change(live: LiveRedis, fence: number, changes: readonly Change[]): Promise<WriteOutcome> {
    const known = this.#known
    if (!known || this.#snapshotFence !== fence) return { kind: 'snapshotNeeded' }
    return this.#commit(live, { fence, from: known, versionMatch: 'atLeast', changes })
  }

  async #commit(
    live: LiveRedis,
    commit: {
      readonly fence: number
      readonly from: CatalogVersion
      /** Whether n in Redis must be at least that of `from`, or exactly the same. */
      readonly versionMatch: 'atLeast' | 'exactly'
      /** The epoch after the commit. Default: the epoch of `from`. */
      readonly epoch?: number
      readonly changes: readonly Change[]
    },
  ): Promise<WriteOutcome> {
    const { version, tenants, stamps, log, changes: topic } = this.#keys
    const { changes, fence, from, versionMatch, epoch = from.epoch } = commit
    const reply = await runScript(live, commitChanges, {
      keys: [version, tenants, stamps, log],
      args: [
        ...[fence, from.epoch, from.n, versionMatch, epoch],
        ...[this.#options.logMax ?? 4_096, topic, this.#options.owner ?? ''],
        ...changes.flatMap(({ body, key, op, record }) => [op, key, body, record]),
      ],
      reply: CommitReply,
    })
    if (reply.length === 2) return refusalOutcome(...reply)
    const [kind, n, recordN] = reply
    this.#known = { epoch, n }
    return { kind, version: { epoch, n: changes.length === 1 ? recordN : n } }
  }

  async #snapshot(live: LiveRedis, fence: number, complete: CompleteCatalog): Promise<WriteOutcome> {
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const state = await readCatalogState(live, this.#keys)
      if (state.fence > fence && !this.#isForeign(state)) return { kind: 'fenced' }
      const outcome = await this.#trySnapshot(live, fence, { complete, state })
      if (outcome) return outcome
    }
    throw new Error(
      `The catalog of "${this.#options.installation}" could not be written in ${attemptsMax} ` +
        'attempts, because another writer changed it each time.',
    )
  }

  /** Makes one attempt. Returns undefined when Redis has changed since `state` was read. */
  async #trySnapshot(
    live: LiveRedis,
    fence: number,
    { complete, state }: { complete: CompleteCatalog; state: CatalogState },
  ): Promise<WriteOutcome | undefined> {
    if (state.version && this.#isContinuation(state)) {
      const changes = this.#changesBetween(complete, state.stamps)
      const bytes = changes.reduce((sum, { record }) => sum + record.length, 0)
      if (changes.length <= changesMax && bytes <= bytesMax) {
        // A new leader cannot know what the last one wrote. If Redis was restored to an earlier state, its
        // first changes would have the numbers of other changes that gateways have already applied. So a new
        // leader begins an epoch.
        const epoch = this.#snapshotFence === fence ? state.version.epoch : this.#nextEpoch(state)
        const commit = { fence, from: state.version, versionMatch: 'exactly', epoch, changes } as const
        const outcome = await this.#commit(live, commit)
        return outcome.kind === 'snapshotNeeded' ? undefined : outcome
      }
    }
    return this.#beginEpoch(live, fence, { complete, state })
  }

  /**
   * Returns whether the catalog in Redis continues everything that this writer and the gateways have ever
   * seen of it.
   */
  #isContinuation(state: CatalogState): boolean {
    const { applied, owner, sameMaster, version } = state
    if (!version || !sameMaster || isAhead(applied, version)) return false
    // A change of the owner requires a new epoch.
    if (this.#options.owner !== undefined && owner !== this.#options.owner) return false
    return !this.#known || compareVersions(version, this.#known) >= 0
  }

  /**
   * Returns an epoch above every epoch that any gateway can have seen. The clock may be behind, and Redis may
   * have been restored to an earlier state.
   */
  #nextEpoch({ applied, nowMs, version }: CatalogState): number {
    const epochs = [version, this.#known, applied].map((known) => known?.epoch ?? 0)
    return Math.max(nowMs, ...epochs.map((epoch) => epoch + 1))
  }

  #isForeign({ owner }: CatalogState): boolean {
    return this.#options.owner !== undefined && owner !== undefined && owner !== this.#options.owner
  }

  #changesBetween({ desired, kept }: CompleteCatalog, stamps: ReadonlyMap<string, Stamp>): Change[] {
    const changes: Change[] = []
    const keepable = new Map(kept.map(({ key, tenantId }) => [key, tenantId]))
    for (const [key, stamp] of stamps) {
      if (!desired.has(key) && keepable.get(key) !== stamp.tenantId)
        changes.push({ op: 'remove', key, body: '', record: '' })
    }
    for (const [key, policy] of desired) {
      const stamp = stamps.get(key)
      const body = stampBody(policy, this.#options.sealing)
      if (!stamp || stampBodyOf(stamp) !== body) changes.push(this.#putChange(policy))
    }
    return changes
  }

  /**
   * Writes the whole catalog as a new epoch. Returns undefined when another writer has changed the catalog
   * meanwhile, or when Redis lost the staged catalog.
   */
  async #beginEpoch(
    live: LiveRedis,
    fence: number,
    { complete, state }: { complete: CompleteCatalog; state: CatalogState },
  ): Promise<WriteOutcome | undefined> {
    const { installation, log, owner = '', takesOver = '' } = this.#options
    const { version: expected } = state
    if (this.#isForeign(state) && state.owner !== takesOver)
      return refusalOutcome('foreign', state.owner ?? '')
    const epoch = this.#nextEpoch(state)
    const staging = new Staging(live, { installation, keys: this.#keys })
    await staging.putAll(mapLazily(complete.desired.values(), (policy) => this.#putChange(policy)))
    await staging.keepAll(complete.kept, state)
    // Staging takes time, in which the term may have ended.
    if (this.#options.fence() !== fence) return { kind: 'fenced' }
    const { version, tenants, stamps, log: logKey, changes: topic } = this.#keys
    const reply = await runScript(live, beginEpoch, {
      keys: [version, tenants, stamps, logKey, staging.keys.tenants, staging.keys.stamps],
      args: [
        ...[fence, expected?.epoch ?? '', expected?.n ?? '', epoch],
        ...[staging.recordCount, staging.stampCount, topic, installation, owner, takesOver],
      ],
      reply: BeginReply,
    })
    if (reply[0] !== 'written') {
      await staging.clear()
      return reply[0] === 'moved' ? undefined : refusalOutcome(reply[0], reply[1] ?? '')
    }
    this.#known = { epoch, n: reply[1] }
    log.info(
      { catalog: installation, version: versionText(this.#known), tenants: staging.stampCount },
      'published the complete catalog',
    )
    return { kind: 'written', version: this.#known }
  }
}

function refusalOutcome(kind: 'snapshotNeeded' | 'fenced' | 'foreign', owner: string): WriteOutcome {
  return kind === 'foreign' ? { kind, owner } : { kind }
}

interface CompleteCatalog {
  readonly desired: ReadonlyMap<string, TenantPolicy>
  readonly kept: readonly TenantRef[]
}

/** Maps items one by one as they are consumed, because thousands at once would block this process. */
function* mapLazily<From, To>(items: Iterable<From>, map: (item: From) => To): Iterable<To> {
  for (const item of items) yield map(item)
}
