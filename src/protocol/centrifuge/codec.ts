// What the two writings of Centrifuge's protocol share: the same words, put on the wire by the one or the other.
import {
  announcementPush,
  deltaPush,
  errorFields,
  publicationPush,
  refreshedPush,
  replyFields,
  subscribedPush,
  unsubscribedPush,
  type WriteDelta,
} from './encode.js'
import type { Codec } from '../commands.js'
import type { Fields } from '../fields.js'

/** `write`: one reply or push as a payload of its own. */
export function centrifugeCodec(
  wire: Pick<Codec, 'name' | 'binary' | 'decode' | 'ping'> & {
    readonly write: (fields: Fields) => Uint8Array
    readonly writeDelta: WriteDelta
  },
): Codec {
  const { binary, decode, name, ping, write, writeDelta } = wire
  return {
    name,
    binary,
    decode,
    ping,
    // The protocol asks its clients for an answer of their own: a second one would only cost.
    nativePing: false,
    reply: (ref, reply) => [write(replyFields(ref, reply, writeDelta))],
    error: (ref, error) => write(errorFields(ref, error)),
    publication: (channel, publication, base) =>
      write(
        base === undefined
          ? publicationPush(channel, publication)
          : deltaPush(channel, publication, { base, writeDelta }),
      ),
    announcement: (channel, announcement) => write(announcementPush(channel, announcement)),
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
