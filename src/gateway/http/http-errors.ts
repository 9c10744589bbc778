// Writes JSON responses and errors over HTTP. Errors have one format, before an upgrade and without one.
import type { ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { type CommandError, errorCodes } from '../../errors.js'

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  sendJsonBytes(response, status, Buffer.from(JSON.stringify(body)))
}

export function sendJsonBytes(response: ServerResponse, status: number, json: Uint8Array): void {
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': json.byteLength,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(json)
}

/** Calls `done` when the response is sent, or when its client has left. */
export function whenClosed(response: ServerResponse, done: () => void): void {
  if (response.closed) done()
  else response.once('close', done)
}

/** What an endpoint requires, for the headers of its errors. */
export interface EndpointRequirements {
  /** The scheme of HTTP authentication, for `WWW-Authenticate`. */
  readonly scheme: string
  /** The allowed method, for `Allow`. */
  readonly method: string
}

const webSocketEndpoint: EndpointRequirements = { scheme: 'Bearer', method: 'GET' }

export function sendError(response: ServerResponse, error: CommandError, endpoint = webSocketEndpoint): void {
  // Part of a response is sent already: closing the connection is the only way to signal the failure.
  if (response.headersSent) return void response.destroy()
  for (const [name, value] of Object.entries(errorHeaders(error, endpoint))) response.setHeader(name, value)
  sendJson(response, errorCodes[error.code].http, { code: error.code, message: error.message })
}

/** The time that a refused client has to read the response and close the connection. */
const lingerMs = 1_000
/** What is read and discarded meanwhile. A client that sends more does not wait for the response. */
const discardedBytesMax = 65_536

/**
 * Writes the same error to the socket of an upgrade request, or of a request that is not valid HTTP, and
 * closes it.
 */
export function refuseUpgrade(socket: Duplex, error: CommandError): void {
  if (!socket.writable) return void socket.destroy()
  const status = errorCodes[error.code].http
  const body = JSON.stringify({ code: error.code, message: error.message })
  const headers = {
    ...errorHeaders(error, webSocketEndpoint),
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('\r\n')}\r\n\r\n${body}`)
  // Further bytes are read and discarded: closing at once would reset the connection, and the client could
  // lose the response.
  let discardedBytes = 0
  socket.on('data', ({ byteLength }: Buffer) => {
    discardedBytes += byteLength
    if (discardedBytes > discardedBytesMax) socket.pause()
  })
  socket.resume()
  const cut = setTimeout(() => socket.destroy(), lingerMs)
  socket.once('close', () => clearTimeout(cut))
}

/** Converts to whole seconds, at least 1, for the header Retry-After. */
export function retryAfterS(retryAfterMs: number): number {
  return Math.max(1, Math.ceil(retryAfterMs / 1000))
}

function errorHeaders(error: CommandError, endpoint: EndpointRequirements): Record<string, string> {
  const headers: Record<string, string> = {}
  if (error.retryAfterMs !== undefined) headers['retry-after'] = String(retryAfterS(error.retryAfterMs))
  if (error.code === 'UPGRADE_REQUIRED')
    Object.assign(headers, { upgrade: 'websocket', 'sec-websocket-version': '13' })
  if (error.code === 'UNAUTHORIZED' || error.code.startsWith('TOKEN_'))
    headers['www-authenticate'] = endpoint.scheme
  if (error.code === 'METHOD_NOT_ALLOWED') headers['allow'] = endpoint.method
  return headers
}
