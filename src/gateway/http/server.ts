// The HTTP server for clients: WebSocket endpoints of the tenants, the server API, and optional extra pages.
// It limits the size and the duration of every request, because any host on the network can send one.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError, internalError } from '../../errors.js'
import { loggableUrl } from '../../log.js'
import type { Gateway } from '../gateway.js'
import type { ArrivalRates } from './arrival-limiter.js'
import { TrustedProxies } from './client-address.js'
import { ClientConnections } from './client-connections.js'
import { checkHeaders, endpointUrlOf, type EndpointUrl } from './handshake.js'
import { refuseUpgrade, whenClosed } from './http-errors.js'
import { KnownHosts } from './known-hosts.js'
import { closeServer, listen } from './listen.js'
import { defaultRequestRates, PlainRequests, type ExtraPages } from './plain-requests.js'
import { createTlsServer, replaceCertificate, type Certificate } from './tls.js'
import { defaultHandshakeRates, WebSocketEndpoints } from './websocket-endpoints.js'

/** The time limits for clients. A connection that exceeds one is cut, or answered with 408. */
export interface ServerTiming {
  /** The limit for the TLS handshake, when the server speaks TLS. Default: 5 s. */
  readonly tlsHandshakeTimeoutMs: number
  /** The limit for receiving all headers of a request. Default: 5 s. */
  readonly headersTimeoutMs: number
  /**
   * The limit from an upgrade request to its response, and for receiving a whole plain request. A JWKS fetch
   * has its own limit of 5 s. Default: 10 s.
   */
  readonly handshakeTimeoutMs: number
  /** The limit for the next request on an idle connection. Default: 5 s. */
  readonly keepAliveTimeoutMs: number
  /** The limit for the client to read the response to a plain request. Default: 8 s. */
  readonly responseTimeoutMs: number
  /**
   * The time before the response to a client above the rate of its address. One that waits for it sends less.
   * Default: 1 s.
   */
  readonly refusalDelayMs: number
  /** How often Node checks for requests past their deadline. Default: 1 s. */
  readonly checkIntervalMs: number
}

const defaultServerTiming: ServerTiming = {
  tlsHandshakeTimeoutMs: 5_000,
  headersTimeoutMs: 5_000,
  handshakeTimeoutMs: 10_000,
  keepAliveTimeoutMs: 5_000,
  responseTimeoutMs: 8_000,
  refusalDelayMs: 1_000,
  checkIntervalMs: 1_000,
}

const headerBytesMax = 16 * 1024

export interface GatewayServerOptions {
  readonly extraPages?: ExtraPages | undefined
  readonly timing?: Partial<ServerTiming> | undefined
  /** The server certificate. Absent: the server does not speak TLS, because a proxy terminates it. */
  readonly certificate?: Certificate | undefined
  /**
   * WebSocket handshakes accepted per second; more are refused with OVERLOADED, or with ADDRESS_LIMIT when
   * they come from one address. Default: `defaultHandshakeRates`.
   */
  readonly handshakeRates?: ArrivalRates | undefined
  /** The same for all other requests, except calls of the server API. Default: `defaultRequestRates`. */
  readonly requestRates?: ArrivalRates | undefined
  /** Addresses and networks of the proxies that report the addresses of their clients. Default: none. */
  readonly trustedProxies?: readonly string[] | undefined
  /**
   * True: the trusted proxies begin each connection with a header of the PROXY protocol, version 2. Default:
   * false.
   */
  readonly proxyProtocol?: boolean | undefined
  /** The host names of pages from which guests may connect; see `KnownHosts`. Default: none. */
  readonly publicHosts?: readonly string[] | undefined
}

export class GatewayServer {
  readonly #gateway: Gateway
  readonly #timing: ServerTiming
  readonly #connections: ClientConnections
  readonly #requests: PlainRequests
  readonly #endpoints: WebSocketEndpoints
  readonly #http: Server
  /** The same server as `#http`, when it speaks TLS. */
  readonly #https: TlsServer | undefined

