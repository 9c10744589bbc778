// The broker's seam: the interface to whatever carries publications between gateways and stores them, and its
// promises. This room (`src/broker/`) holds two implementations, memory.ts for a single process and redis/
// for many gateways, and what they share. It imports the leaves; only redis/ imports src/redis. The rooms
// above import this file alone. Start reading with `Broker` at the end; broker.contract.ts tests each promise
// on both implementations.

/** Names a channel. Channels of two tenants are always different channels, whatever their names. */
export interface ChannelRef {
  readonly tenantId: string
  readonly channel: string
}

/** A place in a channel's stream. Offsets of two epochs never compare; within one epoch they only grow. */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

/** The publisher of a publication, or a member of a channel. */
export interface ClientInfo {
  /** Empty for a guest. */
  readonly user: string
  /** The connection's public name. Several connections may have the same. */
  readonly client: string
  readonly name?: string | undefined
  /** JSON text from the token, shown to others byte for byte. */
  readonly info?: Uint8Array | undefined
}

/**
 * What a publication is about, in the publisher's words. Subscribers may filter by tags. A map of tags is not
 * empty.
 */
export type Tags = ReadonlyMap<string, string>

/** Data delivered on a channel. */
export interface Publication {
  /** JSON text in UTF-8 without raw newlines. No part of the server parses it. */
  readonly data: Uint8Array
  /** 0 in a channel without history: the publication has no place in a stream. */
  readonly offset: number
  /** Empty in a channel without history. */
  readonly epoch: string
  /** When the broker accepted it, in Unix milliseconds. */
  readonly timeMs: number
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  /** The session that does not receive it, when the publisher asked for no echo. */
  readonly skipSession?: string | undefined
}

/**
 * What a publication has reached when it is acknowledged: the master; a majority of data nodes; the archive.
 */
export type Durability = 'accepted' | 'replicated' | 'durable'

export interface NewPublication {
  readonly data: Uint8Array
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  readonly skipSession?: string | undefined
}

export interface PublishOptions {
  /**
   * Stores the publication for clients that read it later: at most `size` publications, each for at most
   * `ttlMs` milliseconds. Default: it is delivered once, to the sessions that are subscribed, and not stored.
   */
  readonly history?: { readonly size: number; readonly ttlMs: number } | undefined
  /**
   * A repeat of the key within 2 minutes on the same channel returns the first result and delivers nothing.
   * The caller scopes the key by user. Works with and without history. The same key with other data or tags
   * is refused with IDEMPOTENCY_MISMATCH.
   */
  readonly idempotencyKey?: string | undefined
  /**
   * Default: the most that the broker offers. One that it does not offer is refused with
   * DURABILITY_UNAVAILABLE.
   */
  readonly durability?: Durability | undefined
}

export interface Published {
  /** Absent in a channel without history. */
  readonly position?: Position | undefined
  readonly durability: Durability
  /** The idempotency key was known: nothing was delivered this time. */
  readonly repeated: boolean
}

/** The most publications that one `history` call returns. */
export const historyLimitMax = 1000

export interface HistoryQuery {
  /**
   * The lower bound, exclusive. With an empty epoch only the offset counts. Default: the oldest publication
   * is the first.
   */
  readonly since?: Position | undefined
  /**
   * The most publications that are returned, 0 to `historyLimitMax`; a larger number counts as the maximum. 0
   * asks for the top alone.
   */
  readonly limit: number
  /** Newest first. `since` is then the upper bound, exclusive. Default false. */
  readonly reverse?: boolean | undefined
}

export interface HistoryPage {
  /** In the requested order. Offsets within an epoch are consecutive unless something was trimmed. */
  readonly publications: readonly Publication[]
  readonly top: Position
  /**
   * Whether everything in the stream between `since` and `top` is still kept. False when `since` has another
   * epoch (the page is then empty, since offsets of two epochs never compare), when it is above the top, or
   * when something after it was trimmed or has expired. `since` itself may be gone, if everything after it is
   * proven to be there; in doubt this is false. `limit` and `reverse` do not matter. True without `since`.
   */
  readonly continuous: boolean
}

/** A client joined or left a channel. Delivered at most once, without offset and history. */
export interface Announcement {
  readonly kind: 'join' | 'leave'
  readonly info: ClientInfo
  /**
   * It is the user's first connection on the channel, or the last one to leave. Endpoints that show users
   * alone report only these.
   */
  readonly userEdge: boolean
}

/**
 * What the broker calls in its one gateway: in stream order for each channel, never twice for one offset. It
 * must not throw.
 */
export interface BrokerListener {
  onPublication(ref: ChannelRef, publication: Publication): void
  onAnnouncement(ref: ChannelRef, announcement: Announcement): void
  /** Publications on `ref` are missing and cannot be read any more. What follows continues from `top`. */
  onContinuityLost(ref: ChannelRef, top: Position): void
}

/**
 * Carries publications. Its promises, each with a test in broker.contract.ts:
 * - `history` returns an acknowledged publication of a channel with history.
 * - A subscribed gateway receives every publication once and in order, or is told that continuity is lost.
 * - An offset is never used twice within an epoch.
 * - What one gateway publishes to one channel keeps the order of the calls, even when it does not wait for
 *   the
 *   acknowledgements.
 *
 * Methods reject with CommandError: IDEMPOTENCY_MISMATCH, DURABILITY_UNAVAILABLE, NOT_REPLICATED (the outcome
 * is not known), BROKER_UNAVAILABLE (nothing was done), and INTERNAL after `close`.
 */
export interface Broker {
  /** Sets the listener, once, before the first `subscribe`. A second call is a bug and throws. */
  listen(listener: BrokerListener): void
  /**
   * Resolves when every later publication on `ref` will reach the listener. A second call for a channel has
   * no effect.
   */
  subscribe(ref: ChannelRef): Promise<void>
  /**
   * Ends the subscription at once, however often `subscribe` was called. Without a subscription it has no
   * effect.
   */
  unsubscribe(ref: ChannelRef): Promise<void>
  publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Promise<Published>
  /**
   * Sends a join or leave to the subscribed gateways. Resolves before they receive it, and does not say
   * whether they do.
   */
  announce(ref: ChannelRef, announcement: Announcement): Promise<void>
  history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage>
  /**
   * The position that the listener has reached on a subscribed channel, when it survives any failover that
   * loses nothing acknowledged: everything after it will reach the listener. Asks no other process, so
   * publications that other gateways published a moment ago may still follow; those published here are
   * included. Undefined: only `history` can tell.
   */
  confirmedPosition(ref: ChannelRef): Position | undefined
  /** Removes the publications of the channel. Offset and epoch stay. */
  removeHistory(ref: ChannelRef): Promise<void>
  /**
   * Settles all calls and then calls the listener no more. Later calls are refused with INTERNAL; a second
   * `close` does nothing.
   */
  close(): Promise<void>
}
