// From a stranger to a session: by a connect command, or by a handshake that was checked before the upgrade.
import { CommandError } from '../../errors.js'
import { closeCodes, withReason, type CloseCode } from '../../protocol/codes.js'
import type { ConnectCommand, ConnectReply, ReplyRef, SubscribeReply } from '../../protocol/commands.js'
import { secondsUntil } from '../../time.js'
import { authenticate, type Identity } from '../identity.js'
import { subscribeFromToken } from '../server-subscriptions.js'
import type { Session } from '../session.js'

/** Some refusals end the session by code, as the SDKs expect: they decide by the number whether to come back. */
const closesOnRefusal: Readonly<Partial<Record<CommandError['code'], CloseCode>>> = {
  UNAUTHORIZED: closeCodes.badRequest,
  TOKEN_INVALID: closeCodes.invalidToken,
  TENANT_SUSPENDED: closeCodes.permissionDenied,
  CONNECTION_LIMIT: closeCodes.connectionLimit,
}

export async function connect(session: Session, command: ConnectCommand, ref: ReplyRef): Promise<void> {
  const { clock, metrics } = session.context
  const startedMs = clock.monotonicMs()
  const endpoint = session.codec.name
  try {
    const identity = await authenticate(session.tenant, { token: command.token, client: session.id })
    if (session.closed) return
    await session.tenant.admit(identity.user)
    if (session.closed) return session.tenant.release(identity.user)
    session.open(identity)
    if (session.closed) return
    await subscribeFromToken(session, command.since, (subscriptions) =>
      session.reply(ref, connectReply(session, subscriptions)),
    )
    if (session.closed) return
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    metrics.connects.inc({ endpoint, result: error.code })
    const close = closesOnRefusal[error.code]
    if (!close) {
      session.turnAway()
      throw error
    }
    session.tenant.countRefusal(error.code)
    return session.close(withReason(close, error.message))
  }
  metrics.connects.inc({ endpoint, result: 'ok' })
  metrics.connectSeconds.observe({ endpoint }, (clock.monotonicMs() - startedMs) / 1000)
}

/**
 * The chat door: the handshake has verified the token and `tenant.admit`ted the user; here the session begins. `startedMs`: when the
 * handshake did, by the monotonic clock.
 */
export function welcome(session: Session, identity: Identity, startedMs: number): void {
  session.open(identity)
  if (session.closed) return
  session.reply(undefined, connectReply(session, []))
  const { clock, metrics } = session.context
  metrics.connects.inc({ endpoint: session.codec.name, result: 'ok' })
  metrics.connectSeconds.observe({ endpoint: session.codec.name }, (clock.monotonicMs() - startedMs) / 1000)
}

function connectReply(session: Session, subscriptions: readonly SubscribeReply[]): ConnectReply {
  const { identity, tenant, context } = session
  const { connections, messages, channels } = tenant.policy.limits
  return {
    kind: 'connect',
    client: identity.client,
    user: identity.user,
    expiresInS: secondsUntil(identity.expiresAtMs, context.clock.epochMs()),
    pingIntervalS: Math.round(context.limits.heartbeat.pingIntervalMs / 1000),
    subscriptions,
    limits: {
      messageBytes: messages.maxBytes,
      publishPerSecond: messages.publishPerSecond,
      subscriptions: channels.maxSubscriptionsPerConnection,
      commandsPerSecond: connections.commandsPerSecond,
    },
  }
}
