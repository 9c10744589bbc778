// What a request to a tenant's door is answered before any upgrade: who it is for, who asks, and whether there is room.
import type { IncomingMessage } from 'node:http'
import { CommandError } from '../../errors.js'
import { centrifugeJson } from '../../protocol/centrifuge/json.js'
import { centrifugeProtobuf } from '../../protocol/centrifuge/protobuf.js'
import type { Codec } from '../../protocol/commands.js'
import { authenticate, type Identity } from '../../session/identity.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { originAllowed } from '../../tenant/origin.js'

/** By path. What is spoken behind the second, JSON or protobuf, the client chooses as it comes in. */
export type Endpoint = 'chat' | 'centrifuge'

/** A path that leads to a tenant's door: `/<namespace>/<name>/ws[/<client_id>]` or `…/connection/websocket`. */
export interface EndpointRequest {
  readonly tenantKey: string
  readonly endpoint: Endpoint
  /** From the path; may be empty. */
  readonly clientId: string
  readonly query: URLSearchParams
}

/** Undefined: the path is no door's. Throws BAD_REQUEST for a target that no client of ours sends. */
export function parseEndpoint(target: string): EndpointRequest | undefined {
  const queryAt = target.indexOf('?')
  const path = queryAt === -1 ? target : target.slice(0, queryAt)
  if (!path.startsWith('/'))
    throw new CommandError('BAD_REQUEST', 'The request target must be a path, like /demo/acme/ws')
  const [, namespace = '', name = '', ...rest] = path.split('/')
  const query = new URLSearchParams(queryAt === -1 ? '' : target.slice(queryAt + 1))
  const tenantKey = `${namespace}/${name}`
  if (rest.length === 2 && rest[0] === 'connection' && rest[1] === 'websocket') {
    return { tenantKey, endpoint: 'centrifuge', clientId: '', query }
  }
  if (rest[0] !== 'ws' || rest.length > 2) return undefined
  return { tenantKey, endpoint: 'chat', clientId: decoded(rest[1] ?? ''), query }
}

/** Before anything is known of the user. Throws with 403. */
export function checkOrigin(tenant: TenantRuntime, request: IncomingMessage): void {
  const { origin, host } = request.headers
  if (originAllowed(origin, tenant.policy.allowedOrigins, host)) return
  throw new CommandError(
    'ORIGIN_NOT_ALLOWED',
    `Pages of this origin may not connect to ${tenant.key}: add it to the tenant's allowedOrigins`,
  )
}

const headersMax = 100
/** Of two of these, a proxy may believe the one and Node the other. */
const singleHeaders = ['host', 'origin', 'authorization', 'sec-websocket-key', 'sec-websocket-version']

/** Throws with 431 or 400 where the headers say too much, or not one thing. */
export function checkHeaders(request: IncomingMessage): void {
  const names = request.rawHeaders.filter((_text, index) => index % 2 === 0).map((name) => name.toLowerCase())
  if (names.length > headersMax) {
    throw new CommandError('HEADERS_TOO_LARGE', `The request has more than ${headersMax} headers`)
  }
  const doubled = singleHeaders.find((name) => names.indexOf(name) !== names.lastIndexOf(name))
  if (doubled !== undefined)
    throw new CommandError('BAD_REQUEST', `The header "${doubled}" came more than once`)
  if (request.headers.host === undefined && request.httpVersion !== '1.0')
    throw new CommandError('BAD_REQUEST', 'The header "host" is missing')
}

/** Throws with 400, 405 or 426 where the request cannot become a WebSocket. */
export function checkUpgrade(request: IncomingMessage): void {
  if (request.method !== 'GET')
    throw new CommandError('METHOD_NOT_ALLOWED', 'A WebSocket begins with a GET request')
  if (request.httpVersion !== '1.1')
    throw new CommandError('BAD_REQUEST', 'A WebSocket begins with HTTP/1.1, not an older version')
  // Whose bytes would they be? A proxy would say the request's, and ws takes all that follows for frames.
  if (
    (request.headers['content-length'] ?? '0') !== '0' ||
    request.headers['transfer-encoding'] !== undefined
  )
    throw new CommandError('BAD_REQUEST', 'A request for a WebSocket has no body')
  if (request.headers['sec-websocket-version'] !== '13') {
    throw new CommandError(
      'UPGRADE_REQUIRED',
      'Only version 13 of the WebSocket protocol is spoken here (header Sec-WebSocket-Version)',
    )
  }
}

