// Who this tab is. Kept in sessionStorage, which each tab has for itself: two tabs can be two people.
import { forget, recall, remember } from './tab-storage.js'

/** Facts for the token beside the name. What they open is up to the tenant's channel rules. */
export type Claims = Readonly<Record<string, string | readonly string[]>>

export interface Identity {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  /** Undefined: a guest, who comes without a token. */
  readonly user: string | undefined
  readonly claims: Claims
}

const key = 'identity'

/**
 * Reads `tenant=demo/acme&user=ada&team=red&role=moderator`, or `tenant=demo/acme&guest`. `role` may be repeated and becomes the claim
 * `roles`; every other field becomes a claim of its name. Undefined when it does not say who.
 */
export function parseIdentity(text: string): Identity | undefined {
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

/** The inverse of `parseIdentity`: what a link to the page carries. */
export function formatIdentity(identity: Identity): string {
  const fields = new URLSearchParams({ tenant: identity.tenant })
  if (identity.user === undefined) fields.set('guest', '')
  else fields.set('user', identity.user)
  for (const [claim, value] of Object.entries(identity.claims)) {
    for (const one of [value].flat()) fields.append(claim === 'roles' ? 'role' : claim, one)
  }
  return fields.toString()
}

/** From the address (query, else fragment), else from what this tab remembers. */
export function knownIdentity(address: Location): Identity | undefined {
  return (
    parseIdentity(address.search) ?? parseIdentity(address.hash.slice(1)) ?? parseIdentity(recall(key) ?? '')
  )
}

export function rememberIdentity(identity: Identity): void {
  remember(key, formatIdentity(identity))
}

export function forgetIdentity(): void {
  forget(key)
}
