import { describe, expect, test } from 'vitest'
import { keyIdOf } from '../../tenant/api-key.js'
import { verifyingKey, type KeyAlgorithm } from './key-material.js'
import {
  heldKeys,
  keyParts,
  noKeys,
  parseKeysRecord,
  rotateKeys,
  type GeneratedKeys,
  type DesiredKeys,
} from './key-rotation.js'

const hourMs = 3_600_000
const startMs = Date.UTC(2026, 0, 1)
const rotation = { intervalMs: 100 * hourMs, overlapMs: 10 * hourMs }

function desired(fields: Partial<DesiredKeys> = {}, algorithm: KeyAlgorithm = 'HS256'): DesiredKeys {
  return { algorithms: new Map([['backend', algorithm]]), ...fields }
}

const first = (keys = desired()): GeneratedKeys =>
  rotateKeys(keys, { record: noKeys, data: new Map() }, startMs)

/** Rotates the keys again, with the content of the Secret as the API server returns it. */
function next(generated: GeneratedKeys, atMs: number, keys = desired()): GeneratedKeys {
  const record = parseKeysRecord(JSON.stringify(generated.record))
  return rotateKeys(keys, { record, data: generated.data }, startMs + atMs)
}

test.each(['HS256', 'ES256', 'EdDSA', 'ApiKey'] as const)(
  'a %s key is created once, and then kept',
  (algorithm) => {
    const made = first(desired({}, algorithm))
    expect(made.created).toEqual(['backend'])
    const signing = made.data.get('backend') ?? ''
    const [key] = made.keys
    expect(verifyingKey(algorithm, signing)).toBe(key?.verifying)
    expect(key?.id).toBe(keyIdOf(key?.verifying ?? ''))
    const again = next(made, 1, desired({}, algorithm))
    expect(again).toMatchObject({ created: [], rotated: [], record: made.record, nextAtMs: undefined })
    expect(again.data).toEqual(made.data)
  },
)

test('the Secret holds the public key of a pair, and none for a shared secret', () => {
  const pair = first(desired({}, 'ES256'))
  expect(pair.data.get(keyParts.publicKey('backend'))).toContain('BEGIN PUBLIC KEY')
  expect(pair.data.get('backend')).toContain('BEGIN PRIVATE KEY')
  expect(first().data.has(keyParts.publicKey('backend'))).toBe(false)
})

describe('rotation', () => {
  const rotating = desired({ rotation })

  test('is due at the interval, not before, and keeps the previous key for the overlap', () => {
    const made = first(rotating)
    expect(made.nextRotationMs).toBe(startMs + rotation.intervalMs)
    expect(next(made, rotation.intervalMs - 1, rotating).rotated).toEqual([])
    const rotated = next(made, rotation.intervalMs, rotating)
    expect(rotated.rotated).toEqual(['backend'])
    expect(rotated.keys[0]?.id).not.toBe(made.keys[0]?.id)
    expect(rotated.keys[0]?.previous).toEqual({
      id: made.keys[0]?.id,
      verifying: made.keys[0]?.verifying,
      untilMs: startMs + rotation.intervalMs + rotation.overlapMs,
    })
    expect(rotated.nextAtMs).toBe(startMs + rotation.intervalMs + rotation.overlapMs)
    const over = next(rotated, rotation.intervalMs + rotation.overlapMs, rotating)
    expect(over.keys[0]).toMatchObject({ id: rotated.keys[0]?.id, previous: undefined })
    expect(over.data.has(keyParts.previous('backend'))).toBe(false)
  })

  test('keeps only the verifying part of the previous key', () => {
    const pair = desired({ rotation }, 'ES256')
    const rotated = next(first(pair), rotation.intervalMs, pair)
    expect(rotated.data.get(keyParts.previous('backend'))).toContain('BEGIN PUBLIC KEY')
    expect([...rotated.data.values()].filter((text) => text.includes('PRIVATE'))).toHaveLength(1)
  })

  test('is done once per request, also without an interval', () => {
    const made = first()
    const asked = next(made, 1, desired({ request: 'a' }))
    expect(asked.rotated).toEqual(['backend'])
    expect(asked.keys[0]?.previous?.id).toBe(made.keys[0]?.id)
    expect(next(asked, 2, desired({ request: 'a' })).rotated).toEqual([])
    // Removing the annotation is not a request.
    expect(next(asked, 2).rotated).toEqual([])
    expect(next(asked, 3, desired({ request: 'b' })).rotated).toEqual(['backend'])
  })

  test('happens once after a long time without a controller, without a previous key', () => {
    const made = first(rotating)
    const late = next(made, 50 * rotation.intervalMs, rotating)
    expect(late.rotated).toEqual(['backend'])
    expect(next(late, 50 * rotation.intervalMs + 1, rotating).rotated).toEqual([])
  })
})