export interface ChatHandshake {
  readonly identity: Identity
  readonly subprotocol: string | undefined
}

const chatSubprotocol = 'parley.chat.v1'

/** The chat door knows its user before it says yes. Throws 400, 401 or 403; takes no place in the quota yet. */
export async function chatHandshake(
  tenant: TenantRuntime,
  door: EndpointRequest,
  request: IncomingMessage,
): Promise<ChatHandshake> {
  const client = clientIdOf(door)
  const offered = subprotocolsOf(request)
  const token = tokenOf(door, request, offered)
  const identity = await authenticate(tenant, { token, client })
  return { identity, subprotocol: offered[0] === chatSubprotocol ? chatSubprotocol : undefined }
}

/** What a client at the Centrifuge door speaks, and the subprotocol to echo. */
export interface CentrifugeHandshake {
  readonly codec: Codec
  readonly subprotocol: string | undefined
}

/** Clients of both formats may offer a subprotocol or none; who offers both is answered in JSON. */
export function centrifugeHandshake(door: EndpointRequest, request: IncomingMessage): CentrifugeHandshake {
  const offered = subprotocolsOf(request)
  const offers = (codec: Codec): boolean => offered.includes(codec.name)
  if (offers(centrifugeJson)) return { codec: centrifugeJson, subprotocol: centrifugeJson.name }
  if (offers(centrifugeProtobuf)) return { codec: centrifugeProtobuf, subprotocol: centrifugeProtobuf.name }
  const format = door.query.get('format') ?? door.query.get('cf_protocol')
  return { codec: format === 'protobuf' ? centrifugeProtobuf : centrifugeJson, subprotocol: undefined }
}

/** Letters, digits and a few marks: it goes into URLs, and for guests into a channel name. */
const clientIdPattern = /^[\w.~@+-]{1,64}$/

function clientIdOf(door: EndpointRequest): string {
  const [fromQuery, ...more] = door.query.getAll('client_id')
  if (more.length > 0 || (fromQuery !== undefined && door.clientId !== '' && fromQuery !== door.clientId)) {
    throw new CommandError(
      'BAD_REQUEST',
      'client_id was given more than once; give it in the path or in the query',
    )
  }
  const given = door.clientId === '' ? (fromQuery ?? '') : door.clientId
  if (given === '') return randomClientId()
  if (!clientIdPattern.test(given)) {
    throw new CommandError(
      'BAD_REQUEST',
      'client_id may have 1 to 64 letters, digits and the marks . _ ~ @ + -',
    )
  }
  return given
}

function randomClientId(): string {
  const letters = 'abcdefghijklmnopqrstuvwxyz0123456789'
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) =>
    letters.charAt(byte % letters.length),
  ).join('')
}

/** `Authorization: Bearer`, the second subprotocol, or the query: in this order, since a header ends up in fewer logs. */
function tokenOf(door: EndpointRequest, request: IncomingMessage, offered: readonly string[]): string {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const [scheme = '', token = '', ...rest] = authorization.trim().split(/ +/)
    if (scheme.toLowerCase() !== 'bearer' || token === '' || rest.length > 0) {
      throw new CommandError('UNAUTHORIZED', 'The Authorization header must read "Bearer <token>"')
    }
    return token
  }
  if (offered[0] === chatSubprotocol && offered[1] !== undefined) return offered[1]
  const [token = '', ...more] = door.query.getAll('token')
  if (more.length > 0) throw new CommandError('BAD_REQUEST', 'token was given more than once in the query')
  return token
}

function subprotocolsOf(request: IncomingMessage): string[] {
  const header = request.headers['sec-websocket-protocol']
  return header === undefined ? [] : header.split(',').map((entry) => entry.trim())
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new CommandError('BAD_REQUEST', 'The path has a broken percent escape')
  }
}
