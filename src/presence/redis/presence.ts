// The presence that gateways share through Redis. Entries expire by the clock of Redis only; the clocks of
// gateways are never compared. After a failover the clock of the new master applies. If it differs from that
// of the old master, entries expire earlier or later by the difference until they are refreshed.
import { z } from 'zod'
import type { ChannelRef, ClientInfo } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { channelTopic, partitionOf, presenceKeys } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import { ShardRouter } from '../../redis/routing/shard-router.js'
import { loadScripts } from '../../redis/scripts.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import { systemAfter, type Clock } from '../../time.js'
import { presenceTtlMs, type Presence, type PresenceMembers, type PresenceStats } from '../presence.js'
import { PresenceWorker, presenceUnavailable, type PresenceCall, type PresenceJob } from './worker.js'
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
  /**
   * Creates a link, which the caller keeps open until the shard is retired or `close()` has resolved. `role`
   * names the link in logs.
   */
  readonly createLink: (role: string, prepare: Prepare, shard: Shard) => RedisLink
  readonly clock: Clock
  /**
   * The time to live of entries in milliseconds. It must be the same on all gateways. Default
   * `presenceTtlMs`.
   */
  readonly ttlMs?: number
  /** How long a call waits for a connection, in milliseconds. Default 2,000. */
  readonly waitMs?: number
  /**
   * The deadline for the replies of a pipeline, in milliseconds. After it the connection is discarded.
   * Default 2,000.
   */
  readonly replyMs?: number
  /** The most calls that wait. Further calls are rejected. Default 50,000. */
  readonly callsMax?: number
}

async function loadPresenceScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, presenceScripts)
}

const EdgeReply = z
  .tuple([z.number(), z.number()])
  .transform(([edge, clients]) => ({ userEdge: edge === 1, clients }))
const StatsReply = z.tuple([z.number(), z.number()]).transform(([clients, users]) => ({ clients, users }))
const MembersReply = z.tuple([z.number()]).rest(z.instanceof(Buffer))
const UserKey = z.union([z.string(), z.tuple([z.string()])])
const MemberInfo = z.object({ c: z.string().optional(), n: z.string().optional(), i: z.string().optional() })

/**
 * Each call except `refresh` is one script of O(log n), which is sent together with other calls of the same
 * turn of the event loop. scripts.ts and worker.ts limit the size of scripts and pipelines. While Redis is
 * unavailable every call rejects with BROKER_UNAVAILABLE, the first one after `waitMs` and the following ones
 * immediately. The next refresh restores entries that were lost in a failover or a restart. `members` returns
 * at most 1,000 sessions.
 */
export class RedisPresence implements Presence {
  readonly #clock: Clock
  readonly #router: ShardRouter<PresenceJob>
  readonly #ttlMs: number
  /** The number of calls that have not settled. */
  #pending = 0
  #idle: (() => void) | undefined
  #closed = false

