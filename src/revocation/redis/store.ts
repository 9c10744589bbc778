// The revocations that gateways share through Redis. Each gateway holds all of them and follows a log of
// changes. A gateway that was cut from Redis continues the log where it stopped, or reads everything again
// when the log does not reach back that far or another master has another one.
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { pause } from '../../deadline.js'
import { LimitedLog, type Log } from '../../log.js'
import { revocationKeys, tenantRevocationsKey, type RevocationKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { addTextScript, isRedisUnavailable, runPipeline, runScript } from '../../redis/run-script.js'
import type { Pipeline } from '../../redis/scripts.js'
import { revocationName, revocationsMax, RevocationSet, type Revocation } from '../../tenant/revocations.js'
import type { Clock } from '../../time.js'
import { HeldRevocations, tooManyRevocations } from '../held.js'
import type { RevocationPage, RevocationStore } from '../store.js'
import { ReadWaiters } from './read-waiters.js'
import { parseEntry, timeText } from './entry.js'
import { runWrite, unavailable, type WriteReply } from './calls.js'
import { RevocationReader, type LogPosition } from './reader.js'
import { addRevocation, loadRevocationScripts, removeExpired, removeRevocation } from './scripts.js'

export interface RedisRevocationsOptions {
  /** Creates a link to the master of `revocationsTag`. The caller owns the link and keeps it open. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly installation: string
  /** Returns the number of replicas that must confirm a revocation; 0 for a Redis without replicas. */
  readonly waitReplicas: () => number
  readonly clock: Clock
  readonly log: Log
  /** The time between two polls, in milliseconds, when no notification arrives. Default 1,000. */
  readonly pollMs?: number
}

const logMax = 10_000
/** Several changes at once are one read, and one look at the sessions. */
const readIntervalMinMs = 50
const sweepIntervalMs = 60_000
/** Expired revocations stay this long, so that Redis, whose clock may be behind, has expired them too. */
const sweepDelayMs = 120_000
const namesPerSweepCall = 500
const entriesPerRestore = 500

/** A change of one revocation of a tenant. */
interface Write {
  readonly addCall: (pipeline: Pipeline) => void
  /** Returns the entry to apply on this gateway. */
  readonly entryOf: (reply: WriteReply) => string | undefined
}

interface Addition {
  readonly tenantId: string
  readonly revocation: Revocation
  /** The most revocations that the tenant may have. */
  readonly max: number
  /** `known`: only a revocation that Redis has is changed. */
  readonly only?: 'known'
}

export class RedisRevocations extends HeldRevocations implements RevocationStore {
  readonly #options: RedisRevocationsOptions
  readonly #keys: RevocationKeys
  readonly #link: RedisLink
  readonly #log: LimitedLog
  readonly #reader: RevocationReader
  readonly #waiters = new ReadWaiters()
  /** Undefined until everything has been read once. */
  #position: LogPosition | undefined
  /** The id of the store that was last read. */
  #storeId: string | undefined
  /** The connection on which the log was last read to its end. */
  #readOn: LiveRedis | undefined
  #pollNow = new AbortController()

  constructor(options: RedisRevocationsOptions) {
    super()
    this.#options = options
    this.#log = new LimitedLog(options.log, options.clock)
    this.#keys = revocationKeys(options.installation)
    this.#reader = new RevocationReader(this.#keys, this.#log)
    this.#link = options.createLink('revocations', async (live) => {
      await loadRevocationScripts(live)
      live.client.on('message', () => this.#pollNow.abort())
      await live.client.subscribe(this.#keys.changes)
    })
    this.#link.onOpen(() => this.#pollNow.abort())
  }

  /** Why no client can be admitted yet, for `/readyz`; empty once the revocations have been read. */
  unreadyReasons(): string[] {
    return this.#position ? [] : ['The revocations have not been read from Redis yet']
  }

  /**
   * While Redis is away, the revocations that were known before stay in force and nothing waits. After a new
   * connection, new clients wait until the log has been read.
   */
  current(): Promise<void> | undefined {
    const live = this.#link.current
    if (this.#position && (!live || live === this.#readOn)) return undefined
    return this.#waiters.wait()
  }

  /** Follows the changes until `signal` is aborted. Rejects only with a bug. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, pollMs = 1_000 } = this.#options
    let sweptMs = clock.monotonicMs()
    while (!signal.aborted) {
      // Set before reading, because a notification during the read may be about a later change.
      this.#pollNow = new AbortController()
      await this.refresh()
      if (clock.monotonicMs() - sweptMs >= sweepIntervalMs) {
        sweptMs = clock.monotonicMs()
        await this.sweep()
      }
      await pause(readIntervalMinMs, signal)
      await pause(pollMs, signal, this.#pollNow.signal)
    }
    this.#waiters.settle()
  }

  /** Reads all changes. It must not run twice at the same time: either `run` or a test calls it. */
  async refresh(): Promise<void> {
    const live = this.#link.current
    try {
      if (live) await this.#readAllChanges(live)
      // Without a connection the known revocations are in force.
      if (this.#position) this.#waiters.settle()
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      this.#log.warn(
        'unreadable',
        { err: error },
        'the revocations could not be read from Redis; those known before stay in force until it succeeds',
      )
    }
  }

  async add(tenantId: string, revocation: Revocation): Promise<void> {
    const max = this.allowed()
    const { done, text } = await this.#write(tenantId, {
      addCall: (pipeline) => this.#addTo(pipeline, { tenantId, revocation, max }),
      entryOf: (reply) => (reply.done ? reply.text : undefined),
    })
    if (!done) throw tooManyRevocations(Number(text), max)
  }

  async prolong(tenantId: string, revocation: Revocation): Promise<void> {
    await this.#write(tenantId, {
      addCall: (pipeline) =>
        this.#addTo(pipeline, { tenantId, revocation, max: revocationsMax, only: 'known' }),
      entryOf: (reply) => (reply.done ? reply.text : revocationName(revocation)),
    })
  }

  async remove(tenantId: string, name: string): Promise<boolean> {
    const { changes, log, tenants } = this.#keys
    const { done } = await this.#write(tenantId, {
      addCall: (pipeline) =>
        addTextScript(pipeline, removeRevocation, {
          keys: [log, tenants, tenantRevocationsKey(tenantId)],
          args: [nonce(), tenantId, name, logMax, changes],
        }),
      entryOf: () => name,
    })
    return done
  }

  async list(tenantId: string, page: { after: string; limit: number }): Promise<RevocationPage> {
    const live = await this.#link.ready(1_000).catch(unavailable)
    return this.#reader.readPage(live, tenantId, page).catch(unavailable)
  }

  /**
   * Writes a change and applies it here. While the write waited for replicas, the log may have been read past
   * it: then the change has been applied, perhaps with later ones of others, which it must not undo. A
   * position that was reached before the write began is older than the write.
   */
  async #write(tenantId: string, { addCall, entryOf }: Write): Promise<WriteReply> {
    const live = await this.#link.ready(1_000).catch(unavailable)
    const before = this.#position
    const reply = await runWrite(live, addCall, this.#options.waitReplicas())
    const entry = entryOf(reply)
    const isRead = this.#position !== before && !isBefore(this.#position, reply.newestId)
    if (entry !== undefined && !isRead) this.#apply(tenantId, [entry])
    return reply
  }

  #addTo(pipeline: Pipeline, { max, only, revocation, tenantId }: Addition): void {
    const { changes, log, tenants } = this.#keys
    const { expiresAtMs, issuedBeforeMs } = revocation
    addTextScript(pipeline, addRevocation, {
      keys: [log, tenants, tenantRevocationsKey(tenantId)],
      args: [
        nonce(),
        tenantId,
        revocationName(revocation),
        timeText(expiresAtMs),
        timeText(issuedBeforeMs),
        max,
        logMax,
        changes,
        only ?? '',
      ],
    })
  }

  async #readAllChanges(live: LiveRedis): Promise<void> {
    for (;;) {
      const page = await this.#reader.readChanges(live, this.#position)
      if (page.kind === 'unknown') {
        // New clients wait: changes that are made while everything is read follow with the log.
        this.#readOn = undefined
        await this.#readAll(live, page.newest)
        continue
      }
      for (const [tenantId, entries] of page.changes) this.#apply(tenantId, entries)
      this.#position = page.reached
      if (page.changes.size === 0) break
    }
    this.#readOn = live
  }

  /** Reads all revocations. Changes since `newest` follow in the log. */
  async #readAll(live: LiveRedis, newest: LogPosition): Promise<void> {
    const storeId = await this.#reader.readStoreId(live)
    const isOther = this.#storeId !== undefined && this.#storeId !== storeId
    // The log of a Redis that ever had a revocation is never empty, so this Redis has lost its data. With
    // another id it has too, and another gateway wrote to it before this one could restore.
    const isLost = (newest.id === '' || isOther) && this.size > 0
    if (isLost) await this.#restore(live)
    this.#storeId = storeId
    if (isLost) return
    const sets = await this.#reader.readAll(live)
    for (const tenantId of new Set([...this.sets.keys(), ...sets.keys()])) {
      const read = sets.get(tenantId) ?? new RevocationSet()
      this.setOf(tenantId).replaceBy(read)
      if (read.size > 0) this.listeners.get(tenantId)?.revoked('all')
    }
    const first = this.#position === undefined
    this.#position = newest
    this.#options.log[first ? 'debug' : 'info']({ revocations: this.size }, 'read all revocations')
  }

  /** Writes the revocations that this gateway knows into a Redis that has lost them. */
  async #restore(live: LiveRedis): Promise<void> {
    const known = [...this.sets].flatMap(([tenantId, set]) =>
      Array.from(set, (revocation) => ({ tenantId, revocation, max: Infinity })),
    )
    this.#options.log.warn(
      { revocations: known.length },
      'Redis has lost its revocations; writing those that this gateway knows',
    )
    for (let start = 0; start < known.length; start += entriesPerRestore) {
      const pipeline = live.client.pipeline()
      for (const one of known.slice(start, start + entriesPerRestore)) this.#addTo(pipeline, one)
      await runPipeline(live, pipeline)
    }
  }

  /** Applies changed entries of a tenant, and then tells its listener of the new revocations. */
  #apply(tenantId: string, entries: readonly string[]): void {
    const set = this.setOf(tenantId)
    const added: Revocation[] = []
    for (const text of entries) {
      const change = parseEntry(text)
      if (!change) this.#log.warn('unknown kind', { tenantId }, 'ignored a revocation of an unknown kind')
      else if (change.revocation) {
        set.put(change.revocation)
        added.push(change.revocation)
      } else set.remove(change.name)
    }
    if (added.length > 0) this.listeners.get(tenantId)?.revoked(added)
  }

  /**
   * Forgets expired revocations, in Redis and then here, and tenants that are neither served nor in Redis.
   * While Redis does not answer, both keep them: what Redis kept alone would count against the tenant.
   */
  async sweep(): Promise<void> {
    const beforeMs = this.#options.clock.epochMs() - sweepDelayMs
    const live = this.#link.current
    if (!live) return
    for (const [tenantId, set] of this.sets) {
      const names = set.expiredNames(beforeMs)
      if (names.length === 0 && this.listeners.has(tenantId)) continue
      try {
        const left = await this.#removeExpired(live, tenantId, names)
        set.removeExpired(beforeMs)
        if (left === 0 && !this.listeners.has(tenantId)) this.sets.delete(tenantId)
      } catch (error) {
        if (!isRedisUnavailable(error)) throw error
      }
    }
  }

  /** Returns the number of revocations of the tenant that Redis keeps. */
  async #removeExpired(live: LiveRedis, tenantId: string, names: readonly string[]): Promise<number> {
    let left = 0
    for (let start = 0; start === 0 || start < names.length; start += namesPerSweepCall) {
      left = await runScript(live, removeExpired, {
        keys: [this.#keys.tenants, tenantRevocationsKey(tenantId)],
        args: [tenantId, ...names.slice(start, start + namesPerSweepCall)],
        reply: z.number(),
      })
    }
    return left
  }
}

function nonce(): string {
  return randomBytes(9).toString('base64url')
}

/** Returns whether the position precedes the change with this id, `<ms>-<sequence number>`. */
function isBefore(position: LogPosition | undefined, id: string): boolean {
  const [ms = 0, sequence = 0] = (position?.id ?? '').split('-').map(Number)
  const [otherMs = 0, otherSequence = 0] = id.split('-').map(Number)
  return ms < otherMs || (ms === otherMs && sequence < otherSequence)
}
