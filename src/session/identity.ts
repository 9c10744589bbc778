// The user that a session acts for. It is made from a verified token or for a guest, and replaced at each
// token refresh.
import type { VerifiedToken } from '../auth/token.js'
import type { ClientInfo } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { AclSubject } from '../tenant/acl.js'
import type { TenantRuntime } from './tenant/runtime.js'

export interface Identity extends AclSubject {
  /** The client's public name. Several connections may share one. */
  readonly client: string
  /** The information that other clients see of this client. */
  readonly info: ClientInfo
  /** Milliseconds since the epoch. Absent: the identity never expires. */
  readonly expiresAtMs?: number | undefined
  /** The key that signed the token. Absent for guests. */
  readonly keyId?: string | undefined
}

/** User ids in tokens must not begin with this prefix, so a guest and a user never have the same id. */
const guestPrefix = 'guest:'

function guestIdentity(client: string): Identity {
  const user = guestPrefix + client
  return { client, user, anonymous: true, roles: [], claims: {}, info: { user, client } }
}

export function tokenIdentity(client: string, token: VerifiedToken): Identity {
  const { user, name, roles, claims, info, expiresAtMs, keyId } = token
  return {
    client,
    user,
    anonymous: false,
    roles,
    claims,
    expiresAtMs,
    keyId,
    info: { user, client, name, info },
  }
}

/**
 * Verifies the token, or admits a guest when `token` is empty and the tenant allows guests. Throws
 * UNAUTHORIZED, TOKEN_INVALID, TOKEN_EXPIRED or TENANT_SUSPENDED.
 */
export async function authenticate(
  tenant: TenantRuntime,
  credentials: { token: string; client: string },
): Promise<Identity> {
  requireActive(tenant)
  if (credentials.token !== '') {
    const verified = await tenant.tokens.verify(credentials.token)
    // The tenant may have been suspended while its keys were fetched.
    requireActive(tenant)
    return tokenIdentity(credentials.client, verified)
  }
  if (tenant.tokens.allowsGuests) return guestIdentity(credentials.client)
  throw new CommandError(
    'UNAUTHORIZED',
    `The tenant ${tenant.key} does not accept connections without a token; connect with one`,
  )
}

function requireActive({ key, policy }: TenantRuntime): void {
  if (policy.suspended)
    throw new CommandError(
      'TENANT_SUSPENDED',
      `The tenant ${key} is suspended; ask the operator of the platform`,
    )
}
