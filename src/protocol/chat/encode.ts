// Encodes the events of the chat protocol. docs/chat-protocol.md describes every event; channels.ts maps
// channels to rooms.
import type { Announcement, ClientInfo, Position, Publication } from '../../broker/broker.js'
import { type CommandError, unreachable } from '../../errors.js'
import { isDirectChannel, lobbyChannel } from './channels.js'
import { type ChatRef, toChatRef, emptyChatRef } from './ref.js'
import { limitsFields } from '../client-limits.js'
import { type UnsubscribeCode, unsubscribeCodes } from '../codes.js'
import type { Reply, ReplyRef, SubscribeReply } from '../commands.js'
import { writeJson } from '../json-writer.js'
import type { MessageFields } from '../message-fields.js'

/**
 * Returns the result events of the command, if it has any, and then an ack if the client gave an id.
 * Subscriptions that the session makes by itself (lobby, direct messages) produce no event.
 */
export function encodeReply(ref: ReplyRef, reply: Reply): Uint8Array[] {
  if (ref === undefined && reply.kind === 'subscribe') return []
  const known = toChatRef(ref)
  const events = resultEvents(known, reply)
  if (known.id !== undefined) events.push(event('ack', { id: idOf(known), ...ackFields(reply) }))
  return events.map(writeJson)
}

export function encodeError(ref: ReplyRef, error: CommandError): Uint8Array {
  return writeJson(
    event('error', {
      id: idOf(toChatRef(ref)),
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

/**
 * Reports users, not connections: the second connection of a user produces no event. A large channel reports
 * the number of its connections instead.
 */
export function encodeAnnouncement(channel: string, announcement: Announcement): Uint8Array | undefined {
  if (isDirectChannel(channel)) return undefined
  const { clients } = announcement
  if (clients !== undefined) return writeJson(event('member_count', { room: roomOf(channel), clients }))
  if (!announcement.userEdge) return undefined
  const joined = announcement.kind === 'join'
  const user = { user_id: announcement.info.user }
  if (channel === lobbyChannel) return writeJson(event(joined ? 'user_connected' : 'user_disconnected', user))
  return writeJson(event(joined ? 'user_joined' : 'user_left', { ...user, room: channel }))
}

/** Encodes the same events as the reply to a `join_room` without an id. */
export function encodeSubscribed(subscription: SubscribeReply): Uint8Array[] {
  return resultEvents(emptyChatRef, subscription).map(writeJson)
}

/** Encodes a `left` with a code, which marks it as a decision of the server. */
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

function resultEvents(ref: ChatRef, reply: Reply): MessageFields[] {
  const id = idOf(ref)
  switch (reply.kind) {
    case 'connect':
      return [
        event('welcome', {
          client_id: reply.client,
          user_id: reply.user,
          guest_token: reply.guestToken,
          limits: limitsFields(reply.limits),
        }),
      ]
    case 'subscribe':
      return [
        ...reply.publications.map((missed) => message(reply.channel, missed)),
        event('joined', {
          id,
          room: reply.channel,
          // A client that did not ask to recover misses nothing.
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
      return [
        event('presence', { id, room: reply.channel, members, truncated: reply.truncated || undefined }),
      ]
    }
    case 'publish':
    // The chat protocol has no commands with these replies.
    case 'presenceStats':
    case 'refresh':
    case 'subRefresh':
      return []
    default:
      return unreachable(reply)
  }
}

function ackFields(reply: Reply): MessageFields {
  if (reply.kind !== 'publish') return {}
  return { room: roomOf(reply.channel), ...positionOf(reply.position), durability: reply.durability }
}

function message(channel: string, publication: Publication): MessageFields {
  const isDirect = isDirectChannel(channel)
  return event(isDirect ? 'direct_message' : 'chat', {
    // Publications of the server API have no user. Clients expect a string, and no user has an empty name.
    from: publication.info?.user ?? '',
    room: roomOf(channel, isDirect),
    content: publication.data,
    name: publication.info?.name,
    ...positionOf(publication),
    ts: publication.timeMs,
  })
}

/**
 * Returns the room of a channel. Undefined for the lobby and direct messages, which are recognized by the
 * event itself.
 */
function roomOf(channel: string, isDirect = isDirectChannel(channel)): string | undefined {
  return channel === lobbyChannel || isDirect ? undefined : channel
}

function memberOf(info: ClientInfo): MessageFields {
  return { user_id: info.user, client_id: info.client, name: info.name }
}

/** Returns no fields in a channel without history. */
function positionOf(position: Position | undefined): MessageFields {
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

/** Returns the id exactly as the client wrote it. */
function idOf({ id }: ChatRef): Uint8Array | undefined {
  return id === undefined ? undefined : Buffer.from(id)
}

function event(name: string, members: MessageFields): MessageFields {
  return { event: name, ...members }
}
