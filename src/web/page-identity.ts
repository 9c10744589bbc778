// The user of this tab. It is stored in sessionStorage, which belongs to one tab, so that two tabs can be two
// users.
import { removeItem, loadItem, saveItem } from './tab-storage.js'

/** Claims of the token besides the user. The tenant's channel rules decide what they grant. */
export type IdentityClaims = Readonly<Record<string, string | readonly string[]>>

export interface PageIdentity {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  /** Undefined for a guest, whose id the gateway issues. */
  readonly user: string | undefined
  readonly claims: IdentityClaims
}

const key = 'identity'

/**
 * Parses `tenant=demo/acme&user=ada&team=red&role=moderator` or `tenant=demo/acme&guest`. `role` can be
 * repeated and becomes the claim `roles`; every other field becomes a claim of its name. Undefined without a
 * tenant, and without a user or `guest`.
 */
export function parseIdentity(text: string): PageIdentity | undefined {
  const fields = new URLSearchParams(text)
  const tenant = fields.get('tenant')
  const user = fields.get('user')
  if (!tenant) return undefined
  if (!user) return fields.has('guest') ? { tenant, user: undefined, claims: {} } : undefined

  const claims: Record<string, string | readonly string[]> = {}
  for (const name of new Set(fields.keys())) {
    const values = fields.getAll(name)
    if (name === 'role') claims['roles'] = values
    else if (name !== 'tenant' && name !== 'user')
      claims[name] = values.length > 1 ? values : (values[0] ?? '')
  }
  return { tenant, user, claims }
}

/** Formats an identity for a link to the page. The inverse of `parseIdentity`. */
export function formatIdentity(identity: PageIdentity): string {
  const fields = new URLSearchParams({ tenant: identity.tenant })
  if (identity.user === undefined) fields.set('guest', '')
  else fields.set('user', identity.user)
  for (const [claim, value] of Object.entries(identity.claims)) {
    for (const item of [value].flat()) fields.append(claim === 'roles' ? 'role' : claim, item)
  }
  return fields.toString()
}

/** Returns the identity of the query, else of the fragment, else the one that this tab stored. */
export function knownIdentity(address: Location): PageIdentity | undefined {
  return (
    parseIdentity(address.search) ??
    parseIdentity(address.hash.slice(1)) ??
    parseIdentity(loadItem(key) ?? '')
  )
}

export function saveIdentity(identity: PageIdentity): void {
  saveItem(key, formatIdentity(identity))
}

/** Forgets who the user of this tab is. A guest that comes back is a new guest. */
export function removeIdentity({ tenant }: PageIdentity): void {
  removeItem(key)
  removeGuestToken(tenant)
}

/**
 * Returns the token with which this tab comes back as the guest that it was. Like the identity it belongs to
 * one tab, so that two tabs can be two guests.
 */
export function loadGuestToken(tenant: string): string | undefined {
  return loadItem(guestTokenKey(tenant))
}

export function saveGuestToken(tenant: string, token: string): void {
  saveItem(guestTokenKey(tenant), token)
}

export function removeGuestToken(tenant: string): void {
  removeItem(guestTokenKey(tenant))
}

function guestTokenKey(tenant: string): string {
  return `guest-token ${tenant}`
}
