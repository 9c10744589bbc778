// Writes replies and pushes as Centrifuge's official clients expect them. Zero values are left out, but where the protocol always has the field.
import type { Announcement, ClientInfo, Publication } from '../broker/broker.js'
import { type CommandError, unreachable } from '../errors.js'
import { centrifugeErrorNumbers, type UnsubscribeCode } from './codes.js'
import type { ConnectReply, Reply, ReplyRef, SubscribeReply } from './commands.js'
import { array, object, objectOf, type Pieces, type PieceValue, weave } from './json-pieces.js'
import { limitsOf } from './limits-pieces.js'

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

export function encodeReply(ref: ReplyRef, reply: Reply): Uint8Array {
  return weave(object({ id: idOf(ref), [methods[reply.kind]]: result(reply) }))
}

export function encodeError(ref: ReplyRef, error: CommandError): Uint8Array {
  return weave(
    object({
      id: idOf(ref),
      error: object({
        code: centrifugeErrorNumbers[error.code],
        // Several of our codes share a number: people see in the text which one it was.
        message: `${error.code}: ${error.message}`,
        temporary: error.temporary || undefined,
        // Not of the protocol: SDKs hand it through, and a page can say how long to wait.
        retry_after_ms: error.temporary && error.retryAfterMs ? Math.ceil(error.retryAfterMs) : undefined,
      }),
    }),
  )
}

export function encodePublication(channel: string, publication: Publication): Uint8Array {
  return push(channel, { pub: publicationOf(publication) })
}

export function encodeAnnouncement(channel: string, announcement: Announcement): Uint8Array {
  return push(channel, { [announcement.kind]: object({ info: clientInfo(announcement.info) }) })
}

export function encodeUnsubscribed(channel: string, code: UnsubscribeCode): Uint8Array {
  return push(channel, { unsubscribe: object({ code: code.code, reason: code.reason }) })
}

export function encodeRefreshed(expiresInS: number | undefined): Uint8Array {
  return weave(object({ push: object({ refresh: object(expiry(expiresInS)) }) }))
}

/** The ref of this door is the command's id, as decodeCentrifuge made it. The session hands it back untouched, but types cannot tell. */
function idOf(ref: ReplyRef): number | undefined {
  return typeof ref === 'number' ? ref : undefined
}

function push(channel: string, what: Readonly<Record<string, PieceValue>>): Uint8Array {
  return weave(object({ push: object({ channel, ...what }) }))
}

function result(reply: Reply): Pieces {
  switch (reply.kind) {
    case 'connect':
      return connectResult(reply)
    case 'subscribe':
      return subscribeResult(reply)
    case 'unsubscribe':
    case 'publish':
      return object({})
    case 'presence':
      return object({
        presence: objectOf(Array.from(reply.members, ([id, info]) => [id, clientInfo(info)] as const)),
      })
    case 'presenceStats':
      return object({ num_clients: reply.clients, num_users: reply.users })
    case 'history':
      return object({
        publications: array(reply.page.publications.map(publicationOf)),
        epoch: reply.page.top.epoch,
        offset: reply.page.top.offset,
      })
    case 'refresh':
      // centrifuge-js takes `client` over from here without looking.
      return object({ client: reply.client, version, ...expiry(reply.expiresInS) })
    case 'subRefresh':
      return object(expiry(reply.expiresInS))
    default:
      return unreachable(reply)
  }
}

function connectResult(reply: ConnectReply): Pieces {
  return object({
    client: reply.client,
    version,
    ...expiry(reply.expiresInS),
    data: object({ limits: limitsOf(reply.limits) }),
    ping: reply.pingIntervalS || undefined,
    pong: reply.pingIntervalS > 0 || undefined,
  })
}

function subscribeResult(reply: SubscribeReply): Pieces {
  const positioned = reply.position !== undefined || undefined
  return object({
    ...expiry(reply.expiresInS),
    recoverable: positioned,
    positioned,
    epoch: reply.position?.epoch || undefined,
    offset: reply.position?.offset || undefined,
    publications: reply.publications.length > 0 ? array(reply.publications.map(publicationOf)) : undefined,
    recovered: reply.recovered || undefined,
    was_recovering: reply.wasRecovering || undefined,
  })
}

/** Whole seconds, and never 0: SDKs would read a missing ttl as "now", again and again. */
function expiry(expiresInS: number | undefined): Readonly<Record<string, PieceValue>> {
  return expiresInS === undefined ? {} : { expires: true, ttl: Math.max(1, Math.floor(expiresInS)) }
}

export function publicationOf(publication: Publication): Pieces {
  return object({
    data: publication.data,
    offset: publication.offset || undefined,
    info: publication.info && clientInfo(publication.info),
    time: publication.timeMs || undefined,
  })
}

/** `conn_info` is the token's own; without one, the name alone, so that every SDK can show it. */
export function clientInfo({ client, info, name, user }: ClientInfo): Pieces {
  const connInfo = info ?? (name === undefined ? undefined : object({ name }))
  return object({ user: user || undefined, client: client || undefined, conn_info: connInfo })
}
