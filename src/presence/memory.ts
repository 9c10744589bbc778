// Presence of a single process: `parley dev`, small installations, and the yardstick for the one on Redis.
import type { ChannelRef, ClientInfo } from '../broker/broker.js'
import type { Clock } from '../time.js'
import { presenceTtlMs, type Presence, type PresenceStats } from './presence.js'

const sweepIntervalMs = 1000
const sweepChannelsMax = 1000

/** Every call is O(1) per session it names, besides the expired entries that it drops on the way. Owns no timer: see `sweep` and `run`. */
export class MemoryPresence implements Presence {
  readonly #clock: Clock
  readonly #channels = new Map<string, Attendance>()
  #toSweep = this.#channels.entries()

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock
  }

  async add(
    ref: ChannelRef,
    sessionId: string,
    info: ClientInfo,
  ): Promise<{ userEdge: boolean; clients: number }> {
    const attendance = this.#attendance(ref)
    const userEdge = attendance.add(sessionId, info, this.#clock.monotonicMs())
    return { userEdge, clients: attendance.clients }
  }

  async remove(ref: ChannelRef, sessionId: string): Promise<{ userEdge: boolean; clients: number }> {
    const attendance = this.#current(ref)
    if (!attendance) return { userEdge: false, clients: 0 }
    const userEdge = attendance.remove(sessionId)
    if (attendance.clients === 0) this.#channels.delete(keyOf(ref))
    return { userEdge, clients: attendance.clients }
  }

  async refresh(ref: ChannelRef, entries: ReadonlyMap<string, ClientInfo>): Promise<void> {
    if (entries.size === 0) return
    const attendance = this.#attendance(ref)
    const nowMs = this.#clock.monotonicMs()
    for (const [sessionId, info] of entries) attendance.add(sessionId, info, nowMs)
  }

  async members(ref: ChannelRef, options: { limit: number }): Promise<ReadonlyMap<string, ClientInfo>> {
    return this.#current(ref)?.members(options.limit) ?? new Map<string, ClientInfo>()
  }

  async stats(ref: ChannelRef): Promise<PresenceStats> {
    const attendance = this.#current(ref)
    return { clients: attendance?.clients ?? 0, users: attendance?.users ?? 0 }
  }

  /** Nothing to let go of; the gateways of one process may share this, and another one may be open still. */
  async close(): Promise<void> {}

  /** Channels and entries held in memory; what has expired counts until it is swept or asked for. */
  held(): { channels: number; clients: number } {
    let clients = 0
    for (const attendance of this.#channels.values()) clients += attendance.clients
    return { channels: this.#channels.size, clients }
  }

  /** Frees what has expired, at most a thousand channels a call; the next call goes on where this one stopped. */
  sweep(): void {
    const nowMs = this.#clock.monotonicMs()
    for (let swept = 0; swept < sweepChannelsMax; swept += 1) {
      const next = this.#toSweep.next()
      if (next.done) {
        this.#toSweep = this.#channels.entries()
        return
      }
      const [key, attendance] = next.value
      attendance.expire(nowMs)
      if (attendance.clients === 0) this.#channels.delete(key)
    }
  }

  /** Sweeps by itself until `signal` ends it. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => this.sweep(), sweepIntervalMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  #current(ref: ChannelRef): Attendance | undefined {
    const attendance = this.#channels.get(keyOf(ref))
    attendance?.expire(this.#clock.monotonicMs())
    return attendance
  }

  #attendance(ref: ChannelRef): Attendance {
    const current = this.#current(ref)
    if (current) return current
    const attendance = new Attendance()
    this.#channels.set(keyOf(ref), attendance)
    return attendance
  }
}

interface Entry {
  readonly info: ClientInfo
  readonly seenAtMs: number
}

/** Who is on one channel. Entries stand in the order in which they were last seen, so the first is the first to expire. */
class Attendance {
  readonly #entries = new Map<string, Entry>()
  readonly #sessionsOfUser = new Map<string, number>()

  get clients(): number {
    return this.#entries.size
  }

  get users(): number {
    return this.#sessionsOfUser.size
  }

  /** True when the user was not there before. */
  add(sessionId: string, info: ClientInfo, seenAtMs: number): boolean {
    const earlier = this.#entries.get(sessionId)
    const user = userOf(info)
    const sessions = this.#sessionsOfUser.get(user) ?? 0
    this.#sessionsOfUser.set(user, sessions + 1)
    // Only after the new one is counted: a refresh must not look like the user's coming.
    if (earlier) this.#forget(sessionId, earlier)
    this.#entries.set(sessionId, { info, seenAtMs })
    return sessions === 0
  }

  /** True when the user is there no more. */
  remove(sessionId: string): boolean {
    const entry = this.#entries.get(sessionId)
    return entry !== undefined && this.#forget(sessionId, entry)
  }

  expire(nowMs: number): void {
    for (const [sessionId, entry] of this.#entries) {
      if (nowMs - entry.seenAtMs < presenceTtlMs) return
      this.#forget(sessionId, entry)
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

  #forget(sessionId: string, entry: Entry): boolean {
    this.#entries.delete(sessionId)
    const user = userOf(entry.info)
    const sessions = (this.#sessionsOfUser.get(user) ?? 1) - 1
    if (sessions > 0) this.#sessionsOfUser.set(user, sessions)
    else this.#sessionsOfUser.delete(user)
    return sessions === 0
  }
}

/** Guests have no user; each client name is one of their own. No user's name begins with `guest:`. */
function userOf(info: ClientInfo): string {
  return info.user === '' ? `guest:${info.client}` : info.user
}

/** The length says where the tenant ends, whatever characters the two names hold. */
function keyOf(ref: ChannelRef): string {
  return `${ref.tenantId.length}:${ref.tenantId}${ref.channel}`
}
