// The revocations that gateways share through Redis. Each gateway holds all of them and follows a log of
// changes. A gateway that was cut from Redis continues the log where it stopped, or reads everything again
// when the log does not reach back that far or another master has another one.
import { randomBytes } from 'node:crypto'
import { pause } from '../../deadline.js'
import { CommandError } from '../../errors.js'
import type { Log } from '../../log.js'
import { revocationKeys, tenantRevocationsKey, type RevocationKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { addScript, type Pipeline } from '../../redis/scripts.js'
import { revocationName, RevocationSet, type Revocation } from '../../tenant/revocations.js'
import type { Clock } from '../../time.js'
import {
  revocationsAllowed,
  tooManyRevocations,
  type RevocationListener,
  type RevocationPage,
  type RevocationStore,
} from '../store.js'
import { ReadWaiters } from './read-waiters.js'
import { parseEntry, timeText } from './entry.js'
import { isRedisUnavailable, runPipeline, runWrite } from './calls.js'
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

export class RedisRevocations implements RevocationStore {
  readonly #options: RedisRevocationsOptions
  readonly #keys: RevocationKeys
  readonly #link: RedisLink
  readonly #sets = new Map<string, RevocationSet>()
  readonly #listeners = new Map<string, RevocationListener>()
  readonly #reader: RevocationReader
  readonly #waiters = new ReadWaiters()
  /** Undefined until everything has been read once. */
  #position: LogPosition | undefined
  /** The connection on which the log was last read to its end. */
  #readOn: LiveRedis | undefined
  #pollNow = new AbortController()

  constructor(options: RedisRevocationsOptions) {
    this.#options = options
    this.#keys = revocationKeys(options.installation)
    this.#reader = new RevocationReader(this.#keys, options.log)
    this.#link = options.createLink('revocations', async (live) => {
      await loadRevocationScripts(live)
      live.client.on('message', () => this.#pollNow.abort())
      await live.client.subscribe(this.#keys.changes)
    })
    this.#link.onOpen(() => this.#pollNow.abort())
  }

  get size(): number {
    let size = 0
    for (const set of this.#sets.values()) size += set.size
    return size
  }

  /** Why no client can be admitted yet, for `/readyz`; empty once the revocations have been read. */
  unreadyReasons(): string[] {
    return this.#position ? [] : ['The revocations have not been read from Redis yet']
  }

  open(tenantId: string, listener: RevocationListener): RevocationSet {
    this.#listeners.set(tenantId, listener)
    return this.#setOf(tenantId)
  }

  close(tenantId: string): void {
    this.#listeners.delete(tenantId)
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
      this.#options.log.debug({ err: error }, 'the revocations could not be read; trying again')
    }
  }

  async add(tenantId: string, revocation: Revocation): Promise<void> {
    const max = revocationsAllowed(this.size)
    const [added, text] = await this.#write((pipeline) =>
      this.#addTo(pipeline, { tenantId, revocation, max }),
    )
    if (added !== 1) throw tooManyRevocations(Number(text), max)
    this.#apply(tenantId, [String(text)])
  }

  async remove(tenantId: string, name: string): Promise<boolean> {
    const { log, tenants, changes } = this.#keys
    const [removed] = await this.#write((pipeline) =>
      addScript(pipeline, removeRevocation, {
        keys: [log, tenants, tenantRevocationsKey(tenantId)],
        args: [nonce(), tenantId, name, logMax, changes],
      }),
    )
    this.#apply(tenantId, [name])
    return removed === 1
  }

  async list(tenantId: string, page: { after: string; limit: number }): Promise<RevocationPage> {
    const live = await this.#link.ready(1_000).catch(unavailable)
    return this.#reader.readPage(live, tenantId, page).catch(unavailable)
  }

  async #write(addCall: (pipeline: Pipeline) => void): Promise<unknown[]> {
    const live = await this.#link.ready(1_000).catch(unavailable)
    return runWrite(live, addCall, this.#options.waitReplicas())
  }

  #addTo(
    pipeline: Pipeline,
    { max, revocation, tenantId }: { tenantId: string; revocation: Revocation; max: number },
  ): void {
    const { changes, log, tenants } = this.#keys
    const { expiresAtMs, issuedBeforeMs } = revocation
    addScript(pipeline, addRevocation, {
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
      ],
    })
  }

  async #readAllChanges(live: LiveRedis): Promise<void> {
    for (;;) {
      const page = await this.#reader.readChanges(live, this.#position)
      if (page.kind === 'unknown') {
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
    // The log of a Redis that ever had a revocation is never empty, so this Redis has lost its data.
    if (newest.id === '' && this.size > 0) return this.#restore(live)
    const sets = await this.#reader.readAll(live)
    for (const tenantId of new Set([...this.#sets.keys(), ...sets.keys()])) {
      const read = sets.get(tenantId) ?? new RevocationSet()
      this.#setOf(tenantId).replaceBy(read)
      if (read.size > 0) this.#listeners.get(tenantId)?.revoked('all')
    }
    const first = this.#position === undefined
    this.#position = newest
    this.#options.log[first ? 'debug' : 'info']({ revocations: this.size }, 'read all revocations')
  }

  /** Writes the revocations that this gateway knows into a Redis that has lost them. */
  async #restore(live: LiveRedis): Promise<void> {
    const known = [...this.#sets].flatMap(([tenantId, set]) =>
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
    const set = this.#setOf(tenantId)
    const added: Revocation[] = []
    for (const text of entries) {
      const change = parseEntry(text)
      if (!change) this.#options.log.warn({ tenantId }, 'ignored a revocation of an unknown kind')
      else if (change.revocation) {
        set.put(change.revocation)
        added.push(change.revocation)
      } else set.remove(change.name)
    }
    if (added.length > 0) this.#listeners.get(tenantId)?.revoked(added)
  }

  /**
   * Forgets expired revocations, here and in Redis, and tenants that are neither served nor in Redis.
   * What Redis keeps because it does not answer is forgotten again later.
   */
  async sweep(): Promise<void> {
    const beforeMs = this.#options.clock.epochMs() - sweepDelayMs
    const live = this.#link.current
    for (const [tenantId, set] of this.#sets) {
      const names = set.removeExpired(beforeMs)
      const served = this.#listeners.has(tenantId)
      if (!live || (served && names.length === 0)) continue
      try {
        const left = await this.#removeExpired(live, tenantId, names)
        if (left === 0 && !this.#listeners.has(tenantId)) this.#sets.delete(tenantId)
      } catch (error) {
        if (!isRedisUnavailable(error)) throw error
      }
    }
  }

  /** Returns the number of revocations of the tenant that Redis keeps. */
  async #removeExpired(live: LiveRedis, tenantId: string, names: readonly string[]): Promise<unknown> {
    let left: unknown
    for (let start = 0; start === 0 || start < names.length; start += namesPerSweepCall) {
      const pipeline = live.client.pipeline()
      addScript(pipeline, removeExpired, {
        keys: [this.#keys.tenants, tenantRevocationsKey(tenantId)],
        args: [tenantId, ...names.slice(start, start + namesPerSweepCall)],
      })
      left = (await runPipeline(live, pipeline))[0]
    }
    return left
  }

  #setOf(tenantId: string): RevocationSet {
    const known = this.#sets.get(tenantId)
    if (known) return known
    const created = new RevocationSet()
    this.#sets.set(tenantId, created)
    return created
  }
}

function nonce(): string {
  return randomBytes(9).toString('base64url')
}

function unavailable(error: unknown): never {
  if (!isRedisUnavailable(error)) throw error
  throw new CommandError('BROKER_UNAVAILABLE', `Redis is not available: ${error.message}. Try again`, {
    retryAfterMs: 1_000,
    cause: error,
  })
}
