// The WebSocket endpoints of the tenants: admits handshakes, authenticates clients, and turns an upgrade
// request into a session.
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { CommandError } from '../../errors.js'
import { chatCodec } from '../../protocol/chat/codec.js'
import type { Codec } from '../../protocol/commands.js'
import { connectAuthenticated } from '../../session/commands/connect.js'
import { dispatch } from '../../session/dispatch.js'
import { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type { Gateway } from '../gateway.js'
import { WebSocketUpgrader } from '../websocket.js'
import { ArrivalLimiter, type ArrivalRates } from './arrival-limiter.js'
import { ArrivalPacer } from './arrival-pacer.js'
import type { ClientConnection } from './client-connections.js'
import {
  centrifugeHandshake,
  chatHandshake,
  checkOrigin,
  checkUpgrade,
  type EndpointUrl,
} from './handshake.js'
import type { KnownHosts } from './known-hosts.js'
import type { RequestGate } from './request-gate.js'

/** About the throughput of one core, and a sixth of it for one address. */
export const defaultHandshakeRates = { perSecond: 3_000, perAddress: 500 } as const satisfies ArrivalRates

/** An upgrade request. `gate` keeps the bytes received after it. */
interface UpgradeRequest {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly connection: ClientConnection
  readonly gate: RequestGate
}

export interface WebSocketEndpointsOptions {
  readonly rates: ArrivalRates
  readonly hosts: KnownHosts
}

export class WebSocketEndpoints {
  readonly #gateway: Gateway
  readonly #upgrader = new WebSocketUpgrader()
  readonly #hosts: KnownHosts
  readonly #limiter: ArrivalLimiter
  readonly #pacer: ArrivalPacer

  constructor(gateway: Gateway, { hosts, rates }: WebSocketEndpointsOptions) {
    const { clock, random } = gateway.context
    this.#gateway = gateway
    this.#pacer = new ArrivalPacer({
      scheduler: gateway.context.scheduler,
      workOf: (tenant) => gateway.tenant(tenant)?.work,
    })
    this.#hosts = hosts
    this.#limiter = new ArrivalLimiter(rates, { clock, random, what: 'handshakes' })
  }

  /**
   * Runs the checks of the handshake without an upgrade. A browser cannot read the response to a refused
   * upgrade, so a page can send a plain GET to the same URL to learn the reason.
   */
  async check(url: EndpointUrl, request: IncomingMessage): Promise<void> {
    if (request.method !== 'GET')
      throw new CommandError('METHOD_NOT_ALLOWED', 'A WebSocket handshake must be a GET request')
    const tenant = this.#resolveTenant(url, request)
    if (url.endpoint === 'centrifuge') return
    const { identity } = await chatHandshake(tenant, url, request)
    if (identity.anonymous) this.#hosts.checkGuest(tenant, request.headers)
    await tenant.quota.checkConnection(identity.user)
  }

  /**
   * Opens a session. Resolves without one when the connection ends or is cut meanwhile. Rejects with the
   * error that refuses the handshake; the caller answers it.
   */
  async open(url: EndpointUrl, upgrade: UpgradeRequest): Promise<void> {
    const { connection, gate, request } = upgrade
    checkUpgrade(request)
    const tenant = this.#resolveTenant(url, request)
    const source = { tenant: tenant.key, address: connection.addressOf(request) }
    // Checking tokens takes time and upgrades take memory; the checks so far cost almost nothing.
    this.#limiter.admit(source, this.#pacer.waiting)
    const turn = this.#pacer.waitForTurn(source)
    if (turn) {
      await turn
      if (gate.isCut) return
      this.#recheckTenant(tenant, url, request)
    }
    if (url.endpoint === 'chat') {
      await this.#openChatSession(tenant, url, upgrade)
    } else {
      const { codec, subprotocol } = centrifugeHandshake(url, request)
      this.#openSession(tenant, codec, { ...upgrade, subprotocol })
    }
  }

  /**
   * Makes the checks that need no token and returns the tenant. Throws NOT_FOUND, DRAINING, OVERLOADED or
   * ORIGIN_NOT_ALLOWED.
   */
  #resolveTenant(url: EndpointUrl, request: IncomingMessage): TenantRuntime {
    const { context, draining, sessionsMax } = this.#gateway
    const tenant = this.#gateway.tenant(url.tenantKey)
    if (!tenant) throw new CommandError('NOT_FOUND', `No tenant ${printable(url.tenantKey)} on this gateway`)
    if (draining)
      throw new CommandError(
        'DRAINING',
        'This gateway is shutting down; connect again to reach another one',
        {
          retryAfterMs: 1_000,
        },
      )
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

  /**
   * Repeats the checks after a wait: the tenant may have been removed, or the gateway may have started to
   * drain.
   */
  #recheckTenant(tenant: TenantRuntime, url: EndpointUrl, request: IncomingMessage): void {
    if (this.#resolveTenant(url, request) !== tenant)
      throw new CommandError(
        'NOT_FOUND',
        'The tenant was replaced by another one of the same name; connect again',
      )
  }

  /** Authenticates the client, and upgrades the connection once the tenant's quota has admitted it. */
  async #openChatSession(tenant: TenantRuntime, url: EndpointUrl, upgrade: UpgradeRequest): Promise<void> {
    const { gate, request } = upgrade
    const startedMs = this.#gateway.context.clock.monotonicMs()
    const { identity, subprotocol } = await chatHandshake(tenant, url, request)
    if (identity.anonymous) this.#hosts.checkGuest(tenant, request.headers)
    if (gate.isCut) return
    this.#recheckTenant(tenant, url, request)
    await connectAuthenticated(tenant, identity, {
      startedMs,
      session: () => {
        if (gate.isCut) return undefined
        this.#recheckTenant(tenant, url, request)
        return this.#openSession(tenant, chatCodec, { ...upgrade, subprotocol })
      },
    })
  }

  #openSession(
    tenant: TenantRuntime,
    codec: Codec,
    upgrade: UpgradeRequest & { subprotocol: string | undefined },
  ): Session {
    const { connection, gate, request, socket, subprotocol } = upgrade
    const { host, origin } = request.headers
    let session: Session | undefined
    let refusal = 'The connection closed during the upgrade'
    this.#upgrader.upgrade(request, socket, {
      head: gate.release(),
      subprotocol,
      binary: codec.binary,
      opened: (transport) => {
        session = new Session(this.#gateway.context, {
          tenant,
          codec,
          transport,
          dispatch,
          admission: {
            checkGuest: () => this.#hosts.checkGuest(tenant, { host, origin }),
            onAuthenticated: connection.authenticated,
          },
        })
        transport.listen(session)
      },
      refused: (reason) => void (refusal = `The request is not a valid WebSocket upgrade: ${reason}`),
    })
    if (!session) throw new CommandError('BAD_REQUEST', refusal)
    return session
  }
}

function printable(text: string): string {
  const clean = text.replaceAll(/[^\w./-]/g, '?')
  return clean.length > 130 ? `${clean.slice(0, 130)}…` : clean
}
