// The one model of what clients ask, what we answer and what we say unasked. Each door has a codec that turns its bytes into this and back.
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

/** Client asks. Channel names are as the client wrote them: the session parses them. */
export type Command =
  | ConnectCommand
  | SubscribeCommand
  | { readonly kind: 'unsubscribe'; readonly channel: string }
  | PublishCommand
  | { readonly kind: 'presence'; readonly channel: string }
  | { readonly kind: 'presenceStats'; readonly channel: string }
  | HistoryCommand
  | { readonly kind: 'refresh'; readonly token: string }
  | { readonly kind: 'subRefresh'; readonly channel: string; readonly token: string }
  | { readonly kind: 'rpc'; readonly method: string }
  | { readonly kind: 'send' }

export interface ConnectCommand {
  readonly kind: 'connect'
  /** Empty: none was sent. */
  readonly token: string
  /** Where the client stood on channels that its token subscribes it to, by channel. Absent: it comes for the first time. */
  readonly since?: ReadonlyMap<string, Position> | undefined
}

export interface SubscribeCommand {
  readonly kind: 'subscribe'
  readonly channel: string
  /** Subscription token; empty: none. */
  readonly token: string
  /** Where the client was. Absent: it starts now. An empty epoch matches any. */
  readonly since?: Position | undefined
  /** The client wants join and leave pushes, if the channel and its rights allow. */
  readonly joinLeave: boolean
  /** The client wants only publications that fit. Absent: all. */
  readonly filter?: TagsFilter | undefined
  /** The client can apply deltas to the publication before. Absent: no. */
  readonly delta?: boolean | undefined
  /** The client wants positions checked and recovery offered, if the channel has history. */
  readonly recoverable: boolean
  /** Answer UNRECOVERABLE_POSITION instead of a subscription that says `recovered: false`. */
  readonly gapIsError: boolean
}

export interface PublishCommand {
  readonly kind: 'publish'
  readonly channel: string
  /** JSON text without raw newlines. */
  readonly data: Uint8Array
  readonly idempotencyKey?: string | undefined
  /** False: the publishing session does not get its own. */
  readonly echo: boolean
}

export interface HistoryCommand {
  readonly kind: 'history'
  readonly channel: string
  /** 0: only the position. -1: as many as a client may have. */
  readonly limit: number
  readonly since?: Position | undefined
  readonly reverse: boolean
}

/** We answer. `kind` is the command's. */
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
  | { readonly kind: 'presence'; readonly channel: string; readonly members: ReadonlyMap<string, ClientInfo> }
  | {
      readonly kind: 'presenceStats'
      readonly channel: string
      readonly clients: number
      readonly users: number
    }
  | { readonly kind: 'history'; readonly channel: string; readonly page: HistoryPage }
  /** `expiresInS` absent: never. */
  | { readonly kind: 'refresh'; readonly client: string; readonly expiresInS?: number | undefined }
  | { readonly kind: 'subRefresh'; readonly channel: string; readonly expiresInS?: number | undefined }

export interface ConnectReply {
  readonly kind: 'connect'
  /** The connection's public name. */
  readonly client: string
  readonly user: string
  /** Seconds until the client should refresh its token. Absent: never. */
  readonly expiresInS?: number | undefined
  readonly pingIntervalS: number
  /** Subscriptions that the token made, without a command. */
  readonly subscriptions: readonly SubscribeReply[]
  readonly limits: ClientLimits
}

/** What the tenant's quota means for one connection. */
export interface ClientLimits {
  readonly messageBytes: number
  readonly publishPerSecond: number
  readonly subscriptions: number
  readonly commandsPerSecond: number
}

export interface SubscribeReply {
  readonly kind: 'subscribe'
  readonly channel: string
  /** The channel has history and the client asked for positions: absent otherwise. It is where the client stood when `recovered`, else the top. */
  readonly position?: Position | undefined
  /** Missed publications, oldest first. Empty unless recovered. */
  readonly publications: readonly Publication[]
  readonly wasRecovering: boolean
  readonly recovered: boolean
  /** Publications on this subscription may come as deltas to the one before, as the client asked. Absent: no. */
  readonly delta?: boolean | undefined
  /** JSON text from the tenant's backend. */
  readonly data?: Uint8Array | undefined
  /** Of a subscription token, seconds. */
  readonly expiresInS?: number | undefined
  /** Top of the stream after `publications`, for clients that want one number; absent as `position`. */
  readonly top?: Position | undefined
}

/** What a delta can build on. */
export type DeltaBase = Publication | 'none'

/** How a codec finds the answer's addressee again: the client's id and whatever else the door echoes. Opaque to the session. */
export type ReplyRef = unknown

/** What one frame said, in order. */
export type Received =
  | { readonly kind: 'command'; readonly command: Command; readonly ref: ReplyRef }
  | { readonly kind: 'pong' }
  /** Not understood, but the connection lives on. */
  | { readonly kind: 'refused'; readonly ref: ReplyRef; readonly error: CommandError }
  /** The protocol is broken; what came before it in the frame is answered first. Always the last. */
  | { readonly kind: 'violation'; readonly close: CloseCode }

/** One door's language: bytes to commands, replies and pushes to payloads. Stateless; one instance serves all sessions of a door. */
export interface Codec {
  readonly name: 'chat' | 'centrifuge-json' | 'centrifuge-protobuf'
  /** Payloads are bytes, in binary frames; else UTF-8 text, in text frames. */
  readonly binary: boolean
  /** Never throws: what cannot be read comes back as `refused` or `violation`. */
  decode(payload: Buffer): Received[]
  /** Payloads to send, in order; none when the client asked for no answer. */
  reply(ref: ReplyRef, reply: Reply): Uint8Array[]
  error(ref: ReplyRef, error: CommandError): Uint8Array
  /** `base`: the subscriber takes deltas and had this one last ('none': it has none to build on). Absent: it takes none. */
  publication(channel: string, publication: Publication, base?: DeltaBase): Uint8Array
  /** Undefined: this door does not tell of it. */
  announcement(channel: string, announcement: Announcement): Uint8Array | undefined
  /** The server subscribed the client, who did not ask; what it missed comes along. */
  subscribed(subscription: SubscribeReply): Uint8Array[]
  unsubscribed(channel: string, code: UnsubscribeCode): Uint8Array
  /** Other facts hold for the connection, for so long (absent: for ever). Undefined: this door does not tell of it. */
  refreshed(expiresInS: number | undefined): Uint8Array | undefined
  /** Something on the channel is missing. Undefined: this door has no such word, and the session ends the subscription with 2500 instead. */
  continuityLost(channel: string, top: Position): Uint8Array | undefined
  /** Advice before a drain. Undefined: this door has no such word. */
  reconnect(afterMs: number): Uint8Array | undefined
  readonly ping: Uint8Array
  /** WebSocket's own ping goes with it: libraries answer that, also for code that answers nothing. */
  readonly nativePing: boolean
}
