// What is to be done about users, wherever they are connected: told to all gateways, carried out by each on its own sessions.
import { closeCodes, unsubscribeCodes, type CloseCode } from '../../protocol/codes.js'
import { refreshByServer } from '../../session/commands/refresh.js'
import { subscribeByServer } from '../../session/server-subscriptions.js'
import type { Session } from '../../session/session.js'
import type { TenantState } from '../../session/tenant/runtime.js'
import type { Connections, Order, Renewal, Subscribing } from './control-messages.js'

/** What the orders need of their gateway. */
export interface OrdersDeps {
  /** Resolves when every gateway will hear it. */
  send(order: Order): Promise<void>
  /** By `<namespace>/<name>`. */
  tenant(key: string): TenantState | undefined
}

type UserOrder = Exclude<Order, { kind: 'survey' }>

/**
 * Each call resolves when every gateway will hear of it; a gateway that Redis has lost from sight hears within a minute or not at all.
 * Rejects like `Broker.publish`.
 */
export class Orders {
  readonly #deps: OrdersDeps

  constructor(deps: OrdersDeps) {
    this.#deps = deps
  }

  /** Ends connections. Nobody is kept from coming back. */
  disconnect(
    tenant: TenantState,
    connections: Connections,
    code: CloseCode = closeCodes.forceDisconnect,
  ): Promise<void> {
    return this.#deps.send({ kind: 'disconnect', ...nameOf(tenant), ...connections, ...code })
  }

  /** Subscribes them as if their tokens named the channel. */
  subscribe(tenant: TenantState, connections: Connections, subscribing: Subscribing): Promise<void> {
    return this.#deps.send({ kind: 'subscribe', ...nameOf(tenant), ...connections, ...subscribing })
  }

  /** Ends subscriptions to `channel` with 2000. Nobody is kept from subscribing again. */
  unsubscribe(tenant: TenantState, connections: Connections, channel: string): Promise<void> {
    return this.#deps.send({ kind: 'unsubscribe', ...nameOf(tenant), ...connections, channel })
  }

  refresh(tenant: TenantState, connections: Connections, renewal: Renewal): Promise<void> {
    return this.#deps.send({ kind: 'refresh', ...nameOf(tenant), ...connections, ...renewal })
  }

  /** On this gateway's own sessions. */
  carryOut(order: UserOrder): void {
    const tenant = this.#deps.tenant(order.tenant)
    if (tenant?.policy.tenantId !== order.tenantId) return
    for (const session of [...tenant.sessions]) if (isMeant(session, order)) obey(session, order)
  }
}

function nameOf({ key, policy }: TenantState): { tenant: string; tenantId: string } {
  return { tenant: key, tenantId: policy.tenantId }
}

function isMeant({ id, identity }: Session, { client, except, session, user }: Connections): boolean {
  return (
    (user === '' ? identity.anonymous : identity.user === user) &&
    (client === undefined || identity.client === client) &&
    (session === undefined || id === session) &&
    !except?.includes(identity.client)
  )
}

function obey(session: Session, order: UserOrder): void {
  switch (order.kind) {
    case 'disconnect':
      return session.close({ code: order.code, reason: order.reason })
    case 'subscribe':
      return subscribeByServer(session, order)
    case 'unsubscribe': {
      const subscription = session.subscriptions.get(order.channel)
      return subscription && session.endSubscription(subscription, unsubscribeCodes.server)
    }
    case 'refresh':
      return refreshByServer(session, order)
  }
}
