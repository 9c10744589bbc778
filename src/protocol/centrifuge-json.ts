// The door for Centrifuge's official clients: protocol v2 as JSON.
import { decodeCentrifuge } from './centrifuge-decode.js'
import {
  encodeAnnouncement,
  encodeError,
  encodePublication,
  encodeReply,
  encodeUnsubscribed,
} from './centrifuge-encode.js'
import type { Codec } from './commands.js'

export const centrifugeJson: Codec = {
  name: 'centrifuge-json',
  decode: decodeCentrifuge,
  reply: (ref, reply) => [encodeReply(ref, reply)],
  error: encodeError,
  publication: encodePublication,
  announcement: encodeAnnouncement,
  unsubscribed: encodeUnsubscribed,
  continuityLost: () => undefined,
  reconnect: () => undefined,
  ping: Buffer.from('{}'),
}
