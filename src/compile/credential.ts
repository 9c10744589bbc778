// Compiles a ChatCredential from a file into the API key that a gateway knows. In a cluster the controller
// generates keys; in files, the author supplies them.
import { importApiKey } from '../tenant/api-key.js'
import { parseDuration } from '../resources/duration.js'
import type { ApiKey } from '../tenant/policy.js'
import type { FieldPath, Problem } from '../resources/problem.js'
import type { ChatCredential } from '../resources/chat-credential.js'
import { credentialSecretName } from './secret-names.js'

/** The key under which a Secret holds the API key that the controller generated. */
export const apiKeyName = 'api-key'

/** The API key of a credential. */
export interface CompiledCredential {
  readonly key: ApiKey
  /** The Secret and the key in it from which the API key was read. */
  readonly secret: { readonly name: string; readonly key: string }
}

/**
 * Compiles one credential, or returns its first problem. `secret` returns a value of a Secret in the
 * namespace of the credential, or undefined when the Secret or the key in it does not exist.
 */
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
      : ' The controller generates it in a cluster; elsewhere, create it yourself and name it in ' +
        'importSecretRef.'
    const message = `The API key needs key "${ref.key}" of Secret "${ref.name}", which does not exist.${hint}`
    return { path, reason: 'KeyNotFound', message }
  }
  const imported = importApiKey(bytes)
  if (!imported) {
    const message =
      `Key "${ref.key}" of Secret "${ref.name}" is too short for an API key: generate ` +
      'one with "openssl rand -hex 32".'
    return { path, reason: 'KeyTooShort', message }
  }
  const expiry = expiryOf(metadata['creationTimestamp'], spec.ttl)
  if ('reason' in expiry) return expiry
  const { role, scopes } = spec
  return { key: { credential: metadata.name, role, scopes, ...imported, ...expiry }, secret: ref }
}

/** A ttl without a known creation time is a problem: otherwise the key would never expire. */
function expiryOf(createdAt: unknown, ttl: string | undefined): Pick<ApiKey, 'expiresAtMs'> | Problem {
  if (ttl === undefined) return {}
  const createdAtMs = typeof createdAt === 'string' ? Date.parse(createdAt) : Number.NaN
  if (!Number.isNaN(createdAtMs)) return { expiresAtMs: createdAtMs + (parseDuration(ttl) ?? 0) }
  const message =
    'A ttl counts from metadata.creationTimestamp, which only the API server sets. In a file, set it ' +
    'yourself or omit the ttl.'
  return { path: ['spec', 'ttl'], reason: 'InvalidResource', message }
}
