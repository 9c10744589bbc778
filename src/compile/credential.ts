// From a ChatCredential in a file to the key that a gateway knows. In a cluster the controller makes keys; here they are brought.
import { importApiKey } from '../tenant/api-key.js'
import { parseDuration } from '../resources/duration.js'
import type { ApiKey } from '../tenant/policy.js'
import type { FieldPath, Problem } from '../resources/problem.js'
import type { ChatCredential } from '../resources/chat-credential.js'
import { credentialSecretName } from './secret-names.js'

/** Name of a generated key in its Secret. */
export const apiKeyName = 'api-key'

export interface CompiledCredential {
  readonly key: ApiKey
  /** The Secret it is in, and where. */
  readonly secret: { readonly name: string; readonly key: string }
}

/** `secret`: content of a Secret in the credential's namespace; undefined: it, or the key in it, is missing. */
export function compileCredential(
  { metadata, spec }: ChatCredential,
  secret: (name: string, key: string) => Uint8Array | undefined,
): CompiledCredential | Problem {
  const generated = { name: spec.secretName ?? credentialSecretName(metadata.name), key: apiKeyName }
  const ref = spec.importSecretRef ?? generated
  const path: FieldPath = spec.importSecretRef ? ['spec', 'importSecretRef'] : ['spec']
  const bytes = secret(ref.name, ref.key)
  if (!bytes) {
    const hint = spec.importSecretRef
      ? ''
      : ' The controller makes it in a cluster; elsewhere, make it yourself and name it in importSecretRef.'
    const message = `The API key needs key "${ref.key}" of Secret "${ref.name}", and there is none.${hint}`
    return { path, reason: 'KeyNotFound', message }
  }
  const imported = importApiKey(bytes)
  if (!imported) {
    const message = `Key "${ref.key}" of Secret "${ref.name}" is too short for an API key: make one with "openssl rand -hex 32".`
    return { path, reason: 'KeyTooShort', message }
  }
  const expiry = expiryOf(metadata['creationTimestamp'], spec.ttl)
  if ('reason' in expiry) return expiry
  const { role, scopes } = spec
  return { key: { credential: metadata.name, role, scopes, ...imported, ...expiry }, secret: ref }
}

/** A key with an end that nobody can tell would have none. */
function expiryOf(createdAt: unknown, ttl: string | undefined): Pick<ApiKey, 'expiresAtMs'> | Problem {
  if (ttl === undefined) return {}
  const createdAtMs = typeof createdAt === 'string' ? Date.parse(createdAt) : Number.NaN
  if (!Number.isNaN(createdAtMs)) return { expiresAtMs: createdAtMs + (parseDuration(ttl) ?? 0) }
  const message =
    'A ttl counts from metadata.creationTimestamp, which the API server writes: in a file, write it yourself or leave the ttl out.'
  return { path: ['spec', 'ttl'], reason: 'InvalidResource', message }
}
