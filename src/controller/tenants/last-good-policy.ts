// What is enforced while a spec is not accepted: the last policy that was, but for what was taken back since. Nobody who suspends a tenant or
// deletes a key should have to mend the rest first.
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { withRevision } from '../../compile/tenant.js'
import type { ApiKey, Issuer, TenantPolicy } from '../../tenant/policy.js'
import { keyIdOf } from '../../tenant/api-key.js'
import type { KeyPlan, PlannedKey } from '../credentials/key-rotation.js'
import type { ApiObject } from '../../kube/object.js'
import { tenantStatusOf } from './status.js'

const Suspendable = z.looseObject({ spec: z.looseObject({ suspend: z.boolean().default(false) }) })

export interface Present {
  /** The tenant, whose spec need not make sense. */
  readonly object: ApiObject
  readonly apiKeys: readonly ApiKey[]
  /** What its Secret holds now; undefined: it is not known which Secret that is. */
  readonly keys: KeyPlan | undefined
}

/** `last` itself when nothing was taken back. */
export function lastPolicy(last: TenantPolicy, { apiKeys, keys, object }: Present): TenantPolicy {
  const { revision: _, apiKeys: lastKeys = [], ...rest } = last
  const told = new Set(tenantStatusOf(object).credentials?.activeKeyIDs)
  const next = {
    ...rest,
    suspended: Suspendable.safeParse(object).data?.spec.suspend ?? last.suspended,
    issuers: keys ? withoutRevoked(last.issuers, keys, told) : last.issuers,
  }
  if (isDeepStrictEqual(next, rest) && isDeepStrictEqual(apiKeys, lastKeys)) return last
  return withRevision({ ...next, ...(apiKeys.length > 0 && { apiKeys: [...apiKeys] }) })
}

/**
 * A generated key that the Secret does not hold any more was revoked: whoever deleted it wants the one that was made since to count. Others'
 * keys stay, and so does a key whose entry is being edited: that edit is not accepted. `told`: ids of the keys that were generated.
 */
function withoutRevoked(
  issuers: readonly Issuer[],
  { keys, record }: KeyPlan,
  told: ReadonlySet<string>,
): Issuer[] {
  const present = new Map(keys.map((key) => [key.name, key]))
  const counting = new Set(issuers.map(idOf))
  return issuers.flatMap((issuer) => {
    const key = present.get(issuer.name)
    const id = idOf(issuer)
    const algorithm = record.keys[issuer.name]?.algorithm
    const isEdited = !issuer.algorithms.some((one) => one === algorithm)
    if (!key || isEdited || !told.has(id) || id === key.id || id === key.previous?.id) return issuer
    // Of the key and the one before it, both revoked, one comes back.
    if (counting.has(key.id)) return []
    counting.add(key.id)
    return withKey(issuer, key)
  })
}

/** '' for what is never generated. */
function idOf({ key }: Issuer): string {
  if (key.type === 'SharedKey') return keyIdOf(Buffer.from(key.secret, 'base64').toString())
  return key.type === 'PublicKey' ? keyIdOf(key.pem) : ''
}

function withKey(issuer: Issuer, { verifying }: PlannedKey): Issuer {
  return issuer.key.type === 'SharedKey'
    ? { ...issuer, key: { ...issuer.key, secret: Buffer.from(verifying).toString('base64') } }
    : { ...issuer, key: { type: 'PublicKey', pem: verifying } }
}
