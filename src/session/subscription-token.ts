// Subscription tokens: a tenant's backend lets one user into one channel, whatever the rules grant.
import { TokenMismatchError, type VerifiedSubscription } from '../auth/token.js'
import { closeCodes, withReason } from '../protocol/codes.js'
import type { Session } from './session.js'

/** Throws TOKEN_INVALID or TOKEN_EXPIRED. A good token made for another user or channel ends the session (3500): its client is confused or worse. */
export async function verifySubscriptionToken(
  session: Session,
  channel: string,
  token: string,
): Promise<VerifiedSubscription | undefined> {
  const { user, client } = session.identity
  try {
    return await session.tenant.verifySubscription(token, { user, channel, client })
  } catch (error) {
    if (!(error instanceof TokenMismatchError)) throw error
    session.close(withReason(closeCodes.invalidToken, error.message))
    return undefined
  }
}
