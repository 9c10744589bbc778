// The gateway's HTTP server: tenants' doors, and nothing that trusts a stranger's header, path or patience.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { CommandError, internalError } from '../../errors.js'
import { loggableUrl } from '../../log.js'
import { chatCodec } from '../../protocol/chat/codec.js'
import type { Codec } from '../../protocol/commands.js'
import { welcome } from '../../session/commands/connect.js'
import { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { refuseUpgrade, sendError } from './http-errors.js'
import { Api } from '../api/api.js'
import {
  centrifugeHandshake,
  chatHandshake,
  checkHeaders,
  checkOrigin,
  checkUpgrade,
  parseEndpoint,
  type EndpointRequest,
} from './handshake.js'
import { defaultHandshakesPerSecond, HandshakeLimiter } from './handshake-limiter.js'
import { listen, closeServer } from './listen.js'
import type { Gateway } from '../gateway.js'
import { createTlsServer, replaceCertificate, type Certificate } from './tls.js'
import { HandshakePacer } from './handshake-pacer.js'
import { WebSocketUpgrader } from '../websocket.js'

/** Other pages of the same server: true when it answered. Asked first. */
export type ExtraPages = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>

/** How long a stranger may take. */
export interface ServerTiming {
  /** For the TLS handshake, where there is one. */
  readonly tlsHandshakeTimeoutMs: number
  /** For all headers of a request. */
  readonly headersTimeoutMs: number
  /** From the upgrade request to its answer; a JWKS fetch has 5 s of its own. Also for a whole plain request. */
  readonly handshakeTimeoutMs: number
  readonly keepAliveTimeoutMs: number
  /** How often Node looks for requests that are late. */
  readonly checkIntervalMs: number
}

const defaultServerTiming: ServerTiming = {
  tlsHandshakeTimeoutMs: 5_000,
  headersTimeoutMs: 5_000,
  handshakeTimeoutMs: 10_000,
  keepAliveTimeoutMs: 5_000,
  checkIntervalMs: 1_000,
}

const headerBytesMax = 16 * 1024

export interface GatewayServerOptions {
  readonly extraPages?: ExtraPages | undefined
  readonly timing?: Partial<ServerTiming> | undefined
  /** Clients speak TLS, and are shown this one. Absent: TLS ends before the gateway. */
  readonly certificate?: Certificate | undefined
  readonly handshakesPerSecond?: number
}

export class GatewayServer {
  readonly #gateway: Gateway
  readonly #extraPages: ExtraPages | undefined
  readonly #timing: ServerTiming
  readonly #upgrader = new WebSocketUpgrader()
  readonly #api: Api
  readonly #limiter: HandshakeLimiter
  readonly #pacer = new HandshakePacer()
  readonly #http: Server
  /** The same server, where it speaks TLS. */
  readonly #https: TlsServer | undefined
  /** Requests of a line that are not answered yet. */
  readonly #pendingRequests = new WeakMap<Duplex, number>()

  constructor(gateway: Gateway, options: GatewayServerOptions = {}) {
    this.#gateway = gateway
    this.#api = new Api(gateway)
    this.#limiter = new HandshakeLimiter(options.handshakesPerSecond ?? defaultHandshakesPerSecond, gateway.context)
    this.#extraPages = options.extraPages
    this.#timing = { ...defaultServerTiming, ...options.timing }
    const http = {
      maxHeaderSize: headerBytesMax,
      headersTimeout: this.#timing.headersTimeoutMs,
      requestTimeout: this.#timing.handshakeTimeoutMs,
      keepAliveTimeout: this.#timing.keepAliveTimeoutMs,
      connectionsCheckingInterval: this.#timing.checkIntervalMs,
      noDelay: true,
      // Node would answer without a word.
      requireHostHeader: false,
    }
    const { certificate } = options
    this.#https =
      certificate &&
      createTlsServer(http, {
        certificate,
        handshakeTimeoutMs: this.#timing.tlsHandshakeTimeoutMs,
        onFailure: (reason) => gateway.metrics.tlsHandshakeFailures.inc({ reason }),
      })
    this.#http = this.#https ?? createServer(http)
    // Node would drop what is above the count and go on; `checkHeaders` refuses.
    this.#http.maxHeadersCount = 0
    this.#http.on('request', (request, response) => void this.#onRequest(request, response))
    this.#http.on('upgrade', (request, socket, head) => void this.#onUpgrade(request, socket, head))
    this.#http.on('clientError', (error, socket) => {
      // It comes again with each packet behind the first bad one.
      if (socket.writable) refuseUpgrade(socket, parserError(error))
    })
  }

  /** Port 0 takes a free one; the address tells which. */
  listen(port: number, host: string): Promise<AddressInfo> {
    return listen(this.#http, { port, host })
  }

  /** New connections are shown this one. Only where the server speaks TLS; the pair must be a good one. */
  replaceCertificate(certificate: Certificate): void {
    if (this.#https) replaceCertificate(this.#https, certificate)
  }

  /** Takes no new connections, and cuts what is left after `graceMs`. Drain first. */
  close(options: { graceMs?: number } = {}): Promise<void> {
    return closeServer(this.#http, options.graceMs)
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#countPending(request.socket, 1)
    response.once('close', () => this.#countPending(request.socket, -1))
    try {
      checkHeaders(request)
      if (await this.#extraPages?.(request, response)) return
      if (await this.#api.handle(request, response)) return
      const door = parseEndpoint(request.url ?? '')
      if (!door) throw new CommandError('NOT_FOUND', 'Nothing here; a tenant is at /<namespace>/<name>/ws')
      await this.#checkHandshake(door, request)
      throw new CommandError('UPGRADE_REQUIRED', 'All is well: connect here by WebSocket')
    } catch (error) {
      sendError(response, this.#asCommandError(error, request))
    }
  }

  #countPending(socket: Duplex, change: 1 | -1): void {
    this.#pendingRequests.set(socket, (this.#pendingRequests.get(socket) ?? 0) + change)
  }

  /** A browser cannot read a refused upgrade: a plain GET of the same URL is told what the upgrade would be. */
  async #checkHandshake(door: EndpointRequest, request: IncomingMessage): Promise<void> {
    if (request.method !== 'GET')
      throw new CommandError('METHOD_NOT_ALLOWED', 'A WebSocket begins with a GET request')
    const tenant = this.#resolveTenant(door, request)
    this.#limiter.admit(this.#pacer.waiting)
    if (door.endpoint === 'centrifuge') return
    const { identity } = await chatHandshake(tenant, door, request)
    await tenant.checkConnection(identity.user)
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    // The answers to what came before it on the line would come out among its frames.
    if ((this.#pendingRequests.get(socket) ?? 0) > 0) return void socket.destroy()
    const ignore = (): void => {}
    socket.on('error', ignore)
    const deadline = this.#gateway.context.wheel.after(this.#timing.handshakeTimeoutMs, () =>
      socket.destroy(),
    )
    let door: EndpointRequest | undefined
    try {
      checkHeaders(request)
      door = parseEndpoint(request.url ?? '')
      if (!door) throw new CommandError('NOT_FOUND', 'Nothing here; a tenant is at /<namespace>/<name>/ws')
      checkUpgrade(request)
      const tenant = this.#resolveTenant(door, request)
      // Tokens cost time, and upgrades memory; what was looked at so far is for nothing.
      this.#limiter.admit(this.#pacer.waiting)
      const turn = this.#pacer.waitForTurn()
      if (turn) {
        await turn
        if (socket.destroyed) return
        this.#recheckTenant(tenant, door, request)
      }
      if (door.endpoint === 'chat') {
        await this.#openChatSession(tenant, door, { request, socket, head })
      } else {
        const { codec, subprotocol } = centrifugeHandshake(door, request)
        this.#openSession(tenant, codec, { request, socket, head, subprotocol })
      }
    } catch (error) {
      const refusal = this.#asCommandError(error, request)
      const label = door?.endpoint ?? 'none'
      this.#gateway.metrics.handshakeRefusals.inc({ endpoint: label, code: refusal.code })
      if (door) this.#gateway.tenant(door.tenantKey)?.countRefusal(refusal.code)
      refuseUpgrade(socket, refusal)
    } finally {
      this.#gateway.context.wheel.cancel(deadline)
      socket.off('error', ignore)
      // A refused socket still has to be guarded until it is gone.
      if (!socket.destroyed) socket.on('error', ignore)
    }
  }

  /** What needs no token: the tenant exists, the gateway has room, the page may connect. */
  #resolveTenant(door: EndpointRequest, request: IncomingMessage): TenantRuntime {
    const { context, draining, sessionsMax } = this.#gateway
    const tenant = this.#gateway.tenant(door.tenantKey)
    if (!tenant) throw new CommandError('NOT_FOUND', `There is no tenant ${printable(door.tenantKey)} here`)
    if (draining)
      throw new CommandError('DRAINING', 'This gateway is shutting down; connect again', {
        retryAfterMs: 1_000,
      })
    if (context.sessions.size >= sessionsMax) {
      throw new CommandError(
        'OVERLOADED',
        `This gateway has ${context.sessions.size} of ${sessionsMax} sessions`,
        { retryAfterMs: 5_000 },
      )
    }
    checkOrigin(tenant, request)
    return tenant
  }

  /** The tenant may have gone while something was waited for, or this gateway have begun to. */
  #recheckTenant(tenant: TenantRuntime, door: EndpointRequest, request: IncomingMessage): void {
    if (this.#resolveTenant(door, request) !== tenant)
      throw new CommandError('NOT_FOUND', 'The tenant was replaced by another of its name; connect again')
  }

  /** The place in the quota is taken before the upgrade, and given back when it fails. */
  async #openChatSession(tenant: TenantRuntime, door: EndpointRequest, upgrade: Upgrade): Promise<void> {
    const { request, socket } = upgrade
    const startedMs = this.#gateway.context.clock.monotonicMs()
    const { identity, subprotocol } = await chatHandshake(tenant, door, request)
    if (socket.destroyed) return
    this.#recheckTenant(tenant, door, request)
    await tenant.admit(identity.user)
    let session: Session
    try {
      if (socket.destroyed) return tenant.release(identity.user)
      this.#recheckTenant(tenant, door, request)
      session = this.#openSession(tenant, chatCodec, { ...upgrade, subprotocol })
    } catch (error) {
      tenant.release(identity.user)
      throw error
    }
    welcome(session, identity, startedMs)
  }

  #openSession(tenant: TenantRuntime, codec: Codec, upgrade: Upgrade & { subprotocol: string | undefined }): Session {
    const { head, request, socket, subprotocol } = upgrade
    let session: Session | undefined
    let refusal = 'The connection was lost during the upgrade'
    this.#upgrader.upgrade(request, socket, {
      head,
      subprotocol,
      binary: codec.binary,
      opened: (transport) => {
        session = new Session(this.#gateway.context, { tenant, codec, transport })
        transport.listen(session)
      },
      refused: (reason) => void (refusal = `This is no WebSocket upgrade: ${reason}`),
    })
    if (!session) throw new CommandError('BAD_REQUEST', refusal)
    return session
  }

  #asCommandError(error: unknown, request: IncomingMessage): CommandError {
    if (error instanceof CommandError) return error
    this.#gateway.reportBug(error, 'a request failed', { url: loggableUrl(request.url ?? '') })
    return internalError()
  }
}

interface Upgrade {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
}

/** What Node's parser refuses: each with the status that says why. */
function parserError(error: NodeJS.ErrnoException): CommandError {
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    return new CommandError(
      'HEADERS_TOO_LARGE',
      `The request’s headers and URL have more than ${headerBytesMax} bytes`,
    )
  }
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT')
    // When thousands come at once it may have come, and we have not got round to reading it.
    return new CommandError('REQUEST_TIMEOUT', 'The request did not come whole in time', {
      retryAfterMs: 1_000,
    })
  return new CommandError('BAD_REQUEST', 'This is no HTTP request')
}

function printable(text: string): string {
  const clean = text.replaceAll(/[^\w./-]/g, '?')
  return clean.length > 130 ? `${clean.slice(0, 130)}…` : clean
}
