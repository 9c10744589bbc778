// Presence of many gateways, in Redis. Entries end by Redis's clock alone: gateways' clocks are never compared. (After a failover it is
// the new master's: its host keeps the time as the old one's did, or entries end as much sooner or later, until they are refreshed.)
import { z } from 'zod'
import type { ChannelRef, ClientInfo } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { channelTopic, partitionOf, presenceKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { PerShard } from '../../redis/routing/per-shard.js'
import { Router } from '../../redis/routing/shard-router.js'
import { loadScripts } from '../../redis/scripts.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import { systemAfter, type Clock } from '../../time.js'
import { presenceTtlMs, type Presence, type PresenceStats } from '../presence.js'
import { PresenceLane, unavailable, type CallJob, type PresenceCall } from './worker.js'
import {
  addPresence,
  countPresence,
  membersPerReadMax,
  presenceScripts,
  readMembers,
  refreshPresence,
  removePresence,
  sessionsPerRefreshMax,
} from './scripts.js'

export interface RedisPresenceOptions {
  readonly shards: ShardMap
  /** Made and kept open by the caller until the shard is retired, or after `close()`. `role` names it in logs. */
  readonly createLink: (role: string, prepare: Prepare, shard: Shard) => RedisLink
  readonly clock: Clock
  /** The same on all gateways. Default `presenceTtlMs`. */
  readonly ttlMs?: number
  /** How long a call waits for a connection. Default 2,000. */
  readonly waitMs?: number
  /** For Redis to answer a pipeline; then the connection is thrown away. Default 2,000. */
  readonly replyMs?: number
  /** Calls that may wait their turn; more are refused. Default 50,000. */
  readonly callsMax?: number
}

async function loadPresenceScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, presenceScripts)
}

const Edge = z
  .tuple([z.number(), z.number()])
  .transform(([edge, clients]) => ({ userEdge: edge === 1, clients }))
const Stats = z.tuple([z.number(), z.number()]).transform(([clients, users]) => ({ clients, users }))
const Members = z.array(z.instanceof(Buffer))
const UserKey = z.union([z.string(), z.tuple([z.string()])])
const Shown = z.object({ c: z.string().optional(), n: z.string().optional(), i: z.string().optional() })

/**
 * Each call but `refresh` is one script of O(log n), sent together with others of the same turn; scripts and pipelines are bounded (see
 * redis-scripts.ts and redis-lane.ts). When Redis is away every call rejects with BROKER_UNAVAILABLE: after `waitMs` at first, then at once.
 * Entries that a failover or a restart lost come back with the next refresh. `members` gives at most 1000.
 */
export class RedisPresence implements Presence {
  readonly #clock: Clock
  readonly #router: Router<CallJob>
  readonly #lanes: PerShard<PresenceLane>
  readonly #ttlMs: number
  #underWay = 0
  #idle: (() => void) | undefined
  #closed = false

