// Decides which generated keys a Secret should hold now. The functions take the time as a parameter, so that
// tests can cover years of rotation quickly. The Secret is the only storage: its annotation records the keys,
// and a key that does not match the record is replaced.
import { z } from 'zod'
import { parseJson } from '../../json.js'
import { keyIdOf } from '../../tenant/api-key.js'
import { generateKey, verifyingKey, type KeyAlgorithm } from './key-material.js'

const Entry = z.object({
  id: z.string(),
  algorithm: z.enum(['HS256', 'ES256', 'EdDSA', 'ApiKey']),
  createdAt: z.iso.datetime(),
  previous: z.object({ id: z.string(), until: z.iso.datetime() }).optional(),
})

/** The record of the keys in the Secret's annotation. */
const KeysRecord = z.object({
  keys: z.record(z.string(), Entry),
  /** The value of the last rotation request. */
  request: z.string().optional(),
})
export type KeysRecord = z.infer<typeof KeysRecord>

export const noKeys: KeysRecord = { keys: {} }

/** Parses the annotation. A malformed annotation counts as missing, so the keys are generated again. */
export function parseKeysRecord(text: string | undefined): KeysRecord {
  return KeysRecord.safeParse(parseJson(text ?? '')).data ?? noKeys
}

/** The keys that a resource asks for, and when they are rotated. */
export interface DesiredKeys {
  /** The algorithm of each key, by its name in the Secret. */
  readonly algorithms: ReadonlyMap<string, KeyAlgorithm>
  /** Undefined when keys are not rotated by age. */
  readonly rotation?: { readonly intervalMs: number; readonly overlapMs: number } | undefined
  /** A rotation request: a value that differs from the last one replaces all keys now. */
  readonly request?: string | undefined
  /**
   * The age, in milliseconds, at which a key becomes invalid, also as a previous key. Undefined when keys do
   * not expire.
   */
  readonly ttlMs?: number | undefined
}

/** A generated key of a Secret. */
export interface GeneratedKey {
  readonly name: string
  readonly id: string
  /** The signing part, which the backend gets. */
  readonly signing: string
  /** The verifying part, which the gateways get. */
  readonly verifying: string
  readonly createdAtMs: number
  readonly expiresAtMs: number | undefined
  /** The key that this one replaced, valid until `untilMs`. */
  readonly previous: { readonly id: string; readonly verifying: string; readonly untilMs: number } | undefined
}

/** The keys that a Secret should hold now, and how they differ from what it holds. */
export interface GeneratedKeys {
  readonly keys: readonly GeneratedKey[]
  readonly record: KeysRecord
  /** The keys' entries in the Secret's data. */
  readonly data: ReadonlyMap<string, string>
  /** The names of keys that were created because the Secret held no matching one. */
  readonly created: readonly string[]
  /** The names of keys that were replaced by age or on request. */
  readonly rotated: readonly string[]
  /** The time of the next change of the keys. Undefined when no change is due. */
  readonly nextAtMs: number | undefined
  /** The time at which the next key is rotated. Undefined when keys are not rotated by age. */
  readonly nextRotationMs: number | undefined
}

/** The overlap of a rotation on request when the resource has no `rotation`. */
const defaultOverlapMs = 86_400_000

/**
 * Returns the names of a key's additional entries in the Secret. The name of an auth entry contains no dot,
 * so these names cannot collide with it.
 */
export const keyParts = {
  id: (name: string) => `${name}.id`,
  publicKey: (name: string) => `${name}.pub`,
  previous: (name: string) => `${name}.previous`,
} as const

/**
 * Returns the keys that the Secret should hold at `nowMs`. Keeps the keys that it holds, creates missing ones
 * and rotates those that are due. `found` is the content of the Secret; both parts are empty when the Secret
 * does not exist.
 */
export function rotateKeys(
  desired: DesiredKeys,
  found: { record: KeysRecord; data: ReadonlyMap<string, string> },
  nowMs: number,
): GeneratedKeys {
  const { record } = found
  const requested = desired.request !== undefined && desired.request !== record.request
  const planned = [...desired.algorithms].map(([name, algorithm]) => {
    const held = heldKey(name, algorithm, found)
    if (!held)
      return { change: 'created' as const, algorithm, key: newKey(name, algorithm, { desired, nowMs }) }
    const due = desired.rotation !== undefined && nowMs >= rotationDueMs(held.createdAtMs, desired)
    if (due || requested) {
      const overlapMs = desired.rotation?.overlapMs ?? defaultOverlapMs
      const untilMs = Math.min(nowMs + overlapMs, held.createdAtMs + (desired.ttlMs ?? Infinity))
      const previous = { id: held.id, verifying: held.verifying, untilMs }
      return {
        change: 'rotated' as const,
        algorithm,
        key: {
          ...newKey(name, algorithm, { desired, nowMs }),
          previous: untilMs > nowMs ? previous : undefined,
        },
      }
    }
    const previous = held.previous && held.previous.untilMs > nowMs ? held.previous : undefined
    const expiresAtMs = desired.ttlMs === undefined ? undefined : held.createdAtMs + desired.ttlMs
    return { change: 'none' as const, algorithm, key: { ...held, previous, expiresAtMs } }
  })
  const keys = planned.map(({ key }) => key)
  const rotations = desired.rotation ? keys.map(({ createdAtMs }) => rotationDueMs(createdAtMs, desired)) : []
  const ends = keys.flatMap(({ expiresAtMs, previous }) =>
    [previous?.untilMs ?? [], expiresAtMs ?? []].flat(),
  )
  const later = [...rotations, ...ends].filter((atMs) => atMs > nowMs)
  return {
    keys,
    record: recordOf(planned, desired.request ?? record.request),
    data: new Map(planned.flatMap(({ algorithm, key }) => dataOf(key, algorithm))),
    created: planned.flatMap(({ change, key }) => (change === 'created' ? key.name : [])),
    rotated: planned.flatMap(({ change, key }) => (change === 'rotated' ? key.name : [])),
    nextAtMs: later.length === 0 ? undefined : Math.min(...later),
    nextRotationMs: rotations.length === 0 ? undefined : Math.min(...rotations),
  }
}

