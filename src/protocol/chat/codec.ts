// The chat codec: the plain chat protocol of docs/chat-protocol.md, for clients that have a WebSocket and no
// SDK.
import { decodeChat } from './decode.js'
import {
  encodeAnnouncement,
  encodeContinuityLost,
  encodeError,
  encodePublication,
  encodeReconnect,
  encodeReply,
  encodeSubscribed,
  encodeUnsubscribed,
  ping,
} from './encode.js'
import type { Codec } from '../commands.js'

export const chatCodec: Codec = {
  name: 'chat',
  binary: false,
  decode: decodeChat,
  reply: encodeReply,
  error: encodeError,
  publication: encodePublication,
  announcement: encodeAnnouncement,
  subscribed: encodeSubscribed,
  unsubscribed: encodeUnsubscribed,
  refreshed: () => undefined,
  continuityLost: encodeContinuityLost,
  reconnect: encodeReconnect,
  ping,
  nativePing: true,
}
