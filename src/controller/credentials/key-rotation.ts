// Which generated keys a Secret should hold now: pure, so that years of rotation are tested in a moment. The Secret itself is the only
// memory: its annotation says what the keys are, and whatever does not fit the annotation is replaced.
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

/** The Secret's annotation. */
const KeysRecord = z.object({
  keys: z.record(z.string(), Entry),
  /** The last rotation that was asked for. */
  request: z.string().optional(),
})
export type KeysRecord = z.infer<typeof KeysRecord>

export const noKeys: KeysRecord = { keys: {} }

/** Nonsense is like nothing: the keys are made anew. */
export function parseKeysRecord(text: string | undefined): KeysRecord {
  return KeysRecord.safeParse(parseJson(text ?? '')).data ?? noKeys
}

export interface KeyWish {
  /** By name, which is the Secret's key. */
  readonly wanted: ReadonlyMap<string, KeyAlgorithm>
  /** Undefined: keys stay. */
  readonly rotation?: { readonly intervalMs: number; readonly overlapMs: number } | undefined
  /** A value other than the last replaces all keys now. */
  readonly request?: string | undefined
  /** A key of this age counts no more, nor as a previous one. Undefined: it does not age. */
  readonly ttlMs?: number | undefined
}

export interface PlannedKey {
  readonly name: string
  readonly id: string
  /** For the backend. */
  readonly signing: string
  /** For the gateways. */
  readonly verifying: string
  readonly createdAtMs: number
  readonly expiresAtMs: number | undefined
  readonly previous: { readonly id: string; readonly verifying: string; readonly untilMs: number } | undefined
}

export interface KeyPlan {
  readonly keys: readonly PlannedKey[]
  readonly record: KeysRecord
  /** For the Secret's data. */
  readonly data: ReadonlyMap<string, string>
  /** Names of keys that were made because there was none that fits. */
  readonly made: readonly string[]
  readonly rotated: readonly string[]
  /** When to look again. */
  readonly nextAtMs: number | undefined
  /** When the newest key is replaced. */
  readonly nextRotationMs: number | undefined
}

/** Without `rotation`, for keys that are replaced because somebody asked. */
const defaultOverlapMs = 86_400_000

/** Names in the Secret, beside the key's own. No auth entry's name has a dot. */
export const keyParts = {
  id: (name: string) => `${name}.id`,
  publicKey: (name: string) => `${name}.pub`,
  previous: (name: string) => `${name}.previous`,
} as const

/** `data` and `record` are what the Secret holds; both empty when there is none. */
export function planKeys(
  wish: KeyWish,
  found: { record: KeysRecord; data: ReadonlyMap<string, string> },
  nowMs: number,
): KeyPlan {
  const { record } = found
  const asked = wish.request !== undefined && wish.request !== record.request
  const planned = [...wish.wanted].map(([name, algorithm]) => {
    const held = heldKey(name, algorithm, found)
    if (!held) return { how: 'made' as const, algorithm, key: newKey(name, algorithm, { wish, nowMs }) }
    const due = wish.rotation !== undefined && nowMs >= rotationDueMs(held.createdAtMs, wish)
    if (due || asked) {
      const overlapMs = wish.rotation?.overlapMs ?? defaultOverlapMs
      const untilMs = Math.min(nowMs + overlapMs, held.createdAtMs + (wish.ttlMs ?? Infinity))
      const previous = { id: held.id, verifying: held.verifying, untilMs }
      return {
        how: 'rotated' as const,
        algorithm,
        key: {
          ...newKey(name, algorithm, { wish, nowMs }),
          previous: untilMs > nowMs ? previous : undefined,
        },
      }
    }
    const previous = held.previous && held.previous.untilMs > nowMs ? held.previous : undefined
    const expiresAtMs = wish.ttlMs === undefined ? undefined : held.createdAtMs + wish.ttlMs
    return { how: 'held' as const, algorithm, key: { ...held, previous, expiresAtMs } }
  })
  const keys = planned.map(({ key }) => key)
  const rotations = wish.rotation ? keys.map(({ createdAtMs }) => rotationDueMs(createdAtMs, wish)) : []
  const ends = keys.flatMap(({ expiresAtMs, previous }) =>
    [previous?.untilMs ?? [], expiresAtMs ?? []].flat(),
  )
  const later = [...rotations, ...ends].filter((atMs) => atMs > nowMs)
  return {
    keys,
    record: recordOf(planned, wish.request ?? record.request),
    data: new Map(planned.flatMap(({ algorithm, key }) => dataOf(key, algorithm))),
    made: planned.flatMap(({ how, key }) => (how === 'made' ? key.name : [])),
    rotated: planned.flatMap(({ how, key }) => (how === 'rotated' ? key.name : [])),
    nextAtMs: later.length === 0 ? undefined : Math.min(...later),
    nextRotationMs: rotations.length === 0 ? undefined : Math.min(...rotations),
  }
}

