// Commands of backends about users, on whichever gateway those are connected. A command is sent to all
// gateways, and each applies it to its own sessions.
import { closeCodes, unsubscribeCodes, type CloseCode } from '../../protocol/codes.js'
import { refreshByServer } from '../../session/commands/refresh.js'
import { subscribeByServer } from '../../session/server-subscriptions.js'
import type { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type {
  ConnectionSelector,
  ControlCommand,
  ConnectionUpdate,
  SubscriptionRequest,
} from './control-messages.js'

/** What the user commands need from their gateway. */
export interface UserCommandsDeps {
  /** Resolves when the command is published for every gateway. */
  send(command: ControlCommand): Promise<void>
  /** Finds a tenant by `<namespace>/<name>`. */
  tenant(key: string): TenantRuntime<Session> | undefined
}

type UserCommand = Exclude<ControlCommand, { kind: 'survey' }>

/**
 * Each call resolves when the command is published for every gateway. A gateway that has lost its connection
 * to Redis receives the command if it reconnects within a minute, and not at all later. Rejects like
 * `Broker.publish`.
 */
export class UserCommands {
  readonly #deps: UserCommandsDeps

  constructor(deps: UserCommandsDeps) {
    this.#deps = deps
  }

  /** Closes the selected connections with `code` (default: 3503). The clients may connect again. */
  disconnect(
    tenant: TenantRuntime,
    selector: ConnectionSelector,
    code: CloseCode = closeCodes.forceDisconnect,
  ): Promise<void> {
    return this.#deps.send({ kind: 'disconnect', ...tenantFields(tenant), ...selector, ...code })
  }

  /** Subscribes the selected connections, as if their tokens named the channel. */
  subscribe(
    tenant: TenantRuntime,
    selector: ConnectionSelector,
    request: SubscriptionRequest,
  ): Promise<void> {
    return this.#deps.send({ kind: 'subscribe', ...tenantFields(tenant), ...selector, ...request })
  }

  /** Ends the subscriptions to `channel` with code 2000. The clients may subscribe again. */
  unsubscribe(tenant: TenantRuntime, selector: ConnectionSelector, channel: string): Promise<void> {
    return this.#deps.send({ kind: 'unsubscribe', ...tenantFields(tenant), ...selector, channel })
  }

  /** Changes the expiry or the info of the selected connections. */
  refresh(tenant: TenantRuntime, selector: ConnectionSelector, update: ConnectionUpdate): Promise<void> {
    return this.#deps.send({ kind: 'refresh', ...tenantFields(tenant), ...selector, ...update })
  }

  /** Applies the command to the sessions of this gateway. */
  apply(command: UserCommand): void {
    const tenant = this.#deps.tenant(command.tenant)
    if (tenant?.policy.tenantId !== command.tenantId) return
    for (const session of [...tenant.sessions]) if (isAddressedTo(session, command)) applyTo(session, command)
  }
}

function tenantFields({ key, policy }: TenantRuntime): { tenant: string; tenantId: string } {
  return { tenant: key, tenantId: policy.tenantId }
}

function isAddressedTo(
  { id, identity }: Session,
  { client, except, session, user }: ConnectionSelector,
): boolean {
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