  constructor(gateway: Gateway, options: GatewayServerOptions = {}) {
    const { metrics } = gateway
    this.#gateway = gateway
    this.#timing = { ...defaultServerTiming, ...options.timing }
    this.#connections = new ClientConnections({
      proxies: new TrustedProxies(options.trustedProxies ?? []),
      proxyProtocol: options.proxyProtocol ?? false,
      sockets: gateway.unauthenticatedSockets,
      proxyHeaderTimeoutMs: this.#timing.headersTimeoutMs,
      onCut: (reason) => metrics.cutConnections.inc({ reason }),
    })
    this.#endpoints = new WebSocketEndpoints(gateway, {
      rates: options.handshakeRates ?? defaultHandshakeRates,
      hosts: new KnownHosts(options.publicHosts ?? []),
    })
    this.#requests = new PlainRequests(gateway, {
      rates: options.requestRates ?? defaultRequestRates,
      extraPages: options.extraPages,
      checkEndpoint: (url, request) => this.#endpoints.check(url, request),
      refusalDelayMs: this.#timing.refusalDelayMs,
      toRefusal: (error, request) => this.#asCommandError(error, request),
    })
    const http = {
      maxHeaderSize: headerBytesMax,
      headersTimeout: this.#timing.headersTimeoutMs,
      requestTimeout: this.#timing.handshakeTimeoutMs,
      keepAliveTimeout: this.#timing.keepAliveTimeoutMs,
      connectionsCheckingInterval: this.#timing.checkIntervalMs,
      noDelay: true,
      // Node would answer with an empty body; `checkHeaders` answers with a message.
      requireHostHeader: false,
    }
    const { certificate } = options
    this.#https =
      certificate &&
      createTlsServer(http, {
        certificate,
        handshakeTimeoutMs: this.#timing.tlsHandshakeTimeoutMs,
        onFailure: (reason) => metrics.tlsHandshakeFailures.inc({ reason }),
      })
    this.#http = this.#https ?? createServer(http)
    this.#connections.intercept(this.#http, this.#https)
    // Node would silently drop headers above the limit; `checkHeaders` refuses the request instead.
    this.#http.maxHeadersCount = 0
    // A client may close its side after the request. Node would then close the other side before the
    // response.
    Object.assign(this.#http, { httpAllowHalfOpen: true })
    this.#http.on('request', (request, response) => void this.#onRequest(request, response))
    // Node would answer these itself, and parse the next request meanwhile.
    this.#http.on('checkExpectation', (request, response) => void this.#onRequest(request, response))
    this.#http.on('upgrade', (request, socket, head) => void this.#onUpgrade(request, socket, head))
    this.#http.on('clientError', (error, socket) => {
      // Node emits this again for each packet that follows the first bad one.
      if (!socket.writable) return
      this.#connections.take(socket)?.gate?.release()
      refuseUpgrade(socket, parserError(error))
    })
  }

  /**
   * Opens the port; 0 takes a free one. Resolves to the address. Rejects with the system's error (EADDRINUSE,
   * EACCES).
   */
  listen(port: number, host: string): Promise<AddressInfo> {
    return listen(this.#http, { port, host })
  }

  /**
   * Uses `certificate` for new connections. Does nothing when the server does not speak TLS. Throws when
   * certificate and key are not valid.
   */
  replaceCertificate(certificate: Certificate): void {
    if (this.#https) replaceCertificate(this.#https, certificate)
  }

  /** Stops accepting connections and cuts the remaining ones after `graceMs` (default: 0). Drain first. */
  close(options: { graceMs?: number } = {}): Promise<void> {
    return closeServer(this.#http, options.graceMs)
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const connection = this.#connections.of(request.socket)
    if (!connection?.gate?.begin(request, response)) return
    const { gate } = connection
    await this.#requests.handle({ request, response }, connection)
    const { wheel } = this.#gateway.context
    const deadline = wheel.after(this.#timing.responseTimeoutMs, () => gate.cut('unread_response'))
    whenClosed(response, () => {
      wheel.cancel(deadline)
      connection.answered()
    })
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const connection = this.#connections.take(socket)
    // Responses to earlier requests on this connection would be written between the frames of the WebSocket.
    if (!connection?.gate?.beginUpgrade(head)) return
    const { gate } = connection
    const ignore = (): void => {}
    socket.on('error', ignore)
    const deadline = this.#gateway.context.wheel.after(this.#timing.handshakeTimeoutMs, () =>
      socket.destroy(),
    )
    let url: EndpointUrl | undefined
    try {
      checkHeaders(request)
      url = endpointUrlOf(request)
      await this.#endpoints.open(url, { request, socket, connection, gate })
    } catch (error) {
      const refusal = this.#asCommandError(error, request)
      const label = url?.endpoint ?? 'none'
      this.#gateway.metrics.handshakeRefusals.inc({ endpoint: label, code: refusal.code })
      if (url) this.#gateway.tenant(url.tenantKey)?.quota.counters.countRefusal(refusal.code)
      if (refusal.code === 'ADDRESS_LIMIT') await sleep(this.#timing.refusalDelayMs)
      if (gate.isCut) return
      gate.release()
      refuseUpgrade(socket, refusal)
    } finally {
      this.#gateway.context.wheel.cancel(deadline)
      socket.off('error', ignore)
      // A refused socket still needs an error listener until it is closed.
      if (!socket.destroyed) socket.on('error', ignore)
    }
  }

  #asCommandError(error: unknown, request: IncomingMessage): CommandError {
    if (error instanceof CommandError) return error
    this.#gateway.reportBug(error, 'a request failed', { url: loggableUrl(request.url ?? '') })
    return internalError()
  }
}

/** Translates an error of Node's HTTP parser into the error that the client receives. */
function parserError(error: NodeJS.ErrnoException): CommandError {
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    return new CommandError(
      'HEADERS_TOO_LARGE',
      `The headers and URL of the request exceed ${headerBytesMax} bytes`,
    )
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    // Under thousands of simultaneous handshakes, the request may have arrived without being read yet.
    return new CommandError('REQUEST_TIMEOUT', 'The request was not complete within the time limit', {
      retryAfterMs: 1_000,
    })
  return new CommandError('BAD_REQUEST', 'The request is not valid HTTP')
}
