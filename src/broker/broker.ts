// The seam of this room: the interface of a broker, which carries publications between gateways and stores
// them, and its promises. This room (`src/broker/`) holds two implementations, memory.ts for a single process
// and redis/ for many gateways, and what they share. It imports the leaves; only redis/ imports src/redis.
// The rooms above import only this file and storage.ts. Start reading with `Broker` at the end;
// broker.contract.ts tests each promise on both implementations.

import type { BrokerStorage } from './storage.js'

/** Names a channel. Channels of two tenants are always different channels, whatever their names. */
export interface ChannelRef {
  readonly tenantId: string
  readonly channel: string
}

/**
 * A place in a channel's stream. Within one epoch offsets only grow; offsets of two epochs must not be
 * compared.
 */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

/**
 * Returns whether a position of epoch `from` is a position in the stream with epoch `to`. That is so when the
 * epochs are equal, and when a channel had the epoch `from` before its first publication, which was made in
 * the next window of time: see `epochWindowMs`. Epochs are compared with this function only.
 */
export function isSameStream(from: string, to: string): boolean {
  if (from === to) return true
  const [store, window = ''] = from.split('.')
  const [toStore, toWindow = ''] = to.split('.')
  return window !== '' && toWindow !== '' && store === toStore && Number(toWindow) - Number(window) === 1
}

/**
 * Offsets grow by one within a generation of the broker, and jump to the next multiple of this number with a
 * new generation.
 */
export const generationSize = 2 ** 32

/** Returns the first offset of the generation that an offset belongs to. */
export function generationStart(offset: number): number {
  return offset - (offset % generationSize)
}

/** The publisher of a publication, or a member of a channel. */
export interface ClientInfo {
  /** `guest:<id>` for a guest. Empty for a publication of the server API. */
  readonly user: string
  /** The connection's public name. Several connections may have the same name. */
  readonly client: string
  readonly name?: string | undefined
  /** JSON text from the token, shown to others byte for byte. */
  readonly info?: Uint8Array | undefined
}

/**
 * Labels that the publisher gives a publication, by name. Subscribers may filter by them. The map is never
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
  /** When the broker accepted the publication, in Unix milliseconds. */
  readonly timeMs: number
  /** The publisher, if it is known. */
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  /** The id of the session that does not receive the publication, because its publisher asked for no echo. */
  readonly skipSession?: string | undefined
}

/**
 * Where a publication is stored when it is acknowledged. `accepted`: on the master. `replicated`: on a
 * majority of the data nodes. `durable`: in the archive.
 */
export type Durability = 'accepted' | 'replicated' | 'durable'

/** A publication that the caller passes to `Broker.publish`. Its fields are those of `Publication`. */
export interface NewPublication {
  readonly data: Uint8Array
  readonly info?: ClientInfo | undefined
  readonly tags?: Tags | undefined
  readonly skipSession?: string | undefined
}

/** How a publication is stored and acknowledged. */
export interface PublishOptions {
  /**
   * Stores the publication for clients that read it later: at most `size` publications, each for at most
   * `ttlMs` milliseconds. Reads never return more, also when `BrokerStorage.govern` names a lower rule. What
   * they no longer return leaves the storage within 60 seconds; up to a tenth of `size` may stay longer, when
   * `size` is 10 or more. Default: the publication is not stored, and only the sessions that are subscribed
   * receive it.
   */
  readonly history?: { readonly size: number; readonly ttlMs: number } | undefined
  /**
   * A repeat of the key within 2 minutes on the same channel returns the first result and delivers nothing.
   * The caller includes the user in the key. Keys work with and without history. The same key with other data
   * or tags is refused with IDEMPOTENCY_MISMATCH.
   */
  readonly idempotencyKey?: string | undefined
  /**
   * The durability that the publish must reach. Default: the highest that the broker offers. The broker
   * refuses a durability that it does not offer with DURABILITY_UNAVAILABLE.
   */
  readonly durability?: Durability | undefined
}

/** The acknowledgement of a publish. */
export interface Published {
  /** Absent in a channel without history. */
  readonly position?: Position | undefined
  /** The durability that the publish has reached. */
  readonly durability: Durability
  /** True when the idempotency key was known: the first result is returned, and nothing was delivered. */
  readonly repeated: boolean
}

/** The most publications that one `history` call returns. */
export const historyLimitMax = 1000

