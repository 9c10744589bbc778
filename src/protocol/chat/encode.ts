// Writes the plain chat protocol's events. What a channel is called here: chat-channels.ts; every event: docs/chat-protocol.md.
import type { Announcement, ClientInfo, Position, Publication } from '../../broker/broker.js'
import { type CommandError, unreachable } from '../../errors.js'
import { isDirectChannel, lobbyChannel } from './channels.js'
import { type ChatRef, chatRef, emptyChatRef } from './ref.js'
import { limitsOf } from '../client-limits.js'
import { type UnsubscribeCode, unsubscribeCodes } from '../codes.js'
import type { Reply, ReplyRef, SubscribeReply } from '../commands.js'
import { writeJson } from '../fields-json.js'
import type { Fields } from '../fields.js'

/** The results, if the command has any, then an ack if the client gave an id. The session's own subscriptions (lobby, direct messages) are silent. */
export function encodeReply(ref: ReplyRef, reply: Reply): Uint8Array[] {
  if (ref === undefined && reply.kind === 'subscribe') return []
  const known = chatRef(ref)
  const events = results(known, reply)
  if (known.id !== undefined) events.push(event('ack', { id: idOf(known), ...acknowledged(reply) }))
  return events.map(writeJson)
}

export function encodeError(ref: ReplyRef, error: CommandError): Uint8Array {
  return writeJson(
    event('error', {
      id: idOf(chatRef(ref)),
      code: error.code,
      message: error.message,
      retry_after_ms:
        error.temporary && error.retryAfterMs !== undefined ? Math.ceil(error.retryAfterMs) : undefined,
    }),
  )
}

export function encodePublication(channel: string, publication: Publication): Uint8Array {
  return writeJson(message(channel, publication))
}

/** Told of users, not of connections: a second phone of the same user is no news. */
export function encodeAnnouncement(channel: string, announcement: Announcement): Uint8Array | undefined {
  if (!announcement.userEdge || isDirectChannel(channel)) return undefined
  const joined = announcement.kind === 'join'
  const user = { user_id: announcement.info.user }
  if (channel === lobbyChannel) return writeJson(event(joined ? 'user_connected' : 'user_disconnected', user))
  return writeJson(event(joined ? 'user_joined' : 'user_left', { ...user, room: channel }))
}

/** As the answer to a join that nobody sent. */
export function encodeSubscribed(subscription: SubscribeReply): Uint8Array[] {
  return results(emptyChatRef, subscription).map(writeJson)
}

/** A `left` that bears a code: the server's doing. */
export function encodeUnsubscribed(channel: string, code: UnsubscribeCode): Uint8Array {
  return writeJson(event('left', { room: channel, code: leftCode(code), message: code.reason }))
}

export function encodeContinuityLost(channel: string, top: Position): Uint8Array {
  return writeJson(event('joined', { room: channel, recovered: false, ...positionOf(top) }))
}

export function encodeReconnect(afterMs: number): Uint8Array {
  return writeJson(event('reconnect', { after_ms: Math.ceil(afterMs) }))
}

export const ping: Uint8Array = writeJson(event('ping', {}))

function results(ref: ChatRef, reply: Reply): Fields[] {
  const id = idOf(ref)
  switch (reply.kind) {
    case 'connect':
      return [
        event('welcome', { client_id: reply.client, user_id: reply.user, limits: limitsOf(reply.limits) }),
      ]
    case 'subscribe':
      return [
        ...reply.publications.map((missed) => message(reply.channel, missed)),
        event('joined', {
          id,
          room: reply.channel,
          // Who asked for nothing misses nothing.
          recovered: reply.recovered || !reply.wasRecovering,
          ...positionOf(reply.top ?? reply.position),
        }),
      ]
    case 'unsubscribe':
      return [event('left', { id, room: reply.channel })]
    case 'history': {
      const publications = ref.newestFirst ? reply.page.publications.toReversed() : reply.page.publications
      const messages = publications.map((publication) => message(reply.channel, publication))
      return [event('history', { id, room: reply.channel, messages, ...positionOf(reply.page.top) })]
    }
    case 'presence': {
      const members = Array.from(reply.members.values(), memberOf)
      return [event('presence', { id, room: reply.channel, members })]
    }
    case 'publish':
    // No command of this door leads to the rest.
    case 'presenceStats':
    case 'refresh':
    case 'subRefresh':
      return []
    default:
      return unreachable(reply)
  }
}

function acknowledged(reply: Reply): Fields {
  if (reply.kind !== 'publish') return {}
  return { room: roomOf(reply.channel), ...positionOf(reply.position), durability: reply.durability }
}

function message(channel: string, publication: Publication): Fields {
  return event(isDirectChannel(channel) ? 'direct_message' : 'chat', {
    // The server itself publishes without a user. No user has an empty name, and clients written for the contract expect a string.
    from: publication.info?.user ?? '',
    room: roomOf(channel),
    content: publication.data,
    name: publication.info?.name,
    ...positionOf(publication),
    ts: publication.timeMs,
  })
}

/** A channel's name, unless messages on it are known by their kind alone: those of the lobby and direct ones. */
function roomOf(channel: string): string | undefined {
  return channel === lobbyChannel || isDirectChannel(channel) ? undefined : channel
}

function memberOf(info: ClientInfo): Fields {
  return { user_id: info.user, client_id: info.client, name: info.name }
}

/** Nothing in a channel without history. */
function positionOf(position: Position | undefined): Fields {
  return position === undefined || position.epoch === ''
    ? {}
    : { epoch: position.epoch, offset: position.offset }
}

function leftCode(code: UnsubscribeCode): string {
  switch (code.code) {
    case unsubscribeCodes.permissionDenied.code:
      return 'PERMISSION_DENIED'
    case unsubscribeCodes.expired.code:
      return 'TOKEN_EXPIRED'
    case unsubscribeCodes.insufficientState.code:
      return 'UNRECOVERABLE_POSITION'
    default:
      return 'UNSUBSCRIBED'
  }
}

/** As it was written. */
function idOf({ id }: ChatRef): Uint8Array | undefined {
  return id === undefined ? undefined : Buffer.from(id)
}

function event(name: string, members: Fields): Fields {
  return { event: name, ...members }
}
