// Subscription tokens: a tenant's backend allows one user on one channel, whatever the channel rules grant.
import { TokenMismatchError, type VerifiedSubscription } from '../auth/token.js'
import { closeCodes, withDetail } from '../protocol/codes.js'
import type { Client } from './client.js'

/**
 * Verifies a subscription token for this client and channel. Throws TOKEN_INVALID, TOKEN_EXPIRED or
 * TOKEN_REVOKED. A valid token of another user or channel closes the session with 3500 and resolves to
 * undefined: such a client is broken or hostile.
 */
export async function verifySubscriptionToken(
  client: Client,
  channel: string,
  token: string,
): Promise<VerifiedSubscription | undefined> {
  const { identity, tenant } = client
  try {
    const verified = await tenant.tokens.verifySubscription(token, {
      user: identity.user,
      channel,
      client: identity.client,
    })
    tenant.revocations.require(verified)
    return verified
  } catch (error) {
    if (!(error instanceof TokenMismatchError)) throw error
    client.close(withDetail(closeCodes.invalidToken, error.message))
    return undefined
  }
}
