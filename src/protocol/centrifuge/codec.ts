// Builds the codecs of Centrifuge's protocol: JSON and protobuf share the messages and differ only in their
// encoding.
import {
  announcementPush,
  deltaPush,
  errorReplyFields,
  publicationPush,
  refreshedPush,
  replyFields,
  subscribedPush,
  unsubscribedPush,
  type WriteDelta,
} from './encode.js'
import type { Codec } from '../commands.js'
import type { MessageFields } from '../message-fields.js'

/** Creates a codec from an encoding. `write` encodes one reply or push as one payload. */
export function centrifugeCodec(
  wire: Pick<Codec, 'name' | 'binary' | 'decode' | 'ping'> & {
    readonly write: (fields: MessageFields) => Uint8Array
    readonly writeDelta: WriteDelta
  },
): Codec {
  const { binary, decode, name, ping, write, writeDelta } = wire
  return {
    name,
    binary,
    decode,
    ping,
    // The protocol has its own ping and pong; a second ping would only cost traffic.
    nativePing: false,
    reply: (ref, reply) => [write(replyFields(ref, reply, writeDelta))],
    error: (ref, error) => write(errorReplyFields(ref, error)),
    publication: (channel, publication, base) =>
      write(
        base === undefined
          ? publicationPush(channel, publication)
          : deltaPush(channel, publication, { base, writeDelta }),
      ),
    // The protocol has no push for the number of members: its clients ask for `presence_stats`.
    announcement: (channel, announcement) =>
      announcement.clients === undefined ? write(announcementPush(channel, announcement)) : undefined,
    subscribed: (subscription) => [
      write(subscribedPush(subscription)),
      ...subscription.publications.map((missed) => write(publicationPush(subscription.channel, missed))),
    ],
    unsubscribed: (channel, code) => write(unsubscribedPush(channel, code)),
    refreshed: (expiresInS) => write(refreshedPush(expiresInS)),
    continuityLost: () => undefined,
    reconnect: () => undefined,
  }
}
