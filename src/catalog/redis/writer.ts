// Writes the catalog that gateways read. One writer at a time: a fence keeps out those of the past, and whatever happened to Redis
// meanwhile is mended by a complete snapshot, never by guessing.
import { z } from 'zod'
import type { Log } from '../../log.js'
import { catalogKeys, type CatalogKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { readGateways } from './heartbeats.js'
import type { LiveGateway } from '../heartbeat.js'
import { decodeRecord, encodeRecord, stampBody, stampBodyOf, type Stamp } from './record.js'
import {
  beginEpoch,
  commitChanges,
  confirmCatalog,
  loadCatalogScripts,
  replyErrorOf,
  runScript,
} from './scripts.js'
import { Staging, type TenantRef } from './staging.js'
import { isAhead, readLatestApplied, readCatalogState, type CatalogState } from './writer-state.js'
import { compareVersions, versionText, type CatalogVersion } from '../version.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import type { SealingKeys } from './sealing.js'

export type WriteOutcome =
  /** `version`: whoever has applied it enforces what was written. */
  | { readonly kind: 'written' | 'unchanged'; readonly version: CatalogVersion }
  /** Nothing was written: only a complete snapshot can go on from what Redis holds (it was flushed, restored, or has another master). */
  | { readonly kind: 'snapshotNeeded' }
  /** Nothing was written: another leader came after this one. It has nothing more to do. */
  | { readonly kind: 'fenced' }
  /** Nothing was written: the catalog belongs to another cluster's controllers. */
  | { readonly kind: 'foreign'; readonly owner: string }

export interface CatalogWriterOptions {
  /** A link to the master, made and kept open by the caller. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  readonly sealing: SealingKeys
  /** The leader's term: a whole number that no later leader has a lower one of. Asked before each write; may throw to refuse it. */
  readonly fence: () => number
  /** Names the cluster: a catalog of another one is never touched. Absent: nobody is asked who they are. */
  readonly owner?: string | undefined
  /** Another cluster that is known to be gone: its catalog is taken over. */
  readonly takesOver?: string | undefined
  readonly log: Log
  /** How long a write waits for Redis. Default 5,000. */
  readonly waitMs?: number
  /** Changes that the log keeps: whoever is further behind reads everything. Default 4,096. */
  readonly logMax?: number
}

interface Change {
  readonly op: 'put' | 'remove'
  readonly key: string
  /** The stamp's body for `put`; the tenant's id, or '' for any, for `remove`. */
  readonly body: string
  readonly record: string
}

/** A snapshot of more changes, or bytes, does not go into the log: it begins an epoch, in pages that do not hold Redis up. */
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

/** Writes are done in the order of the calls. Each throws RedisUnavailableError, UnknownOutcomeError or CatalogReplyError: try again. */
export class CatalogWriter {
  readonly #options: CatalogWriterOptions
  readonly #keys: CatalogKeys
  readonly #link: RedisLink
  /** The newest version known to be in Redis. */
  #known: CatalogVersion | undefined
  /** Of the leader that made the last snapshot: a new one makes its own first. */
  #snapshotFence: number | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: CatalogWriterOptions) {
    this.#options = options
    this.#keys = catalogKeys(options.installation)
    this.#link = options.createLink('catalog writer', loadCatalogScripts)
  }

  put(policy: TenantPolicy): Promise<WriteOutcome> {
    return this.#enqueue(async (live, fence) => this.#change(live, fence, [this.#putChange(policy)]))
  }

  /** A tombstone. Without `tenantId` it is for whoever has the name; with it, a tenant recreated under the name stays. */
  remove({ key, tenantId = '' }: { key: string; tenantId?: string }): Promise<WriteOutcome> {
    return this.#enqueue(async (live, fence) =>
      this.#change(live, fence, [{ op: 'remove', key, body: tenantId, record: '' }]),
    )
  }

  /**
   * The complete list as of this call: whoever is neither in `policies` nor in `keep` is deleted. `keep` are tenants that exist and have no
   * policy that can be enforced at the moment: they go on with their last good revision, wherever it is still known.
   */
  snapshot(policies: Iterable<TenantPolicy>, keep: Iterable<TenantRef> = []): Promise<WriteOutcome> {
    const wanted = new Map([...policies].map((policy) => [tenantKey(policy), policy]))
    const kept = [...keep].filter(({ key }) => !wanted.has(key))
    return this.#enqueue(async (live, fence) => {
      const outcome = await this.#snapshot(live, fence, { desired: wanted, kept })
      if (outcome.kind === 'written' || outcome.kind === 'unchanged') this.#snapshotFence = fence
      return outcome
    })
  }

  /**
   * Tells the gateways that the catalog is as it should be, and finds out whether it is: `snapshotNeeded` when Redis lost or changed
   * something, also when gateways are further than Redis. For every few seconds; the age of the last one is what gateways show.
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

  /** Whose the catalog is; undefined: nobody's, or there is none. Throws as writes do. */
  async readOwner(): Promise<string | undefined> {
    return (await readCatalogState(await this.#openLink(), this.#keys)).owner
  }

  /** What gateways are told of the tenant. Undefined: nothing, or nothing that can be read here. Throws as writes do. */
  async readPolicy({ key, tenantId }: TenantRef): Promise<TenantPolicy | undefined> {
    const live = await this.#openLink()
    const [reply] = await live.run(live.client.pipeline().hget(this.#keys.tenants, key))
    if (reply instanceof Error) throw replyErrorOf(live, reply)
    if (typeof reply !== 'string') return undefined
    const decoded = decodeRecord(key, reply, this.#options.sealing)
    return decoded.kind === 'good' && decoded.policy.tenantId === tenantId ? decoded.policy : undefined
  }

  /** All that live, for `Programmed` and for usage in status. Throws as writes do. */
  async readGateways(options: { usage: boolean } = { usage: false }): Promise<LiveGateway[]> {
    return readGateways(await this.#openLink(), this.#keys, options)
  }

  #openLink(): Promise<LiveRedis> {
    return this.#link.ready(this.#options.waitMs ?? 5_000)
  }

  #enqueue<Result>(write: (live: LiveRedis, fence: number) => Promise<Result>): Promise<Result> {
    const result = this.#last.then(async () => {
      const live = await this.#openLink()
      // As late as can be: a term may end while Redis is waited for.
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
    return this.#commit(live, { fence, from: known, how: 'atLeast', changes })
  }

  async #commit(
    live: LiveRedis,
    commit: {
      readonly fence: number
      readonly from: CatalogVersion
      readonly how: 'atLeast' | 'exactly'
      /** Begins this one. Default: that of `from` goes on. */
      readonly epoch?: number
      readonly changes: readonly Change[]
    },
  ): Promise<WriteOutcome> {
    const { version, tenants, stamps, log, changes: topic } = this.#keys
    const { changes, fence, from, how, epoch = from.epoch } = commit
    const reply = await runScript(live, commitChanges, {
      keys: [version, tenants, stamps, log],
      args: [
        ...[fence, from.epoch, from.n, how, epoch],
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
    for (let tries = 0; tries < attemptsMax; tries += 1) {
      const state = await readCatalogState(live, this.#keys)
      if (state.fence > fence && !this.#isForeign(state)) return { kind: 'fenced' }
      const outcome = await this.#trySnapshot(live, fence, { complete, state })
      if (outcome) return outcome
    }
    throw new Error(`the catalog of "${this.#options.installation}" is written by somebody else all the time`)
  }

  /** Undefined: Redis is not as `state` says any more. */
  async #trySnapshot(
    live: LiveRedis,
    fence: number,
    { complete, state }: { complete: CompleteCatalog; state: CatalogState },
  ): Promise<WriteOutcome | undefined> {
    if (state.version && this.#isContinuation(state)) {
      const changes = this.#changesBetween(complete, state.stamps)
      const bytes = changes.reduce((sum, { record }) => sum + record.length, 0)
      if (changes.length <= changesMax && bytes <= bytesMax) {
        // A new leader cannot know what the last one wrote: had Redis been put back to an earlier moment, its first changes would get the
        // numbers of others that gateways have applied.
        const epoch = this.#snapshotFence === fence ? state.version.epoch : this.#nextEpoch(state)
        const commit = { fence, from: state.version, how: 'exactly', epoch, changes } as const
        const outcome = await this.#commit(live, commit)
        return outcome.kind === 'snapshotNeeded' ? undefined : outcome
      }
    }
    return this.#beginEpoch(live, fence, { complete, state })
  }

  /** Is what Redis holds the continuation of all that was ever seen of this catalog? */
  #isContinuation(state: CatalogState): boolean {
    const { applied, owner, sameMaster, version } = state
    if (!version || !sameMaster || isAhead(applied, version)) return false
    // An epoch says whose it is.
    if (this.#options.owner !== undefined && owner !== this.#options.owner) return false
    return !this.#known || compareVersions(version, this.#known) >= 0
  }

  /** Above everything that anybody can have seen: the clock may be behind, and Redis's memory of another time. */
  #nextEpoch({ applied, nowMs, version }: CatalogState): number {
    const before = [version, this.#known, applied].map((seen) => seen?.epoch ?? 0)
    return Math.max(nowMs, ...before.map((epoch) => epoch + 1))
  }

  #isForeign({ owner }: CatalogState): boolean {
    return this.#options.owner !== undefined && owner !== undefined && owner !== this.#options.owner
  }

  #changesBetween({ kept, desired: wanted }: CompleteCatalog, stamps: ReadonlyMap<string, Stamp>): Change[] {
    const changes: Change[] = []
    const keepable = new Map(kept.map(({ key, tenantId }) => [key, tenantId]))
    for (const [key, stamp] of stamps) {
      if (!wanted.has(key) && keepable.get(key) !== stamp.tenantId)
        changes.push({ op: 'remove', key, body: '', record: '' })
    }
    for (const [key, policy] of wanted) {
      const stamp = stamps.get(key)
      const body = stampBody(policy, this.#options.sealing)
      if (!stamp || stampBodyOf(stamp) !== body) changes.push(this.#putChange(policy))
    }
    return changes
  }

  /** Undefined: somebody else was faster, or Redis lost what was staged. */
  async #beginEpoch(
    live: LiveRedis,
    fence: number,
    { complete, state }: { complete: CompleteCatalog; state: CatalogState },
  ): Promise<WriteOutcome | undefined> {
    const { installation, log, owner = '', takesOver = '' } = this.#options
    const { version: seen } = state
    if (this.#isForeign(state) && state.owner !== takesOver) return refusalOutcome('foreign', state.owner ?? '')
    const epoch = this.#nextEpoch(state)
    const staging = new Staging(live, { installation, keys: this.#keys })
    await staging.putAll(mapLazily(complete.desired.values(), (policy) => this.#putChange(policy)))
    await staging.keepAll(complete.kept, state)
    // That took its time.
    if (this.#options.fence() !== fence) return { kind: 'fenced' }
    const { version, tenants, stamps, log: logKey, changes: topic } = this.#keys
    const reply = await runScript(live, beginEpoch, {
      keys: [version, tenants, stamps, logKey, staging.keys.tenants, staging.keys.stamps],
      args: [
        ...[fence, seen?.epoch ?? '', seen?.n ?? '', epoch],
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
      'published the complete catalog anew',
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

/** One after another, when it is asked for: thousands at once would hold up everything else. */
function* mapLazily<From, To>(items: Iterable<From>, map: (item: From) => To): Iterable<To> {
  for (const item of items) yield map(item)
}
