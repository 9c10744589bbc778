// The seam to whatever carries publications between gateways and remembers them. Promises here, implementations beside.

/** Names a stream: channels of two tenants never meet, whatever they are called. */
export interface ChannelRef {
  readonly tenantId: string
  readonly channel: string
}

/** A place in a channel's stream. Offsets of two epochs never compare; within one they only grow. */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

/** Who published, or who is present. `info` is JSON text from the token, shown to others byte for byte. */
export interface ClientInfo {
  readonly user: string
  /** The connection's public name; several connections may bear one. */
  readonly client: string
  readonly name?: string | undefined
  readonly info?: Uint8Array | undefined
}

/** What a publication is about, in the publisher's words: subscribers may filter by it. Not empty. */
export type Tags = ReadonlyMap<string, string>

/** Data delivered on a channel. `data` is JSON text in UTF-8 without raw newlines; nobody on the way parses it. */
export interface Publication {
  readonly data: Uint8Array
  /** 0 in a channel without history: it has no place in any stream. */
  readonly offset: number
  /** Empty in a channel without history. */
  readonly epoch: string
  /** When the broker took it, Unix milliseconds. */
  readonly timeMs: number
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  /** Session that must not get it back, when the publisher asked for no echo. */
  readonly skipSession?: string | undefined
}

/** What was reached before the acknowledgement: on the master; on a majority of data nodes; in the archive. */
export type Durability = 'accepted' | 'replicated' | 'durable'

export interface NewPublication {
  readonly data: Uint8Array
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  readonly skipSession?: string | undefined
}

export interface PublishOptions {
  /** Kept for late comers: at most `size` publications, each at most `ttlMs` old. Absent: delivered once, to who is there. */
  readonly history?: { readonly size: number; readonly ttlMs: number } | undefined
  /**
   * A repeat within 2 minutes on the same channel gives the first result and is delivered once. The caller scopes it by user.
   * Works with and without history. The same key with other data or tags is refused with IDEMPOTENCY_MISMATCH.
   */
  readonly idempotencyKey?: string | undefined
  readonly durability?: Durability | undefined
}

export interface Published {
  /** Absent in a channel without history. */
  readonly position?: Position | undefined
  readonly durability: Durability
  /** True when an idempotency key was met again: nothing was delivered this time. */
  readonly repeated: boolean
}

export interface HistoryQuery {
  /** Exclusive. Without an epoch (empty string) only the offset counts. */
  readonly since?: Position | undefined
  /** 0 asks for the top alone; at most 1000 are given. */
  readonly limit: number
  /** Newest first, and `since` is then the upper, exclusive bound. */
  readonly reverse?: boolean | undefined
}

export interface HistoryPage {
  /** In the order asked for; consecutive offsets within an epoch unless something was trimmed. */
  readonly publications: readonly Publication[]
  readonly top: Position
  /**
   * Is all of the stream between `since` and `top` still kept? False when `since` is of another epoch (then no publications come with
   * it, for offsets of two epochs never compare), above the top, or when something after it was trimmed or has expired. That `since`
   * itself is gone does not matter where all after it is proven to be there; in doubt it is false. `limit` and `reverse` do not matter.
   * True when no `since` was given.
   */
  readonly continuous: boolean
}

/** Comings and goings on a channel: at most once, no offset, no history. */
export interface Announcement {
  readonly kind: 'join' | 'leave'
  readonly info: ClientInfo
  /** The user's first connection to come, or last to go; doors that speak of users alone tell only of these. */
  readonly userEdge: boolean
}

/** What the broker tells its one gateway. Called in stream order per channel, never twice for one offset; must not throw. */
export interface BrokerListener {
  onPublication(ref: ChannelRef, publication: Publication): void
  onAnnouncement(ref: ChannelRef, announcement: Announcement): void
  /** Something on `ref` is missing and cannot be filled; what follows continues from `top`. */
  onContinuityLost(ref: ChannelRef, top: Position): void
}

/**
 * Carries publications. Promises, each with a test in broker.contract.ts:
 * an acknowledged publication in a channel with history is found by `history`; a subscribed gateway gets every publication once and in
 * order, or is told that continuity is lost; an offset is never used twice within an epoch; what one gateway publishes to one channel
 * keeps the order of its calls, also when it does not wait for the acknowledgements.
 * Refusals are CommandErrors: IDEMPOTENCY_MISMATCH, DURABILITY_UNAVAILABLE, NOT_REPLICATED, INTERNAL.
 */
export interface Broker {
  /** One listener for the broker's life, set before the first subscribe. */
  listen(listener: BrokerListener): void
  /** Resolves when every later publication on `ref` will reach the listener. Again for the same channel: no effect. */
  subscribe(ref: ChannelRef): Promise<void>
  /** Ends it at once, however often subscribe() was called. Without a subscription: no effect. */
  unsubscribe(ref: ChannelRef): Promise<void>
  publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Promise<Published>
  announce(ref: ChannelRef, announcement: Announcement): Promise<void>
  history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage>
  /**
   * Where the listener stands, when that survives any failover that loses nothing acknowledged: all that follows will reach it. Asks nobody,
   * so that what others published a moment ago may still be to come; what was published here is not. Undefined: only `history` can tell.
   */
  standing(ref: ChannelRef): Position | undefined
  /** Forgets the publications; offset and epoch stay. */
  removeHistory(ref: ChannelRef): Promise<void>
  /** Settles what is under way and calls the listener no more. Later calls are refused with INTERNAL; close() again does nothing. */
  close(): Promise<void>
}

export const historyLimitMax = 1000
export const idempotencyWindowMs = 120_000
/** An idle stream keeps its epoch and last offset at least this long, so that a returning client is answered with certainty. */
export const streamIdleTtlMs = 30 * 24 * 3_600_000