  constructor(options: RedisPresenceOptions) {
    const { callsMax = 50_000, clock, createLink, replyMs = 2_000, shards, waitMs = 2_000 } = options
    this.#clock = clock
    this.#ttlMs = options.ttlMs ?? presenceTtlMs
    this.#router = new Router<CallJob>({
      shards,
      clock,
      after: systemAfter,
      laneOf: (shard) => this.#lanes.of(shard),
      patienceMs: waitMs,
      waitingMax: callsMax,
    })
    this.#lanes = new PerShard(
      shards,
      (shard) =>
        new PresenceLane({
          link: createLink('presence', loadPresenceScripts, shard),
          clock,
          retired: shard.retired,
          report: this.#router,
          waitMs,
          replyMs,
          callsMax,
        }),
    )
  }

  add(ref: ChannelRef, sessionId: string, info: ClientInfo): Promise<{ userEdge: boolean; clients: number }> {
    return this.#call(ref, {
      script: addPresence,
      keys: keysOf(ref),
      args: () => [this.#ttlMs, sessionId, encodeRecord(info)],
      sessions: 1,
      read: (reply) => Edge.parse(reply),
    })
  }

  remove(ref: ChannelRef, sessionId: string): Promise<{ userEdge: boolean; clients: number }> {
    return this.#call(ref, {
      script: removePresence,
      keys: keysOf(ref),
      args: () => [sessionId],
      sessions: 1,
      read: (reply) => Edge.parse(reply),
    })
  }

  /** All its scripts take their place in the queue at once: what is removed after this call stays removed. */
  async refresh(ref: ChannelRef, entries: ReadonlyMap<string, ClientInfo>): Promise<void> {
    const all = [...entries]
    const keys = keysOf(ref)
    const scripts: Promise<void>[] = []
    for (let start = 0; start < all.length; start += sessionsPerRefreshMax) {
      const some = all.slice(start, start + sessionsPerRefreshMax)
      scripts.push(
        this.#call(ref, {
          script: refreshPresence,
          keys,
          args: () => [this.#ttlMs, ...some.flatMap(([sessionId, info]) => [sessionId, encodeRecord(info)])],
          sessions: some.length,
          read: () => undefined,
        }),
      )
    }
    await Promise.all(scripts)
  }

  async members(ref: ChannelRef, options: { limit: number }): Promise<ReadonlyMap<string, ClientInfo>> {
    const limit = Math.min(options.limit, membersPerReadMax)
    if (limit <= 0) return new Map()
    const { records, sessions } = presenceKeys(ref)
    return this.#call(ref, {
      script: readMembers,
      keys: [sessions, records],
      args: () => [limit],
      sessions: limit,
      read: decodeMembers,
    })
  }

  stats(ref: ChannelRef): Promise<PresenceStats> {
    const { sessions, users } = presenceKeys(ref)
    return this.#call(ref, {
      script: countPresence,
      keys: [sessions, users],
      args: () => [],
      sessions: 1,
      read: (reply) => Stats.parse(reply),
    })
  }

  /** Resolves when all that was asked for is done or refused: within a wait and a reply. Nothing more is taken. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    this.#router.close()
    this.#lanes.close()
  }

  #call<Result>(ref: ChannelRef, call: PresenceCall<Result>): Promise<Result> {
    if (this.#closed)
      return Promise.reject(new CommandError('INTERNAL', 'Presence is closed: this gateway is shutting down'))
    return new Promise<Result>((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.#end()
        reject(error)
      }
      this.#underWay += 1
      this.#router.send({
        partition: partitionOf(ref),
        key: channelTopic(ref),
        sinceMs: this.#clock.monotonicMs(),
        call,
        take: (reply) => {
          const result = call.read(reply)
          this.#end()
          resolve(result)
        },
        fail,
        refuse: (trouble) => fail(unavailable(trouble)),
      })
    })
  }

  #end(): void {
    this.#underWay -= 1
    if (this.#underWay === 0) this.#idle?.()
  }
}

function keysOf(ref: ChannelRef): readonly string[] {
  const { order, records, sessions, users } = presenceKeys(ref)
  return [sessions, records, order, users]
}

/** The user's key, then the rest. A guest's key is a list, so that it is never a user's, whatever the two are called. */
function encodeRecord({ client, info, name, user }: ClientInfo): string {
  const shown: z.infer<typeof Shown> = {
    ...(user !== '' && { c: client }),
    ...(name !== undefined && { n: name }),
    ...(info && { i: Buffer.from(info).toString() }),
  }
  return `${JSON.stringify(user === '' ? [client] : user)}\n${JSON.stringify(shown)}`
}

/** Throws on what no gateway of ours wrote. */
function decodeRecord(record: string): ClientInfo {
  const at = record.indexOf('\n')
  const key = UserKey.parse(JSON.parse(record.slice(0, at)))
  const { c = '', i, n } = Shown.parse(JSON.parse(record.slice(at + 1)))
  const who = typeof key === 'string' ? { user: key, client: c } : { user: '', client: key[0] }
  return { ...who, name: n, info: i === undefined ? undefined : Buffer.from(i) }
}

function decodeMembers(reply: unknown): Map<string, ClientInfo> {
  const flat = Members.parse(reply)
  const members = new Map<string, ClientInfo>()
  for (let index = 0; index + 1 < flat.length; index += 2)
    members.set(String(flat[index]), decodeRecord(String(flat[index + 1])))
  return members
}