/** Which publications of a stream `Broker.history` returns. */
export interface HistoryQuery {
  /**
   * The lower bound, exclusive. With an empty epoch only the offset counts. Default: no bound, so the page
   * begins with the oldest publication.
   */
  readonly since?: Position | undefined
  /**
   * The most publications that are returned, 0 to `historyLimitMax`; a larger number counts as the maximum.
   * With 0 the page contains only the top.
   */
  readonly limit: number
  /** True: the newest publication is the first, and `since` is the upper bound, exclusive. Default false. */
  readonly reverse?: boolean | undefined
}

/** One page of a stream. */
export interface HistoryPage {
  /**
   * The publications in the requested order. Offsets within an epoch are consecutive unless something was
   * trimmed.
   */
  readonly publications: readonly Publication[]
  /** The position of the newest publication, even when it is no longer kept. Offset 0: none was published. */
  readonly top: Position
  /**
   * Whether everything in the stream between `since` and `top` is still kept. False when `since` has another
   * epoch (the page is then empty, because offsets of two epochs must not be compared), when `since` is above
   * the top, when something after `since` was trimmed or has expired, and when the broker cannot prove
   * continuity. The publication at `since` itself may be gone. `limit` and `reverse` do not matter. True
   * without `since`.
   */
  readonly continuous: boolean
}

/** A client joined or left a channel. Delivered at most once, without offset and history. */
export interface Announcement {
  readonly kind: 'join' | 'leave'
  readonly info: ClientInfo
  /**
   * True when it is the user's first connection that joins the channel, or the last one that leaves it.
   * Endpoints that report users instead of connections announce only these.
   */
  readonly userEdge: boolean
  /**
   * Set in a large channel: it now has this many connections, and nobody is named. `info` is then one of
   * those who joined or left, which only gateways of an earlier version read.
   */
  readonly clients?: number | undefined
}

/**
 * Receives what the broker delivers to its gateway. The broker calls it in stream order for each channel, and
 * never twice for one offset. A method that throws is a bug.
 */
export interface BrokerListener {
  /** Called with each publication on a subscribed channel. */
  onPublication(ref: ChannelRef, publication: Publication): void
  /** Called with each join and leave on a subscribed channel. */
  onAnnouncement(ref: ChannelRef, announcement: Announcement): void
  /**
   * Called when publications on `ref` are missing and can no longer be read. Later publications continue from
   * `top`.
   */
  onContinuityLost(ref: ChannelRef, top: Position): void
}

/**
 * Carries publications. Its promises, each with a test in broker.contract.ts:
 * - `history` returns an acknowledged publication of a channel with history.
 * - A subscribed gateway receives every publication once and in order, or its listener is notified that
 *   continuity is lost.
 * - An offset is never used twice within an epoch.
 * - The publications of one gateway to one channel keep the order of the calls, even when the gateway does
 *   not wait for the acknowledgements.
 *
 * Methods reject with CommandError: IDEMPOTENCY_MISMATCH, DURABILITY_UNAVAILABLE, NOT_REPLICATED (the outcome
 * is not known), BROKER_UNAVAILABLE (nothing was done), and INTERNAL after `close`.
 */
export interface Broker {
  /** What the broker keeps of the tenants' histories, and how much that is. */
  readonly storage: BrokerStorage
  /** Sets the listener, once, before the first `subscribe`. A second call is a bug and throws. */
  listen(listener: BrokerListener): void
  /**
   * Resolves when every later publication on `ref` will reach the listener. A second call for a channel has
   * no effect.
   */
  subscribe(ref: ChannelRef): Promise<void>
  /**
   * Ends the subscription immediately, regardless of how often `subscribe` was called. Without a subscription
   * it has no effect.
   */
  unsubscribe(ref: ChannelRef): Promise<void>
  /** Publishes to a channel. Resolves when the publication has reached its durability. */
  publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Promise<Published>
  /**
   * Sends a join or leave to the subscribed gateways. Resolves before they receive it, and does not report
   * whether they do.
   */
  announce(ref: ChannelRef, announcement: Announcement): Promise<void>
  /** Reads one page of the channel's stream. A read of a channel without publications stores nothing. */
  history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage>
  /**
   * Returns the position that the listener has reached on a subscribed channel, provided that this position
   * survives every failover that loses no acknowledged publication. Everything after it will reach the
   * listener. The call asks no other process: it includes everything that this gateway has published, while
   * recent publications of other gateways may still follow. Returns undefined when the position is not known
   * locally; the caller then calls `history`.
   */
  confirmedPosition(ref: ChannelRef): Position | undefined
  /** Removes the publications of the channel. Its top offset and epoch stay. */
  removeHistory(ref: ChannelRef): Promise<void>
  /**
   * Settles all pending calls. The listener is not called after that. Later calls are refused with INTERNAL,
   * except that a second `close` does nothing.
   */
  close(): Promise<void>
}
