// The encoding of one tenant in the catalog: a record, which is the policy as JSON with sealed secrets, and a
// stamp, which tells a reader whether it must read the record.
import { parseJson } from '../../json.js'
import { SealError, type SealingKeys } from './sealing.js'
import { TenantPolicy, tenantKey, toPolicyRecord } from '../../tenant/policy.js'

/**
 * Why a gateway does not serve a tenant's newest revision. Reasons are API: the controller puts them into
 * conditions.
 */
export interface CatalogProblem {
  /** The tenant, as `<namespace>/<name>`. */
  readonly tenant: string
  readonly reason: SealError['reason'] | 'InvalidRecord' | 'NoGoodRevision'
  readonly message: string
}

/** Identifies a record: two records with the same revision, sealing key and tenant id are equal. */
export interface Stamp {
  /** The number of the change that wrote the record. */
  readonly n: number
  /** `unknownRevision`: the tenant exists, but the catalog has no record of it. */
  readonly revision: string
  readonly sealingKeyId: string
  readonly tenantId: string
}

/** The revision in the stamp of a tenant that has no record. */
export const unknownRevision = '?'

const noSealingKey = '-'
const stampPattern = /^(?<n>\d+) (?<revision>\S+) (?<sealingKeyId>\S+) (?<tenantId>.+)$/s

/** Parses a stamp; returns undefined when it is malformed. */
export function parseStamp(text: string): Stamp | undefined {
  const parts = stampPattern.exec(text)?.groups
  if (!parts) return undefined
  const { n = '', revision = '', sealingKeyId = '', tenantId = '' } = parts
  return { n: Number(n), revision, sealingKeyId, tenantId }
}

/** Returns a stamp without its `n`, which only the script that writes it knows. */
export function stampBodyOf({ revision, sealingKeyId, tenantId }: Stamp): string {
  return `${revision} ${sealingKeyId} ${tenantId}`
}

/** Returns the stamp, without its `n`, of the record that `encodeRecord` would create. */
export function stampBody(policy: TenantPolicy, keys: SealingKeys): string {
  const sealed = policy.issuers.some(({ key }) => key.type === 'SharedKey')
  return `${policy.revision} ${sealed ? keys.keyId : noSealingKey} ${policy.tenantId}`
}

/** Returns whether `keys` contains the key with which the record is sealed. */
export function isOpenable({ sealingKeyId }: Stamp, keys: SealingKeys): boolean {
  return sealingKeyId === noSealingKey || keys.has(sealingKeyId)
}

/** Returns the stamp, without its `n`, of a tenant that exists without a record. */
export function unknownStampBody(tenantId: string): string {
  return `${unknownRevision} ${noSealingKey} ${tenantId}`
}

/** Encodes a policy as a record with sealed secrets. */
export function encodeRecord(policy: TenantPolicy, keys: SealingKeys): string {
  const sealed = mapSecrets(policy, (secret, path) => keys.seal(secret, { tenantId: policy.tenantId, path }))
  return JSON.stringify(toPolicyRecord(sealed))
}

export type DecodedRecord =
  | { readonly kind: 'good'; readonly policy: TenantPolicy }
  | { readonly kind: 'bad'; readonly problem: CatalogProblem }

/** Decodes the record that was stored for `tenant`. Never throws, and no problem quotes a value. */
export function decodeRecord(tenant: string, text: string, keys: SealingKeys): DecodedRecord {
  const bad = (reason: CatalogProblem['reason'], message: string): DecodedRecord => ({
    kind: 'bad',
    problem: { tenant, reason, message },
  })
  const parsed = TenantPolicy.safeParse(parseJson(text))
  if (!parsed.success) {
    const fields = parsed.error.issues
      .slice(0, 3)
      .map(({ path, code }) => `${path.join('.') || 'all'} (${code})`)
    return bad(
      'InvalidRecord',
      `The record has a form that this version of the gateway does not know: ${fields.join(', ')}. ` +
        'Upgrade the gateway.',
    )
  }
  const sealed = parsed.data
  if (tenantKey(sealed) !== tenant)
    return bad('InvalidRecord', `The record belongs to another tenant, "${tenantKey(sealed)}".`)
  try {
    const open = (secret: string, path: string) => keys.open(secret, { tenantId: sealed.tenantId, path })
    return { kind: 'good', policy: mapSecrets(sealed, open) }
  } catch (error) {
    if (error instanceof SealError) return bad(error.reason, `${error.message}.`)
    throw error
  }
}

/** Maps every secret of a policy. All other key material in a policy is public. */
function mapSecrets(policy: TenantPolicy, map: (secret: string, path: string) => string): TenantPolicy {
  return {
    ...policy,
    issuers: policy.issuers.map((issuer, index) =>
      issuer.key.type === 'SharedKey'
        ? {
            ...issuer,
            key: { ...issuer.key, secret: map(issuer.key.secret, `issuers[${index}].key.secret`) },
          }
        : issuer,
    ),
  }
}
