// The protocol room: translates the wire protocols of clients to and from one model of commands, replies and
// pushes.
//
// Each wire protocol has a folder: chat/ is the plain chat protocol of docs/chat-protocol.md, centrifuge/ is
// Centrifuge's protocol v2 in JSON and protobuf. A codec turns bytes into the types of this file and back;
// the session handles only these types and does not know the wire protocol. The room may import resources,
// broker and tenant (for their types) and the leaves; it knows nothing of sessions, sockets or Redis. Start
// here with `Codec` and `Command`, then read chat/codec.ts and centrifuge/codec.ts.
import type {
  Announcement,
  ClientInfo,
  Durability,
  HistoryPage,
  Position,
  Publication,
} from '../broker/broker.js'
import type { CommandError } from '../errors.js'
import type { CloseCode, UnsubscribeCode } from './codes.js'
import type { TagsFilter } from './tags-filter.js'

/** A request of the client. Channel names are as the client wrote them; the session parses them. */
export type Command =
  | ConnectCommand
  | SubscribeCommand
  /** Ends a subscription of this connection. */
  | { readonly kind: 'unsubscribe'; readonly channel: string }
  | PublishCommand
  /** Lists the connections on a channel. */
  | { readonly kind: 'presence'; readonly channel: string }
  /** Counts the connections and users on a channel. */
  | { readonly kind: 'presenceStats'; readonly channel: string }
  | HistoryCommand
  /** Replaces the connection token. An empty token closes the session. */
  | { readonly kind: 'refresh'; readonly token: string }
  /** Replaces the token of one subscription. An empty token is refused. */
  | { readonly kind: 'subRefresh'; readonly channel: string; readonly token: string }
  /** Calls a procedure. Parley has none and refuses the command with NOT_AVAILABLE. */
  | { readonly kind: 'rpc'; readonly method: string }
  /** A message without a reply. Parley does not support it and closes the session with 3508. */
  | { readonly kind: 'send' }

export interface ConnectCommand {
  readonly kind: 'connect'
  /** The token of a user or of a guest; empty when the client sent none. */
  readonly token: string
  /**
   * Last positions of the client on the channels that its token subscribes it to, by channel name. Absent
   * when there is nothing to recover.
   */
  readonly since?: ReadonlyMap<string, Position> | undefined
}

export interface SubscribeCommand {
  readonly kind: 'subscribe'
  readonly channel: string
  /** Subscription token; empty when the client sent none. */
  readonly token: string
  /**
   * The position to recover from. Absent: the subscription starts with new publications. An empty epoch
   * matches any epoch.
   */
  readonly since?: Position | undefined
  /** The client wants join and leave pushes, if the channel and the client's rights allow them. */
  readonly joinLeave: boolean
  /** The client wants only publications that match. Absent: all publications. */
  readonly filter?: TagsFilter | undefined
  /** The client can apply deltas to the previous publication. Absent: it cannot. */
  readonly delta?: boolean | undefined
  /** The client wants positions checked and recovery offered, if the channel has history. */
  readonly recoverable: boolean
  /**
   * Refuse with UNRECOVERABLE_POSITION when the missed publications are incomplete, instead of replying
   * `recovered: false`.
   */
  readonly gapIsError: boolean
}

export interface PublishCommand {
  readonly kind: 'publish'
  readonly channel: string
  /** JSON text without unescaped line breaks. */
  readonly data: Uint8Array
  readonly idempotencyKey?: string | undefined
  /** False: the publishing session does not receive its own publication. */
  readonly echo: boolean
}

export interface HistoryCommand {
  readonly kind: 'history'
  readonly channel: string
  /**
   * Largest number of publications to return. 0 asks for the position only, -1 for as many as a client may
   * receive.
   */
  readonly limit: number
  /** Exclusive. Absent: from the start of the history, or from its end when `reverse` is true. */
  readonly since?: Position | undefined
  /** True: newest first. */
  readonly reverse: boolean
}

/** The reply to a command that succeeded. `kind` is that of the command. */
export type Reply =
  | ConnectReply
  | SubscribeReply
  | { readonly kind: 'unsubscribe'; readonly channel: string }
  | {
      readonly kind: 'publish'
      readonly channel: string
      readonly position?: Position | undefined
      readonly durability: Durability
    }
  | {
      readonly kind: 'presence'
      readonly channel: string
      readonly members: ReadonlyMap<string, ClientInfo>
      /** There are more members than one reply may hold. Default: false. */
      readonly truncated?: boolean | undefined
    }
  | {
      readonly kind: 'presenceStats'
      readonly channel: string
      readonly clients: number
      readonly users: number
    }
  | { readonly kind: 'history'; readonly channel: string; readonly page: HistoryPage }
  // In these two replies, `expiresInS` is in seconds, and absent when the token never expires.
  | { readonly kind: 'refresh'; readonly client: string; readonly expiresInS?: number | undefined }
  | { readonly kind: 'subRefresh'; readonly channel: string; readonly expiresInS?: number | undefined }

