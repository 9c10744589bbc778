// Replies and pushes as Centrifuge's official clients expect them, before they are written as JSON or protobuf. Zero values are left out, but
// where the JSON protocol always has the field.
import type { Announcement, ClientInfo, Publication } from '../../broker/broker.js'
import { type CommandError, unreachable } from '../../errors.js'
import { limitsOf } from '../client-limits.js'
import { centrifugeErrorNumbers, type UnsubscribeCode } from '../codes.js'
import type { ConnectReply, DeltaBase, Reply, ReplyRef, SubscribeReply } from '../commands.js'
import { writeJson } from '../fields-json.js'
import type { Fields, FieldValue } from '../fields.js'
import { deltaOf } from './fossil.js'

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

/** Free-form in the protocol, and shown to strangers: it names the server and not its patch level. */
const version = 'parley'

/** How `data` is written on a subscription with deltas, where it may be JSON text or a delta: as what else than JSON text? */
export type WriteDelta = (data: Uint8Array) => FieldValue

export function replyFields(ref: ReplyRef, reply: Reply, writeDelta: WriteDelta): Fields {
  return { id: idOf(ref), [methods[reply.kind]]: result(reply, writeDelta) }
}

export function errorFields(ref: ReplyRef, error: CommandError): Fields {
  return {
    id: idOf(ref),
    error: {
      code: centrifugeErrorNumbers[error.code],
      // Several of our codes share a number: people see in the text which one it was.
      message: `${error.code}: ${error.message}`,
      temporary: error.temporary || undefined,
      // Not of the protocol, and JSON alone has it: SDKs hand it through, and a page can say how long to wait.
      retry_after_ms: error.temporary && error.retryAfterMs ? Math.ceil(error.retryAfterMs) : undefined,
    },
  }
}

export function publicationPush(channel: string, publication: Publication): Fields {
  return { push: { channel, pub: publicationOf(publication) } }
}

export function deltaPush(
  channel: string,
  publication: Publication,
  options: { base: DeltaBase; writeDelta: WriteDelta },
): Fields {
  return { push: { channel, pub: deltaPublicationOf(publication, options) } }
}

export function announcementPush(channel: string, { info, kind }: Announcement): Fields {
  return { push: { channel, [kind]: { info: clientInfo(info) } } }
}

export function subscribedPush(subscription: SubscribeReply): Fields {
  const { channel, data } = subscription
  return { push: { channel, subscribe: { ...positionOf(subscription), data } } }
}

export function unsubscribedPush(channel: string, { code, reason }: UnsubscribeCode): Fields {
  return { push: { channel, unsubscribe: { code, reason } } }
}

export function refreshedPush(expiresInS: number | undefined): Fields {
  return { push: { refresh: expiry(expiresInS) } }
}

/** The ref of this door is the command's id, as decodeCentrifuge made it. The session hands it back untouched, but types cannot tell. */
function idOf(ref: ReplyRef): number | undefined {
  return typeof ref === 'number' ? ref : undefined
}

function result(reply: Reply, writeDelta: WriteDelta): Fields {
  switch (reply.kind) {
    case 'connect':
      return connectResult(reply, writeDelta)
    case 'subscribe':
      return subscribeResult(reply, writeDelta)
    case 'unsubscribe':
    case 'publish':
      return {}
    case 'presence':
      return { presence: new Map(Array.from(reply.members, ([id, info]) => [id, clientInfo(info)] as const)) }
    case 'presenceStats':
      return { num_clients: reply.clients, num_users: reply.users }
    case 'history':
      return {
        publications: reply.page.publications.map(publicationOf),
        epoch: reply.page.top.epoch,
        offset: reply.page.top.offset,
      }
    case 'refresh':
      // centrifuge-js takes `client` over from here without looking.
      return { client: reply.client, version, ...expiry(reply.expiresInS) }
    case 'subRefresh':
      return expiry(reply.expiresInS)
    default:
      return unreachable(reply)
  }
}

function connectResult(reply: ConnectReply, writeDelta: WriteDelta): Fields {
  const { subscriptions } = reply
  return {
    client: reply.client,
    version,
    ...expiry(reply.expiresInS),
    data: writeJson({ limits: limitsOf(reply.limits) }),
    subs:
      subscriptions.length > 0
        ? new Map(subscriptions.map((each) => [each.channel, subscribeResult(each, writeDelta)]))
        : undefined,
    ping: reply.pingIntervalS || undefined,
    pong: reply.pingIntervalS > 0 || undefined,
  }
}

function subscribeResult(reply: SubscribeReply, writeDelta: WriteDelta): Fields {
  const { publications } = reply
  const recovered = reply.delta
    ? publications.map((publication, index) =>
        deltaPublicationOf(publication, { base: publications[index - 1] ?? 'none', writeDelta }),
      )
    : publications.map(publicationOf)
  return {
    ...expiry(reply.expiresInS),
    ...positionOf(reply),
    publications: recovered.length > 0 ? recovered : undefined,
    recovered: reply.recovered || undefined,
    was_recovering: reply.wasRecovering || undefined,
    delta: reply.delta || undefined,
  }
}

function positionOf({ position }: SubscribeReply): Fields {
  const positioned = position !== undefined || undefined
  return {
    recoverable: positioned,
    positioned,
    epoch: position?.epoch || undefined,
    offset: position?.offset || undefined,
  }
}

/** Whole seconds, and never 0: SDKs would read a missing ttl as "now", again and again. */
function expiry(expiresInS: number | undefined): Fields {
  return expiresInS === undefined ? {} : { expires: true, ttl: Math.max(1, Math.floor(expiresInS)) }
}

export function publicationOf(publication: Publication): Fields {
  return {
    data: publication.data,
    offset: publication.offset || undefined,
    info: publication.info && clientInfo(publication.info),
    tags: publication.tags && new Map(publication.tags),
    time: publication.timeMs || undefined,
  }
}

/** The whole data, or what has changed since `base` where that is less. */
function deltaPublicationOf(
  publication: Publication,
  { base, writeDelta }: { base: DeltaBase; writeDelta: WriteDelta },
): Fields {
  const delta = base === 'none' ? undefined : deltaOf(base.data, publication.data)
  return {
    ...publicationOf(publication),
    data: writeDelta(delta ?? publication.data),
    delta: delta !== undefined || undefined,
  }
}

/** `conn_info` is the token's own; without one, the name alone, so that every SDK can show it. */
export function clientInfo({ client, info, name, user }: ClientInfo): Fields {
  const connInfo = info ?? (name === undefined ? undefined : writeJson({ name }))
  return { user: user || undefined, client: client || undefined, conn_info: connInfo }
}
