// The seam to who is here. An entry lives by being refreshed, so a gateway that died takes its people with it within 30 s.
import type { ChannelRef, ClientInfo } from '../broker/broker.js'

/** Entries expire this long after their last `add` or `refresh`. */
export const presenceTtlMs = 25_000

export interface PresenceStats {
  readonly clients: number
  readonly users: number
}

/**
 * Who is on a channel, across the cluster. Promises tested in presence.contract.ts. Users are told apart by `info.user`; where it is
 * empty, by `info.client`, and such a guest is never the user of that name.
 */
export interface Presence {
  /**
   * Adds or refreshes one session; the latest `info` counts. `userEdge`: the user was not there before this call. `clients`: sessions
   * after it. Session ids are unique; `info.client` need not be.
   */
  add(ref: ChannelRef, sessionId: string, info: ClientInfo): Promise<{ userEdge: boolean; clients: number }>
  /** `userEdge`: it was the user's last session there. Removing what is not there, or has expired, is no error, and no edge. */
  remove(ref: ChannelRef, sessionId: string): Promise<{ userEdge: boolean; clients: number }>
  /** Keeps entries alive; called for all sessions of a gateway at least every presenceTtlMs / 3. What has expired is added again, silently. */
  refresh(ref: ChannelRef, entries: ReadonlyMap<string, ClientInfo>): Promise<void>
  /** By session id, at most `limit`. */
  members(ref: ChannelRef, options: { limit: number }): Promise<ReadonlyMap<string, ClientInfo>>
  stats(ref: ChannelRef): Promise<PresenceStats>
  /** Lets go of connections. Entries stay until they are removed or expire: whoever closes removes its own first. */
  close(): Promise<void>
}