function rotationDueMs(createdAtMs: number, { rotation, ttlMs = Infinity }: DesiredKeys): number {
  return createdAtMs + Math.min(rotation?.intervalMs ?? Infinity, ttlMs)
}

function newKey(
  name: string,
  algorithm: KeyAlgorithm,
  { desired, nowMs }: { desired: DesiredKeys; nowMs: number },
): GeneratedKey {
  const signing = generateKey(algorithm)
  const verifying = verifyingKey(algorithm, signing)
  if (verifying === undefined) throw new Error(`unreachable: a new ${algorithm} key does not verify`)
  const expiresAtMs = desired.ttlMs === undefined ? undefined : nowMs + desired.ttlMs
  return {
    name,
    id: keyIdOf(verifying),
    signing,
    verifying,
    createdAtMs: nowMs,
    expiresAtMs,
    previous: undefined,
  }
}

/**
 * Returns the valid keys that the Secret holds. Creates none: only the owner of the Secret generates keys.
 */
export function heldKeys(
  desired: Pick<DesiredKeys, 'algorithms' | 'ttlMs'>,
  found: { record: KeysRecord; data: ReadonlyMap<string, string> },
  nowMs: number,
): GeneratedKey[] {
  return [...desired.algorithms].flatMap(([name, algorithm]) => {
    const held = heldKey(name, algorithm, found)
    if (!held) return []
    const expiresAtMs = desired.ttlMs === undefined ? undefined : held.createdAtMs + desired.ttlMs
    const previous = held.previous && held.previous.untilMs > nowMs ? held.previous : undefined
    return [{ ...held, expiresAtMs, previous }]
  })
}

/**
 * Returns the key that the Secret holds, or undefined when it is missing, has another algorithm, or does not
 * match the record.
 */
function heldKey(
  name: string,
  algorithm: KeyAlgorithm,
  { data, record }: { data: ReadonlyMap<string, string>; record: KeysRecord },
): Omit<GeneratedKey, 'expiresAtMs'> | undefined {
  const entry = record.keys[name]
  const signing = data.get(name)
  const verifying = signing === undefined ? undefined : verifyingKey(algorithm, signing)
  if (!entry || entry.algorithm !== algorithm || signing === undefined || verifying === undefined)
    return undefined
  if (keyIdOf(verifying) !== entry.id) return undefined
  const before = data.get(keyParts.previous(name))
  const previous =
    entry.previous && before !== undefined && keyIdOf(before) === entry.previous.id
      ? { id: entry.previous.id, verifying: before, untilMs: Date.parse(entry.previous.until) }
      : undefined
  return { name, id: entry.id, signing, verifying, createdAtMs: Date.parse(entry.createdAt), previous }
}

function recordOf(
  planned: readonly { key: GeneratedKey; algorithm: KeyAlgorithm }[],
  request: string | undefined,
): KeysRecord {
  const entries = planned.map(({ algorithm, key: { createdAtMs, id, name, previous } }) => {
    const entry = { id, algorithm, createdAt: new Date(createdAtMs).toISOString() }
    const until = previous && { id: previous.id, until: new Date(previous.untilMs).toISOString() }
    return [name, { ...entry, ...(until && { previous: until }) }] as const
  })
  return { keys: Object.fromEntries(entries), ...(request !== undefined && { request }) }
}

function dataOf(key: GeneratedKey, algorithm: KeyAlgorithm): [string, string][] {
  const { id, name, previous, signing, verifying } = key
  const isPair = algorithm === 'ES256' || algorithm === 'EdDSA'
  return [
    [name, signing],
    [keyParts.id(name), id],
    ...(isPair ? [[keyParts.publicKey(name), verifying] as [string, string]] : []),
    ...(previous ? [[keyParts.previous(name), previous.verifying] as [string, string]] : []),
  ]
}
