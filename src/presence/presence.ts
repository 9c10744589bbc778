// The seam of this room: which sessions and users are subscribed to a channel, across the cluster. Entries
// must be refreshed; the entries of a killed gateway expire within 30 s.
//
// `memory.ts` is the presence of a single process, `redis/presence.ts` the one that gateways share through
// Redis; both keep the promises of `presence.contract.ts`. The room imports the leaves of `src/` and the seam
// of the broker; its folder `redis/` also imports the room redis. Start reading here, then in `memory.ts`.
import type { ChannelRef, ClientInfo } from '../broker/broker.js'

/** Entries expire this many milliseconds after their last `add` or `refresh`. */
export const presenceTtlMs = 25_000

/** The size of a channel. */
export interface PresenceStats {
  /** The number of sessions. */
  readonly clients: number
  /** The number of different users of these sessions. */
  readonly users: number
}

/** Some sessions of a channel, by session id. */
export interface PresenceMembers {
  readonly members: ReadonlyMap<string, ClientInfo>
  /** Sessions were left out because of `bytesMax`. */
  readonly isCut: boolean
}

/**
 * The presence of channels across the cluster. presence.contract.ts tests its promises. `info.user`
 * identifies the user. When it is empty, `info.client` identifies a guest. A guest is never the same as the
 * user of that name. Calls reject with the CommandError BROKER_UNAVAILABLE while the backend is unavailable;
 * the outcome is then unknown.
 */
export interface Presence {
  /**
   * Adds or refreshes one session; the latest `info` replaces an earlier one. `userEdge`: whether the user
   * was not present before this call. `clients`: the number of sessions after this call. Session ids are
   * unique; `info.client` need not be.
   */
  add(ref: ChannelRef, sessionId: string, info: ClientInfo): Promise<{ userEdge: boolean; clients: number }>
  /**
   * Removes one session. `userEdge`: whether it was the user's last session on the channel. `clients`: the
   * number of sessions after this call. Removing a missing or expired session is no error; `userEdge` is then
   * false.
   */
  remove(ref: ChannelRef, sessionId: string): Promise<{ userEdge: boolean; clients: number }>
  /**
   * Extends the time to live of entries, and adds missing or expired ones again without reporting an edge.
   * Each gateway calls it for all its sessions at least every `presenceTtlMs` / 3 milliseconds.
   */
  refresh(ref: ChannelRef, entries: ReadonlyMap<string, ClientInfo>): Promise<void>
  /**
   * Resolves with at most `limit` sessions. The presence on Redis reads at most `bytesMax` bytes of them.
   * Default: no bound.
   */
  members(ref: ChannelRef, options: { limit: number; bytesMax?: number }): Promise<PresenceMembers>
  /** Resolves with the numbers of sessions and users of the channel. */
  stats(ref: ChannelRef): Promise<PresenceStats>
  /**
   * Releases connections. Entries stay until they are removed or expire, so the caller removes its own
   * entries first.
   */
  close(): Promise<void>
}
