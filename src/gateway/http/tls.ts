// TLS on the clients' port. What is not encrypted, or never gets so far, is cut and counted; what is behaves as on a plain port.
import type { ServerOptions } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { SecureContextOptions, TLSSocket } from 'node:tls'

/** PEM texts that belong together: the certificate with its intermediates, and its key. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** Why a handshake came to nothing. */
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
    // A WebSocket begins as HTTP/1.1; who offers others alone is told in the handshake.
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout: handshakeTimeoutMs,
  })
  // Before Node's own listener, which would have this answered like broken HTTP, into a line that nobody can read.
  server.prependListener('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    onFailure(failureOf(error))
    socket.destroy()
  })
  return server
}

/** Those who come from now on are shown this one; lines that are open stay as they are. */
export function replaceCertificate(server: Server, certificate: Certificate): void {
  server.setSecureContext(contextOf(certificate))
}

function contextOf({ cert, key }: Certificate): SecureContextOptions {
  // Said each time: a new context begins with Node's defaults, and those follow the command line.
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
      // No version or cipher in common, no TLS at all, or the client's verdict on our certificate.
      return 'refused'
  }
}
