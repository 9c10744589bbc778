// Checks a request to a tenant's WebSocket endpoint before the upgrade: the path, the headers, the origin,
// the token and the protocol.
import type { IncomingMessage } from 'node:http'
import { isGuestToken } from '../../auth/guest-token.js'
import { CommandError } from '../../errors.js'
import { centrifugeJson } from '../../protocol/centrifuge/json.js'
import { centrifugeProtobuf } from '../../protocol/centrifuge/protobuf.js'
import type { Codec } from '../../protocol/commands.js'
import { authenticate, type Identity } from '../../session/identity.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { originAllowed } from '../../tenant/origin.js'

/**
 * The endpoint that the path selects. At `centrifuge`, the client chooses JSON or protobuf in its handshake.
 */
export type Endpoint = 'chat' | 'centrifuge'

/**
 * The parsed URL of an endpoint: `/<namespace>/<name>/ws[/<client_id>]` or
 * `/<namespace>/<name>/connection/websocket`.
 */
export interface EndpointUrl {
  readonly tenantKey: string
  readonly endpoint: Endpoint
  /** The client id in the path; empty when there is none. */
  readonly clientId: string
  readonly query: URLSearchParams
}

/** Returns undefined when the path is not an endpoint. Throws BAD_REQUEST for a malformed request target. */
export function parseEndpointUrl(target: string): EndpointUrl | undefined {
  const queryAt = target.indexOf('?')
  const path = queryAt === -1 ? target : target.slice(0, queryAt)
  checkTarget(target)
  const [, namespace = '', name = '', ...rest] = path.split('/')
  const query = new URLSearchParams(queryAt === -1 ? '' : target.slice(queryAt + 1))
  const tenantKey = `${namespace}/${name}`
  if (rest.length === 2 && rest[0] === 'connection' && rest[1] === 'websocket') {
    return { tenantKey, endpoint: 'centrifuge', clientId: '', query }
  }
  if (rest[0] !== 'ws' || rest.length > 2) return undefined
  return { tenantKey, endpoint: 'chat', clientId: decoded(rest[1] ?? ''), query }
}

/** Like `parseEndpointUrl`, and throws NOT_FOUND when the path is not an endpoint. */
export function endpointUrlOf({ url = '' }: IncomingMessage): EndpointUrl {
  const endpoint = parseEndpointUrl(url)
  if (endpoint) return endpoint
  throw new CommandError(
    'NOT_FOUND',
    'There is no endpoint at this path; clients connect to /<namespace>/<name>/ws',
  )
}

/** Throws ORIGIN_NOT_ALLOWED (403) when the page may not connect to the tenant. Needs no token. */
export function checkOrigin(tenant: TenantRuntime, request: IncomingMessage): void {
  const { origin, host } = request.headers
  if (originAllowed(origin, tenant.policy.allowedOrigins, host)) return
  throw new CommandError(
    'ORIGIN_NOT_ALLOWED',
    `Pages of this origin may not connect to ${tenant.key}: add the origin to the tenant's allowedOrigins`,
  )
}

const headersMax = 100
/** Headers that must not occur twice: a proxy could use one value and Node the other. */
const singleHeaders = ['host', 'origin', 'authorization', 'sec-websocket-key', 'sec-websocket-version']

/**
 * Throws HEADERS_TOO_LARGE (431) for too many headers, and BAD_REQUEST (400) for missing or repeated ones.
 */
export function checkHeaders(request: IncomingMessage): void {
  const names = request.rawHeaders.filter((_text, index) => index % 2 === 0).map((name) => name.toLowerCase())
  if (names.length > headersMax) {
    throw new CommandError('HEADERS_TOO_LARGE', `The request has more than ${headersMax} headers`)
  }
  const doubled = singleHeaders.find((name) => names.indexOf(name) !== names.lastIndexOf(name))
  if (doubled !== undefined)
    throw new CommandError('BAD_REQUEST', `The header "${doubled}" occurs more than once`)
  const { expect = '100-continue' } = request.headers
  if (expect.toLowerCase() !== '100-continue')
    throw new CommandError('BAD_REQUEST', 'The header "expect" allows only 100-continue')
  if (request.headers.host === undefined && request.httpVersion !== '1.0')
    throw new CommandError('BAD_REQUEST', 'The header "host" is missing')
}

/** Throws BAD_REQUEST when the request target is not a path: a URL is for proxies, and names its own host. */
export function checkTarget(target: string): void {
  if (!target.startsWith('/'))
    throw new CommandError('BAD_REQUEST', 'The request target must be a path, like /demo/acme/ws')
}

