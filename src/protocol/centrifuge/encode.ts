// Builds replies and pushes as Centrifuge's official clients expect them, before they are encoded as JSON or
// protobuf. Zero values are left out, except where the JSON protocol always has the field.
import type { Announcement, ClientInfo, Publication } from '../../broker/broker.js'
import { type CommandError, unreachable } from '../../errors.js'
import { limitsFields } from '../client-limits.js'
import { centrifugeErrorNumbers, type UnsubscribeCode } from '../codes.js'
import type { ConnectReply, DeltaBase, Reply, ReplyRef, SubscribeReply } from '../commands.js'
import { writeJson } from '../json-writer.js'
import type { MessageFields, FieldValue } from '../message-fields.js'
import { createFossilDelta } from './fossil-delta.js'

const methods: Readonly<Record<Reply['kind'], string>> = {
  connect: 'connect',
  subscribe: 'subscribe',
  unsubscribe: 'unsubscribe',
  publish: 'publish',
  presence: 'presence',
  presenceStats: 'presence_stats',
  history: 'history',
  refresh: 'refresh',
  subRefresh: 'sub_refresh',
}

/**
 * The server's version. Free-form in the protocol and visible to every client, so it names the product
 * without its version number.
 */
const version = 'parley'

/** Converts `data` on a subscription with deltas, where it may be JSON text or a delta, to a field value. */
export type WriteDelta = (data: Uint8Array) => FieldValue

export function replyFields(ref: ReplyRef, reply: Reply, writeDelta: WriteDelta): MessageFields {
  return { id: idOf(ref), [methods[reply.kind]]: resultFields(reply, writeDelta) }
}

export function errorReplyFields(ref: ReplyRef, error: CommandError): MessageFields {
  return {
    id: idOf(ref),
    error: {
      code: centrifugeErrorNumbers[error.code],
      // Several error codes share a number, so the message begins with the code.
      message: `${error.code}: ${error.message}`,
      temporary: error.temporary || undefined,
      // Not part of the protocol, and sent in JSON only. SDKs pass it on, so a page can show how long to
      // wait.
      retry_after_ms: error.temporary && error.retryAfterMs ? Math.ceil(error.retryAfterMs) : undefined,
    },
  }
}

export function publicationPush(channel: string, publication: Publication): MessageFields {
  return { push: { channel, pub: publicationFields(publication) } }
}

export function deltaPush(
  channel: string,
  publication: Publication,
  options: { base: DeltaBase; writeDelta: WriteDelta },
): MessageFields {
  return { push: { channel, pub: deltaPublicationFields(publication, options) } }
}

export function announcementPush(channel: string, { info, kind }: Announcement): MessageFields {
  return { push: { channel, [kind]: { info: clientInfoFields(info) } } }
}

export function subscribedPush(subscription: SubscribeReply): MessageFields {
  const { channel, data } = subscription
  return { push: { channel, subscribe: { ...positionOf(subscription), data } } }
}

export function unsubscribedPush(channel: string, { code, reason }: UnsubscribeCode): MessageFields {
  return { push: { channel, unsubscribe: { code, reason } } }
}

export function refreshedPush(expiresInS: number | undefined): MessageFields {
  return { push: { refresh: expiry(expiresInS) } }
}

/**
 * Returns the command's id, which is the ref of this protocol. The session passes it back unchanged, but its
 * type does not show that.
 */
function idOf(ref: ReplyRef): number | undefined {
  return typeof ref === 'number' ? ref : undefined
}

function resultFields(reply: Reply, writeDelta: WriteDelta): MessageFields {
  switch (reply.kind) {
    case 'connect':
      return connectResult(reply, writeDelta)
    case 'subscribe':
      return subscribeResult(reply, writeDelta)
    case 'unsubscribe':
    case 'publish':
      return {}
    case 'presence':
      return {
        presence: new Map(Array.from(reply.members, ([id, info]) => [id, clientInfoFields(info)] as const)),
      }
    case 'presenceStats':
      return { num_clients: reply.clients, num_users: reply.users }
    case 'history':
      return {
        publications: reply.page.publications.map(publicationFields),
        epoch: reply.page.top.epoch,
        offset: reply.page.top.offset,
      }
    case 'refresh':
      // centrifuge-js copies `client` from this reply without checking it.
      return { client: reply.client, version, ...expiry(reply.expiresInS) }
    case 'subRefresh':
      return expiry(reply.expiresInS)
    default:
      return unreachable(reply)
  }
}

function connectResult(reply: ConnectReply, writeDelta: WriteDelta): MessageFields {
  const { subscriptions } = reply
  return {
    client: reply.client,
    version,
    ...expiry(reply.expiresInS),
    data: writeJson({
      limits: limitsFields(reply.limits),
      // The protocol does not tell a client who it is. A guest cannot know, because the server names it.
      ...(reply.guestToken !== undefined && { user_id: reply.user, guest_token: reply.guestToken }),
    }),
    subs:
      subscriptions.length > 0
        ? new Map(subscriptions.map((each) => [each.channel, subscribeResult(each, writeDelta)]))
        : undefined,
    ping: reply.pingIntervalS || undefined,
    pong: reply.pingIntervalS > 0 || undefined,
  }
}

function subscribeResult(reply: SubscribeReply, writeDelta: WriteDelta): MessageFields {
  const { publications } = reply
  const recovered = reply.delta
    ? publications.map((publication, index) =>
        deltaPublicationFields(publication, { base: publications[index - 1] ?? 'none', writeDelta }),
      )
    : publications.map(publicationFields)
  return {
    ...expiry(reply.expiresInS),
    ...positionOf(reply),
    publications: recovered.length > 0 ? recovered : undefined,
    recovered: reply.recovered || undefined,
    was_recovering: reply.wasRecovering || undefined,
    delta: reply.delta || undefined,
  }
}

function positionOf({ position }: SubscribeReply): MessageFields {
  const positioned = position !== undefined || undefined
  return {
    recoverable: positioned,
    positioned,
    epoch: position?.epoch || undefined,
    offset: position?.offset || undefined,
  }
}

/** Returns whole seconds, never 0: SDKs read a missing ttl as "now" and would refresh in a loop. */
function expiry(expiresInS: number | undefined): MessageFields {
  return expiresInS === undefined ? {} : { expires: true, ttl: Math.max(1, Math.floor(expiresInS)) }
}

export function publicationFields(publication: Publication): MessageFields {
  return {
    data: publication.data,
    offset: publication.offset || undefined,
    info: publication.info && clientInfoFields(publication.info),
    tags: publication.tags && new Map(publication.tags),
    time: publication.timeMs || undefined,
  }
}

/** Returns the publication with its complete data, or with a delta to `base` when that is smaller. */
function deltaPublicationFields(
  publication: Publication,
  { base, writeDelta }: { base: DeltaBase; writeDelta: WriteDelta },
): MessageFields {
  const delta = base === 'none' ? undefined : createFossilDelta(base.data, publication.data)
  return {
    ...publicationFields(publication),
    data: writeDelta(delta ?? publication.data),
    delta: delta !== undefined || undefined,
  }
}

/**
 * Encodes a client. `conn_info` is the `info` of the token; without one it contains the user's name, so that
 * every SDK can show it.
 */
export function clientInfoFields({ client, info, name, user }: ClientInfo): MessageFields {
  const connInfo = info ?? (name === undefined ? undefined : writeJson({ name }))
  return { user: user || undefined, client: client || undefined, conn_info: connInfo }
}
