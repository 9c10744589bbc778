// Replacing a token while connected, so that a client does not lose its connection when its token expires.
import { CommandError } from '../../errors.js'
import { closeCodes, withDetail, type CloseCode } from '../../protocol/codes.js'
import type { Command, ReplyRef } from '../../protocol/commands.js'
import { secondsUntil } from '../../time.js'
import type { Client } from '../client.js'
import { tokenIdentity } from '../identity.js'
import { sameChannels } from '../server-subscriptions.js'
import { TokenRevokedError } from '../tenant/revocations.js'
import { verifySubscriptionToken } from '../subscription-token.js'
import { expireAt } from './subscribe.js'

/**
 * Replaces the connection token. An expired or revoked token closes the session with 3005, and the client
 * fetches another one. A token that is invalid, or of another or a revoked user, closes it with 3500, and the
 * client does not reconnect.
 */
export async function handleRefresh(
  client: Client,
  command: Extract<Command, { kind: 'refresh' }>,
  ref: ReplyRef,
): Promise<void> {
  const { identity, tenant, context } = client
  if (command.token === '') return client.close(withDetail(closeCodes.badRequest, 'refresh without a token'))
  try {
    const verified = await tenant.tokens.verify(command.token)
    if (client.closed) return
    tenant.revocations.require(verified)
    if (verified.user !== identity.user) {
      return client.close(withDetail(closeCodes.invalidToken, 'the new token is for another user'))
    }
    if (!sameChannels(identity.claims, verified.claims)) {
      return client.close(
        withDetail(closeCodes.insufficientState, 'the new token subscribes to other channels'),
      )
    }
    client.renew(tokenIdentity(identity.client, verified))
    if (client.closed) return
  } catch (error) {
    // After a temporary error the client repeats the refresh.
    if (!(error instanceof CommandError) || error.temporary) throw error
    tenant.quota.counters.countRefusal(error.code)
    return client.close(withDetail(closeCodeOf(error), error.message))
  }
  const expiresInS = secondsUntil(client.identity.expiresAtMs, context.clock.epochMs())
  client.reply(ref, { kind: 'refresh', client: identity.client, expiresInS })
}

/** An expired token, and a revoked one of a user who is not, make the client fetch another one. */
function closeCodeOf(error: CommandError): CloseCode {
  const another = error instanceof TokenRevokedError ? !error.ofUser : error.code === 'TOKEN_EXPIRED'
  return another ? closeCodes.expired : closeCodes.invalidToken
}

/** A change of a connection that the tenant's backend asks for. Absent fields stay as they are. */
export interface ServerRenewal {
  readonly expired?: boolean | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAtMs?: number | undefined
  /** JSON text that other clients see of this client, in subscriptions from now on. */
  readonly info?: string | undefined
}

/**
 * Changes the connection as a refreshed token would. `expired`, or an expiry in the past, closes the session:
 * with 3005, or with 4001 at the chat endpoint.
 */
export function refreshByServer(client: Client, renewal: ServerRenewal): void {
  const { clock } = client.context
  const { identity } = client
  const { expiresAtMs = identity.expiresAtMs, expired = false, info } = renewal
  const nowMs = clock.epochMs()
  if (expired || (renewal.expiresAtMs ?? Infinity) <= nowMs) return client.expire()
  const newInfo = info === undefined ? identity.info : { ...identity.info, info: Buffer.from(info) }
  client.renew({ ...identity, expiresAtMs, info: newInfo })
  if (client.closed) return
  const payload = client.codec.refreshed(secondsUntil(expiresAtMs, nowMs))
  if (payload) client.push({ payload })
}

const renewable: ReadonlySet<string> = new Set(['TOKEN_EXPIRED', 'TOKEN_REVOKED'])

/**
 * Replaces the token of a subscription. An expired or revoked token closes the session with 3006: an error
 * reply would make SDKs end the subscription for good.
 */
export async function handleSubscriptionRefresh(
  client: Client,
  command: Extract<Command, { kind: 'subRefresh' }>,
  ref: ReplyRef,
): Promise<void> {
  const subscription = client.subscriptions.get(command.channel)
  if (!subscription || subscription.serverSide)
    throw new CommandError('NOT_SUBSCRIBED', `This connection is not subscribed to "${command.channel}"`)
  if (command.token === '')
    throw new CommandError('BAD_REQUEST', 'The refresh of a subscription needs a token; none was sent')
  const { clock } = client.context
  try {
    const verified = await verifySubscriptionToken(client, command.channel, command.token)
    if (!verified || subscription.ended) return
    subscription.holdToken(verified)
    expireAt(client, subscription, verified.expiresAtMs)
    client.reply(ref, {
      kind: 'subRefresh',
      channel: command.channel,
      expiresInS: secondsUntil(verified.expiresAtMs, clock.epochMs()),
    })
  } catch (error) {
    if (!(error instanceof CommandError) || !renewable.has(error.code)) throw error
    client.close(withDetail(closeCodes.subscriptionExpired, error.message))
  }
}