function rotationDueMs(createdAtMs: number, { rotation, ttlMs = Infinity }: KeyWish): number {
  return createdAtMs + Math.min(rotation?.intervalMs ?? Infinity, ttlMs)
}

function newKey(
  name: string,
  algorithm: KeyAlgorithm,
  { wish, nowMs }: { wish: KeyWish; nowMs: number },
): PlannedKey {
  const signing = generateKey(algorithm)
  const verifying = verifyingKey(algorithm, signing)
  if (verifying === undefined) throw new Error(`unreachable: a new ${algorithm} key does not verify`)
  const expiresAtMs = wish.ttlMs === undefined ? undefined : nowMs + wish.ttlMs
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

/** The keys that the Secret holds and that count: none is made here, since whoever reads does not own. */
export function heldKeys(
  wish: Pick<KeyWish, 'wanted' | 'ttlMs'>,
  found: { record: KeysRecord; data: ReadonlyMap<string, string> },
  nowMs: number,
): PlannedKey[] {
  return [...wish.wanted].flatMap(([name, algorithm]) => {
    const held = heldKey(name, algorithm, found)
    if (!held) return []
    const expiresAtMs = wish.ttlMs === undefined ? undefined : held.createdAtMs + wish.ttlMs
    const previous = held.previous && held.previous.untilMs > nowMs ? held.previous : undefined
    return [{ ...held, expiresAtMs, previous }]
  })
}

/** The key as the Secret holds it; undefined when it is missing, of another kind, or not the one that the record speaks of. */
function heldKey(
  name: string,
  algorithm: KeyAlgorithm,
  { data, record }: { data: ReadonlyMap<string, string>; record: KeysRecord },
): Omit<PlannedKey, 'expiresAtMs'> | undefined {
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
  planned: readonly { key: PlannedKey; algorithm: KeyAlgorithm }[],
  request: string | undefined,
): KeysRecord {
  const entries = planned.map(({ algorithm, key: { createdAtMs, id, name, previous } }) => {
    const entry = { id, algorithm, createdAt: new Date(createdAtMs).toISOString() }
    const until = previous && { id: previous.id, until: new Date(previous.untilMs).toISOString() }
    return [name, { ...entry, ...(until && { previous: until }) }] as const
  })
  return { keys: Object.fromEntries(entries), ...(request !== undefined && { request }) }
}

function dataOf(key: PlannedKey, algorithm: KeyAlgorithm): [string, string][] {
  const { id, name, previous, signing, verifying } = key
  const isPair = algorithm === 'ES256' || algorithm === 'EdDSA'
  return [
    [name, signing],
    [keyParts.id(name), id],
    ...(isPair ? [[keyParts.publicKey(name), verifying] as [string, string]] : []),
    ...(previous ? [[keyParts.previous(name), previous.verifying] as [string, string]] : []),
  ]
}
