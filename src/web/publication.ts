// Reads what the SDK hands over. What stands in it was written by other people's programs.
import { Centrifuge, type ClientInfo, type PublicationContext } from 'centrifuge'
import { isJsonObject, messageText, textOf } from './json.js'
import type { Arrival, Author } from './message-log.js'

/** Which of the many are we? */
export interface Self {
  /** As it stands on our messages. Undefined for guests until they are connected. */
  readonly user: string | undefined
  /** Every connection that this page has had: each reconnect has another name. */
  readonly clients: ReadonlySet<string>
}

export function authorOf(info: ClientInfo | undefined, self: Self): Author {
  const user = info?.user ?? ''
  const own = info !== undefined && (self.clients.has(info.client) || (user !== '' && user === self.user))
  return { user, name: nameIn(info?.connInfo) || displayNameOf(user), own }
}

/** The author of what is written here. */
export function me({ user }: Self): Author {
  return { user: user ?? '', name: user === undefined ? 'you' : displayNameOf(user), own: true }
}

export function arrivalOf(publication: PublicationContext, context: { self: Self; epoch: string }): Arrival {
  const { info, offset } = publication
  return {
    author: authorOf(info, context.self),
    text: messageText(publication.data),
    timeMs: timeOf(publication),
    place: offset === undefined ? undefined : { epoch: context.epoch, offset },
    fromHere: info !== undefined && context.self.clients.has(info.client),
  }
}

/** `connInfo` is the token's `info` claim: by custom an object with a name. */
function nameIn(connInfo: unknown): string {
  return isJsonObject(connInfo) ? textOf(connInfo['name']) : ''
}

/** What people read for a user of whom only the id is known. */
export function displayNameOf(user: string): string {
  if (user === '') return 'the server'
  return user.startsWith('guest:') ? `guest ${user.slice('guest:'.length, 'guest:'.length + 4)}` : user
}

const timeTag = 'parley-time'

/** When the broker took it, Unix milliseconds. */
function timeOf(publication: PublicationContext): number | undefined {
  const timeMs = Number(publication.tags?.[timeTag])
  return timeMs > 0 ? timeMs : undefined
}

/**
 * The SDK, and the time of each publication with it. Parley sends the protocol's `time`, and centrifuge 5.8.0 drops it on the way to
 * its handlers; tags pass. So the time is copied into a tag, in the codec, which subclasses may replace.
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

/** Publications come pushed, in a page of history, or with the answer to a subscription that recovers. */
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