  constructor(options: RedisPresenceOptions) {
    const { callsMax = 50_000, clock, createLink, replyMs = 2_000, shards, waitMs = 2_000 } = options
    this.#clock = clock
    this.#ttlMs = options.ttlMs ?? presenceTtlMs
    this.#router = new ShardRouter<PresenceJob>({
      shards,
      clock,
      after: systemAfter,
      createWorker: (shard, report) =>
        new PresenceWorker({
          link: createLink('presence', loadPresenceScripts, shard),
          clock,
          retired: shard.retired,
          report,
          waitMs,
          replyMs,
          queueMax: callsMax,
        }),
      patienceMs: waitMs,
      waitingMax: callsMax,
    })
  }

  add(ref: ChannelRef, sessionId: string, info: ClientInfo): Promise<{ userEdge: boolean; clients: number }> {
    return this.#call(ref, {
      script: addPresence,
      keys: keysOf(ref),
      args: () => [this.#ttlMs, sessionId, encodeRecord(info)],
      sessions: 1,
      read: (reply) => EdgeReply.parse(reply),
    })
  }

  remove(ref: ChannelRef, sessionId: string): Promise<{ userEdge: boolean; clients: number }> {
    return this.#call(ref, {
      script: removePresence,
      keys: keysOf(ref),
      args: () => [sessionId],
      sessions: 1,
      read: (reply) => EdgeReply.parse(reply),
    })
  }

  /** Queues all scripts synchronously, so that an entry removed after this call stays removed. */
  async refresh(ref: ChannelRef, entries: ReadonlyMap<string, ClientInfo>): Promise<void> {
    const all = [...entries]
    const keys = keysOf(ref)
    const scripts: Promise<void>[] = []
    for (let start = 0; start < all.length; start += sessionsPerRefreshMax) {
      const part = all.slice(start, start + sessionsPerRefreshMax)
      scripts.push(
        this.#call(ref, {
          script: refreshPresence,
          keys,
          args: () => [this.#ttlMs, ...part.flatMap(([sessionId, info]) => [sessionId, encodeRecord(info)])],
          sessions: part.length,
          read: () => undefined,
        }),
      )
    }
    await Promise.all(scripts)
  }

  async members(ref: ChannelRef, options: { limit: number; bytesMax?: number }): Promise<PresenceMembers> {
    const limit = Math.min(options.limit, membersPerReadMax)
    if (limit <= 0) return { members: new Map(), isCut: false }
    const { bytesMax = Number.MAX_SAFE_INTEGER } = options
    const { records, sessions } = presenceKeys(ref)
    return this.#call(ref, {
      script: readMembers,
      keys: [sessions, records],
      args: () => [limit, bytesMax],
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
      read: (reply) => StatsReply.parse(reply),
    })
  }

  /**
   * Rejects new calls with INTERNAL. Resolves when all earlier calls have settled, at most `waitMs` +
   * `replyMs` later.
   */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#pending > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    this.#router.close()
  }

  #call<Result>(ref: ChannelRef, call: PresenceCall<Result>): Promise<Result> {
    if (this.#closed)
      return Promise.reject(new CommandError('INTERNAL', 'Presence is closed: this gateway is shutting down'))
    return new Promise<Result>((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.#end()
        reject(error)
      }
      this.#pending += 1
      this.#router.send({
        partition: partitionOf(ref),
        key: channelTopic(ref),
        sinceMs: this.#clock.monotonicMs(),
        call,
        complete: (reply) => {
          const result = call.read(reply)
          this.#end()
          resolve(result)
        },
        reject: fail,
        refuse: (reason) => fail(presenceUnavailable(reason)),
      })
    })
  }

  #end(): void {
    this.#pending -= 1
    if (this.#pending === 0) this.#idle?.()
  }
}

function keysOf(ref: ChannelRef): readonly string[] {
  const { order, records, sessions, users } = presenceKeys(ref)
  return [sessions, records, order, users]
}

/**
 * Encodes a member: the key of the user, a newline, and the other fields. The key of a guest is a JSON list,
 * so that it never equals the key of a user, whatever the names are.
 */
function encodeRecord({ client, info, name, user }: ClientInfo): string {
  const memberInfo: z.infer<typeof MemberInfo> = {
    ...(user !== '' && { c: client }),
    ...(name !== undefined && { n: name }),
    ...(info && { i: Buffer.from(info).toString() }),
  }
  return `${JSON.stringify(user === '' ? [client] : user)}\n${JSON.stringify(memberInfo)}`
}

/** Decodes a member. Throws when the record is malformed. */
function decodeRecord(record: string): ClientInfo {
  const at = record.indexOf('\n')
  const key = UserKey.parse(JSON.parse(record.slice(0, at)))
  const { c = '', i, n } = MemberInfo.parse(JSON.parse(record.slice(at + 1)))
  const identity = typeof key === 'string' ? { user: key, client: c } : { user: '', client: key[0] }
  return { ...identity, name: n, info: i === undefined ? undefined : Buffer.from(i) }
}

function decodeMembers(reply: unknown): PresenceMembers {
  const [isCut, ...flat] = MembersReply.parse(reply)
  const members = new Map<string, ClientInfo>()
  for (let index = 0; index + 1 < flat.length; index += 2)
    members.set(String(flat[index]), decodeRecord(String(flat[index + 1])))
  return { members, isCut: isCut === 1 }
}
