// New tokens for old, while connected: nobody is cut off for having stayed.
import { CommandError } from '../../errors.js'
import { closeCodes, withReason } from '../../protocol/codes.js'
import type { Command, ReplyRef } from '../../protocol/commands.js'
import { secondsUntil } from '../../time.js'
import { tokenIdentity } from '../identity.js'
import type { Session } from '../session.js'
import { sameChannels } from '../server-subscriptions.js'
import { expireAt } from './subscribe.js'
import { verifySubscriptionToken } from '../subscription-token.js'

/** Expired: 3005, the client gets another token. Bad or of another user: 3500, for good. */
export async function refresh(
  session: Session,
  command: Extract<Command, { kind: 'refresh' }>,
  ref: ReplyRef,
): Promise<void> {
  const { identity, tenant, context } = session
  if (command.token === '') return session.close(withReason(closeCodes.badRequest, 'refresh without a token'))
  try {
    const verified = await tenant.verify(command.token)
    if (session.closed) return
    if (verified.user !== identity.user) {
      return session.close(withReason(closeCodes.invalidToken, 'the new token is of another user'))
    }
    if (!sameChannels(identity.claims, verified.claims)) {
      return session.close(
        withReason(closeCodes.insufficientState, 'the new token subscribes to other channels'),
      )
    }
    session.renew(tokenIdentity(identity.client, verified))
    if (session.closed) return
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    return session.close(
      withReason(
        error.code === 'TOKEN_EXPIRED' ? closeCodes.expired : closeCodes.invalidToken,
        error.message,
      ),
    )
  }
  const expiresInS = secondsUntil(session.identity.expiresAtMs, context.clock.epochMs())
  session.reply(ref, { kind: 'refresh', client: identity.client, expiresInS })
}

/** What the tenant's backend says of a connection. What is absent stays as it is. */
export interface ServerRenewal {
  readonly expired?: boolean | undefined
  readonly expiresAtMs?: number | undefined
  /** JSON text that others see, in subscriptions from now on. */
  readonly info?: string | undefined
}

/** As if a new token had come. Expired, also in the past: 3005. */
export function refreshByServer(session: Session, renewal: ServerRenewal): void {
  const { clock } = session.context
  const { identity } = session
  const { expiresAtMs = identity.expiresAtMs, expired = false, info } = renewal
  const nowMs = clock.epochMs()
  if (expired || (renewal.expiresAtMs ?? Infinity) <= nowMs) return session.expire()
  const shown = info === undefined ? identity.info : { ...identity.info, info: Buffer.from(info) }
  session.renew({ ...identity, expiresAtMs, info: shown })
  if (session.closed) return
  const payload = session.codec.refreshed(secondsUntil(expiresAtMs, nowMs))
  if (payload) session.push({ payload })
}

/** An expired token changes nothing and closes with 3006: an error reply would end the subscription for good in the SDKs. */
export async function refreshSubscription(
  session: Session,
  command: Extract<Command, { kind: 'subRefresh' }>,
  ref: ReplyRef,
): Promise<void> {
  const subscription = session.subscriptions.get(command.channel)
  if (!subscription || subscription.serverSide)
    throw new CommandError('NOT_SUBSCRIBED', `This connection is not subscribed to "${command.channel}"`)
  if (command.token === '')
    throw new CommandError('BAD_REQUEST', 'A subscription is refreshed with a token; none came')
  const { clock } = session.context
  try {
    const verified = await verifySubscriptionToken(session, command.channel, command.token)
    if (!verified || subscription.ended) return
    expireAt(subscription, verified.expiresAtMs)
    session.reply(ref, {
      kind: 'subRefresh',
      channel: command.channel,
      expiresInS: secondsUntil(verified.expiresAtMs, clock.epochMs()),
    })
  } catch (error) {
    if (!(error instanceof CommandError) || error.code !== 'TOKEN_EXPIRED') throw error
    session.close(withReason(closeCodes.subscriptionExpired, error.message))
  }
}
