// The server API keys of a tenant, as its ChatCredentials and their Secrets make them.
import { importApiKey } from '../../tenant/api-key.js'
import { apiKeyName, credentialSecretName } from '../../compile/credential.js'
import { parseDuration } from '../../resources/duration.js'
import type { ApiKey } from '../../tenant/policy.js'
import { ChatCredential } from '../../resources/chat-credential.js'
import { secretBytes, secretTexts, whoseSecret } from './binding-secret.js'
import { heldKeys, parseKeysRecord, type KeyWish, type PlannedKey } from './key-rotation.js'
import { keysAnnotation, rotateAnnotation, secretLabel } from '../kinds.js'
import type { ObjectCache } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'

const wanted = new Map([[apiKeyName, 'ApiKey' as const]])

export function keyWishOf(credential: ChatCredential): KeyWish {
  const { rotation, ttl } = credential.spec
  return {
    wanted,
    rotation: rotation && {
      intervalMs: parseDuration(rotation.interval) ?? 0,
      overlapMs: parseDuration(rotation.overlap) ?? 0,
    },
    ttlMs: ttl === undefined ? undefined : parseDuration(ttl),
    request: credential.metadata.annotations?.[rotateAnnotation],
  }
}

export function secretNameOf(credential: ChatCredential): string {
  return credential.spec.secretName ?? credentialSecretName(credential.metadata.name)
}

/** What is wrong with an imported key; else what it is known by. */
export type Import =
  | { readonly kind: 'key'; readonly sha256: string; readonly id: string }
  | { readonly kind: 'ImportNotFound' | 'ImportNotLabelled' | 'ImportTooShort' }

/** `secret` is the one that `importSecretRef` names; undefined: there is none. */
export function importedKey(secret: ApiObject | undefined, key: string): Import {
  if (!secret) return { kind: 'ImportNotFound' }
  // Whoever may write ChatCredentials must not be able to use any Secret that they may not read.
  if (secret.metadata.labels[secretLabel] !== 'import') return { kind: 'ImportNotLabelled' }
  const bytes = secretBytes(secret).get(key)
  if (!bytes) return { kind: 'ImportNotFound' }
  const imported = importApiKey(bytes)
  return imported ? { kind: 'key', ...imported } : { kind: 'ImportTooShort' }
}

/** Of one credential; empty while its Secret is not there, or its time is over. Undefined: it makes no sense, and what it gave stays. */
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
    return alive([{ ...facts, id: imported.id, sha256: imported.sha256, ...expiry(expiresAtMs) }], nowMs)
  }
  const secret = secrets.get(keyOf({ namespace, name: secretNameOf(parsed.data) }))
  if (!secret || whoseSecret(secret, object) !== 'ours') return []
  const record = parseKeysRecord(secret.metadata.annotations[keysAnnotation])
  const held = heldKeys(keyWishOf(parsed.data), { record, data: secretTexts(secret) }, nowMs)
  return alive(
    held.flatMap((key) => entriesOf(key).map((entry) => ({ ...facts, ...entry }))),
    nowMs,
  )
}

/** The key and the one before it. */
function entriesOf({ expiresAtMs, id, previous, verifying }: PlannedKey) {
  return [
    { id, sha256: verifying, ...expiry(expiresAtMs) },
    ...(previous ? [{ id: previous.id, sha256: previous.verifying, ...expiry(previous.untilMs) }] : []),
  ]
}

function expiry(expiresAtMs: number | undefined): { expiresAtMs?: number } {
  return expiresAtMs === undefined ? {} : { expiresAtMs }
}

function alive(keys: ApiKey[], nowMs: number): ApiKey[] {
  return keys.filter(({ expiresAtMs = Infinity }) => expiresAtMs > nowMs)
}
