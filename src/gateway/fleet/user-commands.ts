// Commands of backends about users, on whichever gateway those are connected. A command is sent to all
// gateways, and each applies it to its own sessions.
import { closeCodes, unsubscribeCodes, type CloseCode } from '../../protocol/codes.js'
import { refreshByServer } from '../../session/commands/refresh.js'
import { subscribeByServer } from '../../session/server-subscriptions.js'
import type { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type {
  ConnectionSelector,
  ConnectionUpdate,
  SubscriptionRequest,
  UserCommand,
} from './control-messages.js'

/** A command to apply, and the sessions that it is for. */
export interface ReceivedCommand {
  readonly command: UserCommand
  /** Only sessions opened before this time, in Unix milliseconds. Absent: all. */
  readonly openedBeforeMs?: number | undefined
}

/**
 * Each call resolves when the command is stored for every gateway that has sessions of the tenant. A gateway
 * that has lost its connection to Redis applies the command when it reconnects: within two minutes the
 * command itself, and later by asking the clients of the tenant to reconnect. Rejects like
 * `CommandSender.send`.
 */
export class UserCommands {
  readonly #send: (tenant: TenantRuntime, command: UserCommand) => Promise<void>

  constructor(send: (tenant: TenantRuntime, command: UserCommand) => Promise<void>) {
    this.#send = send
  }

  /** Closes the selected connections with `code` (default: 3503). The clients may connect again. */
  disconnect(
    tenant: TenantRuntime,
    selector: ConnectionSelector,
    code: CloseCode = closeCodes.forceDisconnect,
  ): Promise<void> {
    return this.#send(tenant, { kind: 'disconnect', ...selector, ...code })
  }

  /** Subscribes the selected connections, as if their tokens named the channel. */
  subscribe(
    tenant: TenantRuntime,
    selector: ConnectionSelector,
    request: SubscriptionRequest,
  ): Promise<void> {
    return this.#send(tenant, { kind: 'subscribe', ...selector, ...request })
  }

  /** Ends the subscriptions to `channel` with code 2000. The clients may subscribe again. */
  unsubscribe(tenant: TenantRuntime, selector: ConnectionSelector, channel: string): Promise<void> {
    return this.#send(tenant, { kind: 'unsubscribe', ...selector, channel })
  }

  /** Changes the expiry or the info of the selected connections. */
  refresh(tenant: TenantRuntime, selector: ConnectionSelector, update: ConnectionUpdate): Promise<void> {
    return this.#send(tenant, { kind: 'refresh', ...selector, ...update })
  }

  /** Applies the commands, in their order, to the sessions of the tenant on this gateway. */
  apply(tenant: TenantRuntime<Session>, received: readonly ReceivedCommand[]): void {
    const byUser = new Map<string, ReceivedCommand[]>()
    for (const one of received) {
      const ofUser = byUser.get(one.command.user)
      if (ofUser) ofUser.push(one)
      else byUser.set(one.command.user, [one])
    }
    // One pass for all commands: a tenant may have tens of thousands of sessions.
    for (const session of [...tenant.sessions]) {
      // A command for another session may have closed it.
      if (session.closed) continue
      for (const { command, openedBeforeMs = Infinity } of commandsFor(session, { received, byUser })) {
        if (session.closed) break
        if (session.openedAtMs < openedBeforeMs && isAddressedTo(session, command)) applyTo(session, command)
      }
    }
  }
}

/** Returns the commands for the user of the session, and for a guest those for all guests, in their order. */
function commandsFor(
  { identity }: Session,
  all: {
    readonly received: readonly ReceivedCommand[]
    readonly byUser: ReadonlyMap<string, readonly ReceivedCommand[]>
  },
): readonly ReceivedCommand[] {
  const forUser = all.byUser.get(identity.user)
  const forGuests = identity.anonymous ? all.byUser.get('') : undefined
  if (!forUser || !forGuests) return forUser ?? forGuests ?? []
  return all.received.filter(({ command: { user } }) => user === '' || user === identity.user)
}

function isAddressedTo({ id, identity }: Session, { client, except, session }: ConnectionSelector): boolean {
  return (
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
