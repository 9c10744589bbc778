// The presence of a single process, for `parley dev` and small installations. The presence on Redis passes
// the same contract tests.
import type { ChannelRef, ClientInfo } from '../broker/broker.js'
import type { Clock } from '../time.js'
import { presenceTtlMs, type Presence, type PresenceMembers, type PresenceStats } from './presence.js'

const sweepIntervalMs = 1000
const sweepChannelsMax = 1000

/**
 * Every call takes O(1) for each session that it names and for each expired entry that it drops. No timer
 * runs until `run` is called.
 */
export class MemoryPresence implements Presence {
  readonly #clock: Clock
  readonly #channels = new Map<string, ChannelPresence>()
  #sweepCursor = this.#channels.entries()

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock
  }

  async add(
    ref: ChannelRef,
    sessionId: string,
    info: ClientInfo,
  ): Promise<{ userEdge: boolean; clients: number }> {
    const channel = this.#openChannel(ref)
    const userEdge = channel.add(sessionId, info, this.#clock.monotonicMs())
    return { userEdge, clients: channel.clients }
  }

  async remove(ref: ChannelRef, sessionId: string): Promise<{ userEdge: boolean; clients: number }> {
    const channel = this.#find(ref)
    if (!channel) return { userEdge: false, clients: 0 }
    const userEdge = channel.remove(sessionId)
    if (channel.clients === 0) this.#channels.delete(keyOf(ref))
    return { userEdge, clients: channel.clients }
  }

  async refresh(ref: ChannelRef, entries: ReadonlyMap<string, ClientInfo>): Promise<void> {
    if (entries.size === 0) return
    const channel = this.#openChannel(ref)
    const nowMs = this.#clock.monotonicMs()
    for (const [sessionId, info] of entries) channel.add(sessionId, info, nowMs)
  }

  async members(ref: ChannelRef, options: { limit: number }): Promise<PresenceMembers> {
    const members = this.#find(ref)?.members(options.limit) ?? new Map<string, ClientInfo>()
    return { members, isCut: false }
  }

  async stats(ref: ChannelRef): Promise<PresenceStats> {
    const channel = this.#find(ref)
    return { clients: channel?.clients ?? 0, users: channel?.users ?? 0 }
  }

  /** Does nothing: the gateways of one process may share this object, and another may still be open. */
  async close(): Promise<void> {}

  /**
   * Returns the number of channels and the number of entries in memory. Expired entries count until they are
   * swept or their channel is read.
   */
  held(): { channels: number; clients: number } {
    let clients = 0
    for (const channel of this.#channels.values()) clients += channel.clients
    return { channels: this.#channels.size, clients }
  }

  /** Removes expired entries of at most 1,000 channels. The next call continues where this one stopped. */
  sweep(): void {
    const nowMs = this.#clock.monotonicMs()
    for (let swept = 0; swept < sweepChannelsMax; swept += 1) {
      const next = this.#sweepCursor.next()
      if (next.done) {
        this.#sweepCursor = this.#channels.entries()
        return
      }
      const [key, channel] = next.value
      channel.expire(nowMs)
      if (channel.clients === 0) this.#channels.delete(key)
    }
  }

  /** Sweeps every second until `signal` aborts. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => this.sweep(), sweepIntervalMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  #find(ref: ChannelRef): ChannelPresence | undefined {
    const channel = this.#channels.get(keyOf(ref))
    channel?.expire(this.#clock.monotonicMs())
    return channel
  }

  #openChannel(ref: ChannelRef): ChannelPresence {
    const current = this.#find(ref)
    if (current) return current
    const channel = new ChannelPresence()
    this.#channels.set(keyOf(ref), channel)
    return channel
  }
}

interface Entry {
  readonly info: ClientInfo
  readonly refreshedAtMs: number
}

/**
 * The presence of one channel. Entries are in the order in which they were last refreshed, so the first entry
 * expires first.
 */
class ChannelPresence {
  readonly #entries = new Map<string, Entry>()
  readonly #sessionsOfUser = new Map<string, number>()

  get clients(): number {
    return this.#entries.size
  }

  get users(): number {
    return this.#sessionsOfUser.size
  }

  /** Returns true when the user was not present before. */
  add(sessionId: string, info: ClientInfo, refreshedAtMs: number): boolean {
    const earlier = this.#entries.get(sessionId)
    const user = userOf(info)
    const sessions = this.#sessionsOfUser.get(user) ?? 0
    this.#sessionsOfUser.set(user, sessions + 1)
    // The old entry is removed after the new one is counted, so that a refresh is not reported as a user
    // edge.
    if (earlier) this.#drop(sessionId, earlier)
    this.#entries.set(sessionId, { info, refreshedAtMs })
    return sessions === 0
  }

  /** Returns true when this was the user's last session. */
  remove(sessionId: string): boolean {
    const entry = this.#entries.get(sessionId)
    return entry !== undefined && this.#drop(sessionId, entry)
  }

  expire(nowMs: number): void {
    for (const [sessionId, entry] of this.#entries) {
      if (nowMs - entry.refreshedAtMs < presenceTtlMs) return
      this.#drop(sessionId, entry)
    }
  }

  members(limit: number): Map<string, ClientInfo> {
    const members = new Map<string, ClientInfo>()
    for (const [sessionId, entry] of this.#entries) {
      if (members.size >= limit) break
      members.set(sessionId, entry.info)
    }
    return members
  }

  #drop(sessionId: string, entry: Entry): boolean {
    this.#entries.delete(sessionId)
    const user = userOf(entry.info)
    const sessions = (this.#sessionsOfUser.get(user) ?? 1) - 1
    if (sessions > 0) this.#sessionsOfUser.set(user, sessions)
    else this.#sessionsOfUser.delete(user)
    return sessions === 0
  }
}

/**
 * Returns the key of the user. A guest has no user name, so each client name identifies a separate guest. No
 * user name begins with `guest:`.
 */
function userOf(info: ClientInfo): string {
  return info.user === '' ? `guest:${info.client}` : info.user
}

/**
 * Returns the key of the channel. The length marks the end of the tenant id, so two channels never share a
 * key, whatever characters their names contain.
 */
function keyOf(ref: ChannelRef): string {
  return `${ref.tenantId.length}:${ref.tenantId}${ref.channel}`
}