export interface ConnectReply {
  readonly kind: 'connect'
  /** Public id of the connection. */
  readonly client: string
  readonly user: string
  /** The token with which a guest comes back as the same guest. Absent for a user. */
  readonly guestToken?: string | undefined
  /** Seconds until the client should refresh its token. Absent when the token never expires. */
  readonly expiresInS?: number | undefined
  /** Seconds between pings of the server; 0 when it sends none. */
  readonly pingIntervalS: number
  /** The server-side subscriptions that the token grants. */
  readonly subscriptions: readonly SubscribeReply[]
  readonly limits: ClientLimits
}

/** The limits of the tenant's quota that a client receives when it connects. */
export interface ClientLimits {
  /** The largest data of one publication. */
  readonly messageBytes: number
  /** Publications per second of the whole tenant. */
  readonly publishPerSecond: number
  /** Simultaneous subscriptions of this connection. */
  readonly subscriptions: number
  /** Commands per second of this connection. */
  readonly commandsPerSecond: number
}

export interface SubscribeReply {
  readonly kind: 'subscribe'
  readonly channel: string
  /**
   * The client's old position when `recovered`, else the top of the stream. Absent unless the channel has
   * history and the client asked for positions.
   */
  readonly position?: Position | undefined
  /** Missed publications, oldest first. Empty unless `recovered`. */
  readonly publications: readonly Publication[]
  /** The client asked to recover. */
  readonly wasRecovering: boolean
  /** `publications` holds everything that the client missed. */
  readonly recovered: boolean
  /**
   * Publications on this subscription may be sent as deltas to the previous one, as the client asked. Absent:
   * they may not.
   */
  readonly delta?: boolean | undefined
  /** JSON text that the tenant's backend attached to the subscription. */
  readonly data?: Uint8Array | undefined
  /** Seconds until the subscription token expires. Absent when it never expires. */
  readonly expiresInS?: number | undefined
  /**
   * Top of the stream after `publications`, for clients that need one position only. Absent when `position`
   * is absent.
   */
  readonly top?: Position | undefined
}

/** The publication that a delta is based on; 'none' when the subscriber has no previous publication. */
export type DeltaBase = Publication | 'none'

/**
 * The codec's reference to a command: its id, and whatever else the reply must repeat. Opaque to the session.
 */
export type ReplyRef = unknown

/** One item of a decoded frame. */
export type DecodedItem =
  | { readonly kind: 'command'; readonly command: Command; readonly ref: ReplyRef }
  | { readonly kind: 'pong' }
  /** A command that cannot be decoded. The connection stays open. */
  | { readonly kind: 'refused'; readonly ref: ReplyRef; readonly error: CommandError }
  /** The frame breaks the protocol. The items before it are handled first; it is always the last item. */
  | { readonly kind: 'violation'; readonly close: CloseCode }

/**
 * Translates between the bytes of one protocol and the model. A payload is the content of one WebSocket
 * frame. A codec is stateless; one instance serves all sessions.
 */
export interface Codec {
  readonly name: 'chat' | 'centrifuge-json' | 'centrifuge-protobuf'
  /** True: payloads are sent in binary frames. False: payloads are UTF-8 text and are sent in text frames. */
  readonly binary: boolean
  /**
   * Decodes one payload into its items, in order. Never throws: what cannot be read becomes `refused` or
   * `violation`.
   */
  decode(payload: Buffer): DecodedItem[]
  /** Encodes a reply as payloads, in order. Empty when the client asked for no reply. */
  reply(ref: ReplyRef, reply: Reply): Uint8Array[]
  /** Encodes the refusal of a command. */
  error(ref: ReplyRef, error: CommandError): Uint8Array
  /**
   * Encodes a publication. `base` is given only for subscribers that accept deltas: the last publication that
   * they received, or 'none'.
   */
  publication(channel: string, publication: Publication, base?: DeltaBase): Uint8Array
  /** Encodes a join or leave. Undefined when the protocol does not report this one. */
  announcement(channel: string, announcement: Announcement): Uint8Array | undefined
  /**
   * Encodes a subscription that the server made without a command, together with the publications that the
   * client missed.
   */
  subscribed(subscription: SubscribeReply): Uint8Array[]
  /** Encodes the end of a subscription by the server. */
  unsubscribed(channel: string, code: UnsubscribeCode): Uint8Array
  /**
   * Encodes the renewal of the connection by the server; `expiresInS` is undefined when it never expires.
   * Returns undefined when the protocol has no such push.
   */
  refreshed(expiresInS: number | undefined): Uint8Array | undefined
  /**
   * Encodes that publications on the channel were lost and that the subscription continues from `top`.
   * Returns undefined when the protocol has no such push; the session then ends the subscription with 2500.
   */
  continuityLost(channel: string, top: Position): Uint8Array | undefined
  /**
   * Encodes the advice to reconnect within `afterMs`, sent before a drain. Returns undefined when the
   * protocol has no such push.
   */
  reconnect(afterMs: number): Uint8Array | undefined
  /** The ping of the protocol, to which clients reply. */
  readonly ping: Uint8Array
  /**
   * True: a WebSocket ping is sent together with `ping`. Client libraries answer it even when the application
   * does not.
   */
  readonly nativePing: boolean
}
