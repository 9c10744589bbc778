// The user that a session acts for. It is made from a verified token or for a guest, and replaced at each
// token refresh.
import { isGuestToken, newGuestId } from '../auth/guest-token.js'
import type { VerifiedToken } from '../auth/token.js'
import type { ClientInfo } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { AclSubject } from '../tenant/acl.js'
import type { TokenFacts } from '../tenant/revocations.js'
import { guestPrefix } from '../tenant/user.js'
import type { TenantRuntime } from './tenant/runtime.js'

export interface Identity extends AclSubject, TokenFacts {
  /** The client's public name. It only labels the connection: several connections may share one. */
  readonly client: string
  /** The information that other clients see of this client. */
  readonly info: ClientInfo
  /** Milliseconds since the epoch. Absent: the identity never expires. */
  readonly expiresAtMs?: number | undefined
  /** The key that signed the token. Absent for guests. */
  readonly keyId?: string | undefined
}

/** `guestId` is issued by the server. A client cannot choose it. */
function guestIdentity(client: string, guestId: string): Identity {
  const user = guestPrefix + guestId
  return { client, user, anonymous: true, roles: [], claims: {}, info: { user, client } }
}

export function tokenIdentity(client: string, token: VerifiedToken): Identity {
  const { user, name, roles, claims, info, expiresAtMs, keyId, issuedAtMs, jti, tokenExpiresAtMs } = token
  return {
    client,
    user,
    anonymous: false,
    roles,
    claims,
    expiresAtMs,
    keyId,
    jti,
    issuedAtMs,
    tokenExpiresAtMs,
    info: { user, client, name, info },
  }
}

/** Returns a new guest token for a guest, and undefined for a user. */
export function guestTokenOf({ guests }: TenantRuntime, { anonymous, user }: Identity): string | undefined {
  return anonymous ? guests.issue(user.slice(guestPrefix.length)) : undefined
}

/**
 * Verifies the token of a user, or admits a guest when the tenant allows guests. The bearer of a guest token
 * is the guest that it was issued to. When it has expired, or when `token` is empty, the client is a new
 * guest. Throws UNAUTHORIZED, TOKEN_INVALID, TOKEN_EXPIRED, TOKEN_REVOKED, TENANT_SUSPENDED, or
 * BROKER_UNAVAILABLE while the revocations cannot be read.
 */
export async function authenticate(
  tenant: TenantRuntime,
  credentials: { token: string; client: string },
): Promise<Identity> {
  requireActive(tenant)
  const reading = tenant.revocations.current()
  if (reading) await reading
  const identity = await identify(tenant, credentials)
  tenant.revocations.require(identity)
  return identity
}

async function identify(
  tenant: TenantRuntime,
  credentials: { token: string; client: string },
): Promise<Identity> {
  const { client, token } = credentials
  if (token !== '' && !isGuestToken(token)) {
    const verified = await tenant.tokens.verify(token)
    // The tenant may have been suspended while its keys were fetched.
    requireActive(tenant)
    return tokenIdentity(client, verified)
  }
  if (tenant.tokens.allowsGuests) {
    const returning = token === '' ? undefined : tenant.guests.read(token)
    return guestIdentity(client, returning ?? newGuestId())
  }
  throw new CommandError(
    'UNAUTHORIZED',
    `The tenant ${tenant.key} does not admit guests; connect with the token of a user`,
  )
}

function requireActive({ key, policy }: TenantRuntime): void {
  if (policy.suspended)
    throw new CommandError(
      'TENANT_SUSPENDED',
      `The tenant ${key} is suspended; ask the operator of the platform`,
    )
}