/** Throws with HTTP status 400, 405 or 426 when the request cannot become a WebSocket. */
export function checkUpgrade(request: IncomingMessage): void {
  if (request.method !== 'GET')
    throw new CommandError('METHOD_NOT_ALLOWED', 'A WebSocket handshake must be a GET request')
  if (request.httpVersion !== '1.1')
    throw new CommandError('BAD_REQUEST', 'A WebSocket handshake needs HTTP/1.1, not an older version')
  // A proxy would treat the following bytes as the request's body, but ws treats them as frames.
  if (
    (request.headers['content-length'] ?? '0') !== '0' ||
    request.headers['transfer-encoding'] !== undefined
  )
    throw new CommandError('BAD_REQUEST', 'A WebSocket handshake must not have a body')
  if (request.headers['sec-websocket-version'] !== '13') {
    throw new CommandError(
      'UPGRADE_REQUIRED',
      'Only version 13 of the WebSocket protocol is supported (header Sec-WebSocket-Version)',
    )
  }
}

export interface ChatHandshake {
  readonly identity: Identity
  readonly subprotocol: string | undefined
}

const chatSubprotocol = 'parley.chat.v1'

/**
 * Authenticates the user of a chat connection, which happens before the upgrade. Throws with status 400, 401
 * or 403. Does not count the connection in the quota.
 */
export async function chatHandshake(
  tenant: TenantRuntime,
  url: EndpointUrl,
  request: IncomingMessage,
): Promise<ChatHandshake> {
  const client = clientIdOf(url)
  const offered = subprotocolsOf(request)
  const token = credentialOf(url, request, offered)
  const identity = await authenticate(tenant, { token, client })
  return { identity, subprotocol: offered[0] === chatSubprotocol ? chatSubprotocol : undefined }
}

/** The codec of a client at the Centrifuge endpoint, and the subprotocol to echo. */
export interface CentrifugeHandshake {
  readonly codec: Codec
  readonly subprotocol: string | undefined
}

/** Clients of both formats may offer a subprotocol or none. A client that offers both gets JSON. */
export function centrifugeHandshake(url: EndpointUrl, request: IncomingMessage): CentrifugeHandshake {
  const offered = subprotocolsOf(request)
  const offers = (codec: Codec): boolean => offered.includes(codec.name)
  if (offers(centrifugeJson)) return { codec: centrifugeJson, subprotocol: centrifugeJson.name }
  if (offers(centrifugeProtobuf)) return { codec: centrifugeProtobuf, subprotocol: centrifugeProtobuf.name }
  const format = url.query.get('format') ?? url.query.get('cf_protocol')
  return { codec: format === 'protobuf' ? centrifugeProtobuf : centrifugeJson, subprotocol: undefined }
}

/** Letters, digits and a few marks, because the id occurs in URLs. */
const clientIdPattern = /^[\w.~@+-]{1,64}$/

function clientIdOf(url: EndpointUrl): string {
  const [fromQuery, ...more] = url.query.getAll('client_id')
  if (more.length > 0 || (fromQuery !== undefined && url.clientId !== '' && fromQuery !== url.clientId)) {
    throw new CommandError(
      'BAD_REQUEST',
      'client_id occurs more than once; send it either in the path or in the query',
    )
  }
  const given = url.clientId === '' ? (fromQuery ?? '') : url.clientId
  if (given === '') return randomClientId()
  if (!clientIdPattern.test(given)) {
    throw new CommandError(
      'BAD_REQUEST',
      'client_id must be 1 to 64 letters, digits and the marks . _ ~ @ + -',
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

/**
 * Returns the token of a user or of a guest, or an empty text. A guest token may be sent wherever a token may
 * be sent, and as `guest_token` in the query.
 */
function credentialOf(url: EndpointUrl, request: IncomingMessage, offered: readonly string[]): string {
  const token = tokenOf(url, request, offered)
  const guestToken = queryValue(url, 'guest_token')
  if (guestToken === '') return token
  if (token !== '')
    throw new CommandError('BAD_REQUEST', 'The request has a token and a guest_token; send one of them')
  if (!isGuestToken(guestToken))
    throw new CommandError(
      'TOKEN_INVALID',
      'guest_token is not a guest token; send the token of a user as token',
    )
  return guestToken
}

/**
 * Reads the token from `Authorization: Bearer`, the second subprotocol, or the query, in this order: headers
 * end up in fewer logs.
 */
function tokenOf(url: EndpointUrl, request: IncomingMessage, offered: readonly string[]): string {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const [scheme = '', token = '', ...rest] = authorization.trim().split(/ +/)
    if (scheme.toLowerCase() !== 'bearer' || token === '' || rest.length > 0) {
      throw new CommandError('UNAUTHORIZED', 'The Authorization header must have the form "Bearer <token>"')
    }
    return token
  }
  if (offered[0] === chatSubprotocol && offered[1] !== undefined) return offered[1]
  return queryValue(url, 'token')
}

/** Returns the value of a parameter of the query, or an empty text. */
function queryValue(url: EndpointUrl, name: string): string {
  const [value = '', ...more] = url.query.getAll(name)
  if (more.length > 0) throw new CommandError('BAD_REQUEST', `${name} occurs more than once in the query`)
  return value
}

function subprotocolsOf(request: IncomingMessage): string[] {
  const header = request.headers['sec-websocket-protocol']
  return header === undefined ? [] : header.split(',').map((entry) => entry.trim())
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new CommandError('BAD_REQUEST', 'The path contains an invalid percent escape')
  }
}
