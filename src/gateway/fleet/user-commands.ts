// What is to be done about users, wherever they are connected: told to all gateways, carried out by each on its own sessions.
import { closeCodes, unsubscribeCodes, type CloseCode } from '../../protocol/codes.js'
import { refreshByServer } from '../../session/commands/refresh.js'
import { subscribeByServer } from '../../session/server-subscriptions.js'
import type { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type { ConnectionSelector, ControlCommand, ConnectionUpdate, SubscriptionRequest } from './control-messages.js'

/** What the orders need of their gateway. */
export interface UserCommandsDeps {
  /** Resolves when every gateway will hear it. */
  send(order: ControlCommand): Promise<void>
  /** By `<namespace>/<name>`. */
  tenant(key: string): TenantRuntime | undefined
}

type UserCommand = Exclude<ControlCommand, { kind: 'survey' }>

/**
 * Each call resolves when every gateway will hear of it; a gateway that Redis has lost from sight hears within a minute or not at all.
 * Rejects like `Broker.publish`.
 */
export class UserCommands {
  readonly #deps: UserCommandsDeps

  constructor(deps: UserCommandsDeps) {
    this.#deps = deps
  }

  /** Ends connections. Nobody is kept from coming back. */
  disconnect(
    tenant: TenantRuntime,
    connections: ConnectionSelector,
    code: CloseCode = closeCodes.forceDisconnect,
  ): Promise<void> {
    return this.#deps.send({ kind: 'disconnect', ...nameOf(tenant), ...connections, ...code })
  }

  /** Subscribes them as if their tokens named the channel. */
  subscribe(tenant: TenantRuntime, connections: ConnectionSelector, subscribing: SubscriptionRequest): Promise<void> {
    return this.#deps.send({ kind: 'subscribe', ...nameOf(tenant), ...connections, ...subscribing })
  }

  /** Ends subscriptions to `channel` with 2000. Nobody is kept from subscribing again. */
  unsubscribe(tenant: TenantRuntime, connections: ConnectionSelector, channel: string): Promise<void> {
    return this.#deps.send({ kind: 'unsubscribe', ...nameOf(tenant), ...connections, channel })
  }

  refresh(tenant: TenantRuntime, connections: ConnectionSelector, renewal: ConnectionUpdate): Promise<void> {
    return this.#deps.send({ kind: 'refresh', ...nameOf(tenant), ...connections, ...renewal })
  }

  /** On this gateway's own sessions. */
  apply(command: UserCommand): void {
    const tenant = this.#deps.tenant(command.tenant)
    if (tenant?.policy.tenantId !== command.tenantId) return
    for (const session of [...tenant.sessions]) if (isAddressedTo(session, command)) applyTo(session, command)
  }
}

function nameOf({ key, policy }: TenantRuntime): { tenant: string; tenantId: string } {
  return { tenant: key, tenantId: policy.tenantId }
}

function isAddressedTo({ id, identity }: Session, { client, except, session, user }: ConnectionSelector): boolean {
  return (
    (user === '' ? identity.anonymous : identity.user === user) &&
    (client === undefined || identity.client === client) &&
    (session === undefined || id === session) &&
    !except?.includes(identity.client)
  )
}

function applyTo(session: Session, command: UserCommand): void {
  switch (command.kind) {
    case 'disconnect':
      return session.close({ code: command.code, reason: command.reason })
    case 'subscribe':
      return subscribeByServer(session, command)
    case 'unsubscribe': {
      const subscription = session.subscriptions.get(command.channel)
      return subscription && session.endSubscription(subscription, unsubscribeCodes.server)
    }
    case 'refresh':
      return refreshByServer(session, command)
  }
}
