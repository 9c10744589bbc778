// The close codes that depend on the endpoint.
import { closeCodes, withDetail, type CloseCode } from '../protocol/codes.js'
import type { Codec } from '../protocol/commands.js'
import { isOfUser, revocationMessage, type Revocation } from '../tenant/revocations.js'

/**
 * Returns 4001 for the chat protocol, as its documentation says, and 3005 otherwise, on which Centrifuge's
 * SDKs fetch a new token.
 */
export function expiredCode({ name }: Codec): CloseCode {
  return name === 'chat' ? closeCodes.chatTokenExpired : closeCodes.expired
}

/** Like `expiredCode`, but a revoked user gets 3500, after which SDKs do not reconnect. */
export function revokedCode(codec: Codec, revocation: Revocation): CloseCode {
  const final = isOfUser(revocation) && codec.name !== 'chat'
  return withDetail(final ? closeCodes.invalidToken : expiredCode(codec), revocationMessage(revocation))
}
