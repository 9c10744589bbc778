// Who a session speaks for. Made once from a verified token, or for a guest, and again at each refresh.
import type { VerifiedToken } from '../auth/token.js'
import type { ClientInfo } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { AclSubject } from '../tenant/acl.js'
import type { TenantState } from './tenant/runtime.js'

export interface Identity extends AclSubject {
  /** The connection's public name. Several may bear one. */
  readonly client: string
  /** What others see. */
  readonly info: ClientInfo
  /** Unix milliseconds; absent: never. */
  readonly expiresAtMs?: number | undefined
  /** The key that signed the token; absent for guests. */
  readonly keyId?: string | undefined
}

/** No token's subject begins like this, so a guest can never pass for a user. */
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

/** Throws UNAUTHORIZED, TOKEN_INVALID, TOKEN_EXPIRED or TENANT_SUSPENDED. */
export async function authenticate(
  tenant: TenantState,
  credentials: { token: string; client: string },
): Promise<Identity> {
  requireOpen(tenant)
  if (credentials.token !== '') {
    const verified = await tenant.verify(credentials.token)
    // Keys may have had to be fetched.
    requireOpen(tenant)
    return tokenIdentity(credentials.client, verified)
  }
  if (tenant.allowsGuests) return guestIdentity(credentials.client)
  throw new CommandError('UNAUTHORIZED', `The tenant ${tenant.key} lets nobody in without a token; send one`)
}

function requireOpen({ key, policy }: TenantState): void {
  if (policy.suspended)
    throw new CommandError('TENANT_SUSPENDED', `The tenant ${key} is suspended; ask whoever runs it`)
}
