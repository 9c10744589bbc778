// The server API keys of a tenant, derived from its ChatCredentials and their Secrets.
import { importApiKey } from '../../tenant/api-key.js'
import { apiKeyName } from '../../compile/credential.js'
import { credentialSecretName } from '../../compile/secret-names.js'
import { parseDuration } from '../../resources/duration.js'
import type { ApiKey } from '../../tenant/policy.js'
import { ChatCredential } from '../../resources/chat-credential.js'
import { secretDataBytes, secretDataTexts, secretOwnership } from './binding-secret.js'
import { heldKeys, parseKeysRecord, type DesiredKeys, type GeneratedKey } from './key-rotation.js'
import { keysAnnotation, rotateAnnotation, secretLabel } from '../kinds.js'
import type { ObjectCache } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'

const algorithms = new Map([[apiKeyName, 'ApiKey' as const]])

/** Returns the key that the ChatCredential asks the controller to generate. */
export function desiredCredentialKeys(credential: ChatCredential): DesiredKeys {
  const { rotation, ttl } = credential.spec
  return {
    algorithms,
    rotation: rotation && {
      intervalMs: parseDuration(rotation.interval) ?? 0,
      overlapMs: parseDuration(rotation.overlap) ?? 0,
    },
    ttlMs: ttl === undefined ? undefined : parseDuration(ttl),
    request: credential.metadata.annotations?.[rotateAnnotation],
  }
}

/** Returns the name of the Secret that holds the generated key. */
export function generatedSecretNameOf(credential: ChatCredential): string {
  return credential.spec.secretName ?? credentialSecretName(credential.metadata.name)
}

/** The hash and id of an imported key, or the reason why it cannot be imported. */
export type ImportResult =
  | { readonly kind: 'key'; readonly sha256: string; readonly id: string }
  | { readonly kind: 'ImportNotFound' | 'ImportNotLabelled' | 'ImportTooShort' }

/**
 * Imports `key` from the Secret that `importSecretRef` names. `secret` is undefined when that Secret does not
 * exist.
 */
export function importedKey(secret: ApiObject | undefined, key: string): ImportResult {
  if (!secret) return { kind: 'ImportNotFound' }
  // Without this check, a user who may write ChatCredentials could use a Secret that they may not read.
  if (secret.metadata.labels[secretLabel] !== 'import') return { kind: 'ImportNotLabelled' }
  const bytes = secretDataBytes(secret).get(key)
  if (!bytes) return { kind: 'ImportNotFound' }
  const imported = importApiKey(bytes)
  return imported ? { kind: 'key', ...imported } : { kind: 'ImportTooShort' }
}

/**
 * Returns the valid API keys of one ChatCredential: none while its Secret does not exist, or after its time
 * to live. Returns undefined when the credential is malformed; then its previous keys stay valid.
 */
export function apiKeysOf(object: ApiObject, secrets: ObjectCache, nowMs: number): ApiKey[] | undefined {
  const parsed = ChatCredential.safeParse(object)
  if (!parsed.success) return undefined
  const { metadata, spec } = parsed.data
  const facts = { credential: metadata.name, role: spec.role, scopes: spec.scopes }
  const { namespace } = object.metadata
  if (spec.importSecretRef) {
    const { key, name } = spec.importSecretRef
    const imported = importedKey(secrets.get(keyOf({ namespace, name })), key)
    if (imported.kind !== 'key') return []
    const createdAtMs = Date.parse(object.metadata.creationTimestamp ?? '')
    const ttlMs = spec.ttl === undefined ? undefined : parseDuration(spec.ttl)
    const expiresAtMs = ttlMs === undefined ? undefined : createdAtMs + ttlMs
    return unexpired([{ ...facts, id: imported.id, sha256: imported.sha256, ...expiry(expiresAtMs) }], nowMs)
  }
  const secret = secrets.get(keyOf({ namespace, name: generatedSecretNameOf(parsed.data) }))
  if (!secret || secretOwnership(secret, object) !== 'owned') return []
  const record = parseKeysRecord(secret.metadata.annotations[keysAnnotation])
  const held = heldKeys(desiredCredentialKeys(parsed.data), { record, data: secretDataTexts(secret) }, nowMs)
  return unexpired(
    held.flatMap((key) => entriesOf(key).map((entry) => ({ ...facts, ...entry }))),
    nowMs,
  )
}

/** Returns the key and, during an overlap, its predecessor. */
function entriesOf({ expiresAtMs, id, previous, verifying }: GeneratedKey) {
  return [
    { id, sha256: verifying, ...expiry(expiresAtMs) },
    ...(previous ? [{ id: previous.id, sha256: previous.verifying, ...expiry(previous.untilMs) }] : []),
  ]
}

function expiry(expiresAtMs: number | undefined): { expiresAtMs?: number } {
  return expiresAtMs === undefined ? {} : { expiresAtMs }
}

function unexpired(keys: ApiKey[], nowMs: number): ApiKey[] {
  return keys.filter(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs)
}
