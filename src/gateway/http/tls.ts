// TLS on the clients' port. Connections whose handshake fails are closed and counted. After the handshake
// they behave as on a plain port.
import type { ServerOptions } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { SecureContextOptions, TLSSocket } from 'node:tls'

/** A certificate with its intermediates, and its private key, both as PEM text. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** Why a TLS handshake failed; a label of a metric. */
export type TlsHandshakeFailure = 'timeout' | 'cut' | 'plain_http' | 'refused'

export interface ServerTlsOptions {
  readonly certificate: Certificate
  readonly handshakeTimeoutMs: number
  readonly onFailure: (reason: TlsHandshakeFailure) => void
}

export function createTlsServer(
  options: ServerOptions,
  { certificate, handshakeTimeoutMs, onFailure }: ServerTlsOptions,
): Server {
  const server = createServer({
    ...options,
    ...contextOf(certificate),
    // A WebSocket handshake needs HTTP/1.1. A client that offers only other protocols fails in the TLS
    // handshake.
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  })
  // Runs before Node's own listener, which would write an HTTP error into a connection that is not encrypted.
  server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    onFailure(failureOf(error))
    socket.destroy()
  })
  return server
}

/** Uses `certificate` for new connections. Open connections keep theirs. */
export function replaceCertificate(server: Server, certificate: Certificate): void {
  server.setSecureContext(contextOf(certificate))
}

function contextOf({ cert, key }: Certificate): SecureContextOptions {
  // Set on every context: a new one starts with Node's defaults, which command line options can change.
  return { cert, key, minVersion: 'TLSv1.2' }
}

function failureOf({ code }: NodeJS.ErrnoException): TlsHandshakeFailure {
  switch (code) {
    case 'ERR_TLS_HANDSHAKE_TIMEOUT':
      return 'timeout'
    case 'ECONNRESET':
    case 'EPIPE':
      return 'cut'
    case 'ERR_SSL_HTTP_REQUEST':
      return 'plain_http'
    default:
      // No common version or cipher, no TLS at all, or the client rejected the certificate.
      return 'refused'
  }
}
