// The policy that gateways enforce while a spec is not accepted: the last accepted policy, without the access
// that was revoked since. A user who suspends a tenant or deletes a key does not need to correct the rest of
// the spec first.
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { withRevision } from '../../compile/tenant.js'
import type { ApiKey, Issuer, TenantPolicy } from '../../tenant/policy.js'
import { keyIdOf } from '../../tenant/api-key.js'
import type { GeneratedKey, GeneratedKeys } from '../credentials/key-rotation.js'
import type { ApiObject } from '../../kube/object.js'
import { tenantStatusOf } from './status.js'

const Suspendable = z.looseObject({ spec: z.looseObject({ suspend: z.boolean().default(false) }) })

/** The current state of the resources that may revoke parts of a policy. */
export interface CurrentState {
  /** The ChatTenant, whose spec may be malformed. */
  readonly object: ApiObject
  readonly apiKeys: readonly ApiKey[]
  /** The keys that the tenant's Secret holds now. Undefined when the Secret is not known. */
  readonly keys: GeneratedKeys | undefined
}

/** Returns `last` with the current suspension and keys, or `last` itself when nothing was revoked. */
export function lastGoodPolicy(last: TenantPolicy, { apiKeys, keys, object }: CurrentState): TenantPolicy {
  const { revision: _, apiKeys: lastKeys = [], ...rest } = last
  const generatedIds = new Set(tenantStatusOf(object).credentials?.activeKeyIDs)
  const next = {
    ...rest,
    suspended: Suspendable.safeParse(object).data?.spec.suspend ?? last.suspended,
    issuers: keys ? withoutRevoked(last.issuers, keys, generatedIds) : last.issuers,
  }
  if (isDeepStrictEqual(next, rest) && isDeepStrictEqual(apiKeys, lastKeys)) return last
  return withRevision({ ...next, ...(apiKeys.length > 0 && { apiKeys: [...apiKeys] }) })
}

/**
 * Replaces revoked keys. A generated key that the Secret no longer holds was revoked, and its successor in
 * the Secret takes its place. Keys that were not generated stay. A key whose entry has another algorithm in
 * the Secret stays too, because that edit of the spec is not accepted. `generatedIds` holds the ids of
 * generated keys.
 */
function withoutRevoked(
  issuers: readonly Issuer[],
  { keys, record }: GeneratedKeys,
  generatedIds: ReadonlySet<string>,
): Issuer[] {
  const current = new Map(keys.map((key) => [key.name, key]))
  const used = new Set(issuers.map(idOf))
  return issuers.flatMap((issuer) => {
    const key = current.get(issuer.name)
    const id = idOf(issuer)
    const algorithm = record.keys[issuer.name]?.algorithm
    const isEdited = !issuer.algorithms.some((one) => one === algorithm)
    if (!key || isEdited || !generatedIds.has(id) || id === key.id || id === key.previous?.id) return issuer
    // When a key and its predecessor were both revoked, one successor replaces both.
    if (used.has(key.id)) return []
    used.add(key.id)
    return withKey(issuer, key)
  })
}

/** Returns the key's id, or '' for a kind of key that is never generated. */
function idOf({ key }: Issuer): string {
  if (key.type === 'SharedKey') return keyIdOf(Buffer.from(key.secret, 'base64').toString())
  return key.type === 'PublicKey' ? keyIdOf(key.pem) : ''
}

function withKey(issuer: Issuer, { verifying }: GeneratedKey): Issuer {
  return issuer.key.type === 'SharedKey'
    ? { ...issuer, key: { ...issuer.key, secret: Buffer.from(verifying).toString('base64') } }
    : { ...issuer, key: { type: 'PublicKey', pem: verifying } }
}