describe('a time to live', () => {
  test('ends the key and its predecessor', () => {
    const expiring = desired({ ttlMs: 5 * hourMs }, 'ApiKey')
    const made = first(expiring)
    expect(made.keys[0]?.expiresAtMs).toBe(startMs + 5 * hourMs)
    expect(made.nextAtMs).toBe(startMs + 5 * hourMs)
    expect(next(made, 6 * hourMs, expiring)).toMatchObject({ created: [], rotated: [], nextAtMs: undefined })
  })

  test('with rotation there is always a valid key', () => {
    const expiring = desired({ ttlMs: 5 * hourMs, rotation }, 'ApiKey')
    const rotated = next(first(expiring), 5 * hourMs, expiring)
    expect(rotated.rotated).toEqual(['backend'])
    // The previous key has expired already.
    expect(rotated.keys[0]?.previous).toBeUndefined()
  })
})

describe('a key that does not match the record is replaced', () => {
  const cases: [string, (keys: GeneratedKeys) => GeneratedKeys][] = [
    ['another secret', (keys) => withData(keys, 'backend', 'x'.repeat(40))],
    ['a secret that is too short', (keys) => withData(keys, 'backend', 'short')],
    ['no secret', (keys) => withData(keys, 'backend', undefined)],
    ['no record', (keys) => ({ ...keys, record: noKeys })],
  ]
  test.each(cases)('%s', (_, broken) => {
    const made = first()
    const again = next(broken(made), 1)
    expect(again.created).toEqual(['backend'])
    expect(again.keys[0]?.id).not.toBe(made.keys[0]?.id)
  })

  test('a previous key that was inserted by hand is not valid', () => {
    const rotated = next(first(), 1, desired({ request: 'a' }))
    const forged = withData(rotated, keyParts.previous('backend'), 'z'.repeat(40))
    const again = next(forged, 2, desired({ request: 'a' }))
    expect(again.keys[0]?.previous).toBeUndefined()
    expect(again.data.has(keyParts.previous('backend'))).toBe(false)
  })

  test('a key with another algorithm is created anew', () => {
    expect(next(first(), 1, desired({}, 'EdDSA')).created).toEqual(['backend'])
  })

  test('a key that is no longer desired is removed', () => {
    expect(next(first(), 1, desired({ algorithms: new Map() })).data.size).toBe(0)
  })
})

test('heldKeys creates no keys', () => {
  const { data, record } = first(desired({}, 'ApiKey'))
  const keys = desired({ ttlMs: hourMs }, 'ApiKey')
  expect(heldKeys(keys, { record, data }, startMs)).toMatchObject([{ expiresAtMs: startMs + hourMs }])
  expect(heldKeys(keys, { record: noKeys, data }, startMs)).toEqual([])
})

test.each([undefined, '', 'no json', '{}', '{"keys":{"a":{}}}'])(
  'a record that is %j counts as missing',
  (text) => {
    expect(parseKeysRecord(text)).toEqual(noKeys)
  },
)

function withData(keys: GeneratedKeys, name: string, text: string | undefined): GeneratedKeys {
  const data = new Map(keys.data)
  if (text === undefined) data.delete(name)
  else data.set(name, text)
  return { ...keys, data }
}
