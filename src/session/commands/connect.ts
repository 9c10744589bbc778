// Connecting a client: one list of steps for both endpoints.
//
// 1. Authenticate the client.
// 2. Admit it: reserve a connection of the tenant's quota.
// 3. Open the session.
// 4. Subscribe to the channels that the token names (Centrifuge endpoint).
// 5. Reply.
// 6. Subscribe to the automatic channels (chat endpoint).
//
// At the Centrifuge endpoint, the connect command runs all steps (`handleConnect`). The chat endpoint
// authenticates during the WebSocket handshake, where a refusal is an HTTP status, and runs the list from
// step 2 (`connectAuthenticated`); the upgrade is part of step 3.
import { CommandError } from '../../errors.js'
import type { Position } from '../../broker/broker.js'
import { closeCodes, withDetail, type CloseCode } from '../../protocol/codes.js'
import type { ConnectCommand, ConnectReply, ReplyRef, SubscribeReply } from '../../protocol/commands.js'
import { secondsUntil } from '../../time.js'
import { subscribeAutomaticChannels } from '../automatic-channels.js'
import type { Client } from '../client.js'
import { authenticate, guestTokenOf, type Identity } from '../identity.js'
import { chargeTokenSubscriptions, subscribeFromToken } from '../server-subscriptions.js'
import { TokenRevokedError } from '../tenant/revocations.js'
import type { TenantRuntime } from '../tenant/runtime.js'

/**
 * Refusals that close the session with a code: SDKs decide by the code whether to reconnect. The others are
 * answered with an error. A revoked user is closed with 3500; other revoked tokens are answered with error
 * 109, on which SDKs get a new token.
 */
const closesOnRefusal: Readonly<Partial<Record<CommandError['code'], CloseCode>>> = {
  UNAUTHORIZED: closeCodes.badRequest,
  TOKEN_INVALID: closeCodes.invalidToken,
  TENANT_SUSPENDED: closeCodes.permissionDenied,
  CONNECTION_LIMIT: closeCodes.connectionLimit,
}

/** Runs the connect command, from step 1. */
export async function handleConnect(client: Client, command: ConnectCommand, ref: ReplyRef): Promise<void> {
  const { context, tenant } = client
  const startedMs = context.clock.monotonicMs()
  try {
    // 1. Authenticate.
    const identity = await authenticate(tenant, { token: command.token, client: client.id })
    if (client.closed) return
    if (identity.anonymous) client.checkGuest()
    chargeTokenSubscriptions(tenant, identity.claims, { recovers: command.since !== undefined })
    await connectAuthenticated(tenant, identity, {
      startedMs,
      ref,
      since: command.since,
      session: () => (client.closed ? undefined : client),
    })
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    context.metrics.connects.inc({ endpoint: client.codec.name, result: error.code })
    const ofRevokedUser = error instanceof TokenRevokedError && error.ofUser
    const close = ofRevokedUser ? closeCodes.invalidToken : closesOnRefusal[error.code]
    if (!close) {
      client.reject()
      throw error
    }
    tenant.quota.counters.countRefusal(error.code)
    client.close(withDetail(close, error.message))
  }
}

/** One attempt to connect, from step 2 on. */
export interface ConnectAttempt {
  /** When the connect command arrived or the handshake began; monotonic milliseconds. */
  readonly startedMs: number
  readonly ref?: ReplyRef
  /**
   * The client's positions on the channels that its token names, by channel. Absent: the client connects for
   * the first time.
   */
  readonly since?: ReadonlyMap<string, Position> | undefined
  /**
   * Called once the client is admitted. Returns the session to open, or undefined when the client has left.
   * May throw.
   */
  readonly session: () => Client | undefined
}

/**
 * Runs steps 2 to 6 for a client that is authenticated. Rejects with the errors of `TenantQuota.admit` and of
 * `attempt.session`; no connection is reserved then.
 */
export async function connectAuthenticated(
  tenant: TenantRuntime,
  identity: Identity,
  attempt: ConnectAttempt,
): Promise<void> {
  // 2. Admit. The session releases the connection when it closes; without a session it is released here.
  const following = tenant.followCommands()
  await tenant.quota.admit(identity.user)
  // Only the first client of a tenant on this gateway waits here.
  if (following) await following
  let client: Client | undefined
  try {
    client = attempt.session()
  } finally {
    if (!client) tenant.quota.release(identity.user)
  }
  if (!client) return

  // 3. Open. Checks the policy again, which may have changed since step 1.
  client.open(identity)
  if (client.closed) return

  // 4. Subscribe to the channels that the token names. 5. Reply, before the first publication on them.
  if (client.codec.name === 'chat') reply(client, attempt.ref, [])
  else
    await subscribeFromToken(client, attempt.since, (subscriptions) =>
      reply(client, attempt.ref, subscriptions),
    )
  if (client.closed) return
  const { clock, metrics } = client.context
  const endpoint = client.codec.name
  metrics.connects.inc({ endpoint, result: 'ok' })
  metrics.connectSeconds.observe({ endpoint }, (clock.monotonicMs() - attempt.startedMs) / 1000)

  // 6. Subscribe to the automatic channels.
  subscribeAutomaticChannels(client)
}

function reply(client: Client, ref: ReplyRef, subscriptions: readonly SubscribeReply[]): void {
  const { identity, tenant, context } = client
  const { connections, messages, channels } = tenant.policy.limits
  const connectReply: ConnectReply = {
    kind: 'connect',
    client: identity.client,
    user: identity.user,
    guestToken: guestTokenOf(tenant, identity),
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
  client.reply(ref, connectReply)
}
