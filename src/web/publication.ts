// Converts what the SDK delivers into messages. The data comes from other programs and can have any shape.
import { Centrifuge, type ClientInfo, type PublicationContext } from 'centrifuge'
import { isJsonObject, messageText, textOrEmpty } from './json.js'
import type { ReceivedMessage, Author } from './message-log.js'

/** The user and the connections of this page. */
export interface OwnIdentity {
  /** The user id that publications of this page carry. Undefined for a guest before the first connect. */
  readonly user: string | undefined
  /** The client ids of all connections that this page has had. Each reconnect gets a new id. */
  readonly clients: ReadonlySet<string>
}

export function authorOf(info: ClientInfo | undefined, self: OwnIdentity): Author {
  const user = info?.user ?? ''
  const isOwn = info !== undefined && (self.clients.has(info.client) || (user !== '' && user === self.user))
  return { user, name: nameIn(info?.connInfo) || displayNameOf(user), isOwn }
}

/** Returns the author of messages that are written on this page. */
export function ownAuthor({ user }: OwnIdentity): Author {
  return { user: user ?? '', name: user === undefined ? 'you' : displayNameOf(user), isOwn: true }
}

export function receivedMessageOf(
  publication: PublicationContext,
  context: { self: OwnIdentity; epoch: string },
): ReceivedMessage {
  const { info, offset } = publication
  return {
    author: authorOf(info, context.self),
    text: messageText(publication.data),
    timeMs: timeOf(publication),
    position: offset === undefined ? undefined : { epoch: context.epoch, offset },
    isFromThisPage: info !== undefined && context.self.clients.has(info.client),
  }
}

/**
 * Returns the name in `connInfo`, the `info` claim of the token. By convention it is an object with a `name`.
 */
function nameIn(connInfo: unknown): string {
  return isJsonObject(connInfo) ? textOrEmpty(connInfo['name']) : ''
}

/** Returns the display name of a user of whom only the id is known. */
export function displayNameOf(user: string): string {
  if (user === '') return 'the server'
  return user.startsWith('guest:') ? `guest ${user.slice('guest:'.length, 'guest:'.length + 4)}` : user
}

const timeTag = 'parley-time'

/** Returns when the broker stored the publication, in Unix milliseconds. */
function timeOf(publication: PublicationContext): number | undefined {
  const timeMs = Number(publication.tags?.[timeTag])
  return timeMs > 0 ? timeMs : undefined
}

/**
 * The SDK client, extended by the time of each publication. Parley sends the `time` field of the protocol,
 * but centrifuge 5.8.0 does not pass it to its handlers. It does pass tags, so the codec, which subclasses
 * can replace, copies the time into a tag.
 */
export class TimedCentrifuge extends Centrifuge {
  constructor(...parameters: ConstructorParameters<typeof Centrifuge>) {
    super(...parameters)
    // oxlint-disable-next-line no-underscore-dangle -- protected and named so by the SDK.
    const codec: { decodeReplies(frame: string): unknown[] } = this._codec
    const decode = codec.decodeReplies.bind(codec)
    codec.decodeReplies = (frame) => {
      const replies = decode(frame)
      for (const publication of replies.flatMap(publicationsIn)) tagWithTime(publication)
      return replies
    }
  }
}

/**
 * Returns the publications of a reply: a push, a page of history, or the reply to a subscription with
 * recovery.
 */
function publicationsIn(reply: unknown): unknown[] {
  const at = (value: unknown, key: string): unknown => (isJsonObject(value) ? value[key] : undefined)
  const lists = [at(at(reply, 'history'), 'publications'), at(at(reply, 'subscribe'), 'publications')]
  return [at(at(reply, 'push'), 'pub'), ...lists.flatMap((list) => (Array.isArray(list) ? list : []))]
}

function tagWithTime(publication: unknown): void {
  if (!isJsonObject(publication) || typeof publication['time'] !== 'number') return
  const tags = isJsonObject(publication['tags']) ? publication['tags'] : {}
  Object.assign(publication, { tags: { ...tags, [timeTag]: String(publication['time']) } })
}
