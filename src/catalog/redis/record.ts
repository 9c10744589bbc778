// How one tenant lies in the catalog: its policy as JSON with sealed secrets, and a stamp that tells of it without reading it.
import { parseJson } from '../../json.js'
import { SealError, type SealingKeys } from './sealing.js'
import { TenantPolicy, tenantKey } from '../../tenant/policy.js'

/** Why a gateway does not serve a tenant's newest revision. Reasons are API: the controller puts them into conditions. */
export interface CatalogProblem {
  /** `<namespace>/<name>` */
  readonly tenant: string
  readonly reason: SealError['reason'] | 'InvalidRecord' | 'NoGoodRevision'
  readonly message: string
}

/** A record is the same as another when revision, sealing key and tenant are. */
export interface Stamp {
  /** Of the change that wrote the record. */
  readonly n: number
  /** `unknownRevision`: the tenant is there, and no record of it is. */
  readonly revision: string
  readonly sealingKeyId: string
  readonly tenantId: string
}

export const unknownRevision = '?'

const noSealingKey = '-'
const stampPattern = /^(?<n>\d+) (?<revision>\S+) (?<sealingKeyId>\S+) (?<tenantId>.+)$/s

export function parseStamp(text: string): Stamp | undefined {
  const parts = stampPattern.exec(text)?.groups
  if (!parts) return undefined
  const { n = '', revision = '', sealingKeyId = '', tenantId = '' } = parts
  return { n: Number(n), revision, sealingKeyId, tenantId }
}

/** All of a stamp but its `n`, which only the script that writes it knows. */
export function stampBodyOf({ revision, sealingKeyId, tenantId }: Stamp): string {
  return `${revision} ${sealingKeyId} ${tenantId}`
}

/** Of the record that `encodeRecord` would make. */
export function stampBody(policy: TenantPolicy, keys: SealingKeys): string {
  const sealed = policy.issuers.some(({ key }) => key.type === 'SharedKey')
  return `${policy.revision} ${sealed ? keys.keyId : noSealingKey} ${policy.tenantId}`
}

/** Has `keys` what opens the record? */
export function isOpenable({ sealingKeyId }: Stamp, keys: SealingKeys): boolean {
  return sealingKeyId === noSealingKey || keys.has(sealingKeyId)
}

export function unknownStampBody(tenantId: string): string {
  return `${unknownRevision} ${noSealingKey} ${tenantId}`
}

export function encodeRecord(policy: TenantPolicy, keys: SealingKeys): string {
  return JSON.stringify(
    mapSecrets(policy, (secret, path) => keys.seal(secret, { tenantId: policy.tenantId, path })),
  )
}

export type DecodedRecord =
  | { readonly kind: 'good'; readonly policy: TenantPolicy }
  | { readonly kind: 'bad'; readonly problem: CatalogProblem }

/** `tenant` is where it lay. Never throws; no problem quotes a value. */
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
      `The record does not have the form that this gateway knows: ${fields.join(', ')}.`,
    )
  }
  const sealed = parsed.data
  if (tenantKey(sealed) !== tenant)
    return bad('InvalidRecord', `The record is of another tenant, "${tenantKey(sealed)}".`)
  try {
    const open = (secret: string, path: string) => keys.open(secret, { tenantId: sealed.tenantId, path })
    return { kind: 'good', policy: mapSecrets(sealed, open) }
  } catch (error) {
    if (error instanceof SealError) return bad(error.reason, `${error.message}.`)
    throw error
  }
}

/** The one list of a policy's secrets. All other key material in it is public. */
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
