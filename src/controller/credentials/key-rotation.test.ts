import { describe, expect, test } from 'vitest'
import { keyIdOf } from '../../tenant/api-key.js'
import { verifyingKey, type KeyAlgorithm } from './key-material.js'
import {
  heldKeys,
  keyParts,
  noKeys,
  parseKeysRecord,
  planKeys,
  type KeyPlan,
  type KeyWish,
} from './key-rotation.js'

const hourMs = 3_600_000
const startMs = Date.UTC(2026, 0, 1)
const rotation = { intervalMs: 100 * hourMs, overlapMs: 10 * hourMs }

function wish(fields: Partial<KeyWish> = {}, algorithm: KeyAlgorithm = 'HS256'): KeyWish {
  return { wanted: new Map([['backend', algorithm]]), ...fields }
}

const first = (wanted = wish()): KeyPlan => planKeys(wanted, { record: noKeys, data: new Map() }, startMs)

/** As a Secret brings it back. */
function next(plan: KeyPlan, atMs: number, wanted = wish()): KeyPlan {
  const record = parseKeysRecord(JSON.stringify(plan.record))
  return planKeys(wanted, { record, data: plan.data }, startMs + atMs)
}

test.each(['HS256', 'ES256', 'EdDSA', 'ApiKey'] as const)(
  'a %s key is made once, and found again',
  (algorithm) => {
    const made = first(wish({}, algorithm))
    expect(made.made).toEqual(['backend'])
    const signing = made.data.get('backend') ?? ''
    const [key] = made.keys
    expect(verifyingKey(algorithm, signing)).toBe(key?.verifying)
    expect(key?.id).toBe(keyIdOf(key?.verifying ?? ''))
    const again = next(made, 1, wish({}, algorithm))
    expect(again).toMatchObject({ made: [], rotated: [], record: made.record, nextAtMs: undefined })
    expect(again.data).toEqual(made.data)
  },
)

test('the public half of a pair lies beside it, and a shared secret has none', () => {
  const pair = first(wish({}, 'ES256'))
  expect(pair.data.get(keyParts.publicKey('backend'))).toContain('BEGIN PUBLIC KEY')
  expect(pair.data.get('backend')).toContain('BEGIN PRIVATE KEY')
  expect(first().data.has(keyParts.publicKey('backend'))).toBe(false)
})

describe('rotation', () => {
  const rotating = wish({ rotation })

  test('is due at the interval, not before; what was is kept for the overlap', () => {
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

  test('keeps only what verifies of the former key', () => {
    const pair = wish({ rotation }, 'ES256')
    const rotated = next(first(pair), rotation.intervalMs, pair)
    expect(rotated.data.get(keyParts.previous('backend'))).toContain('BEGIN PUBLIC KEY')
    expect([...rotated.data.values()].filter((text) => text.includes('PRIVATE'))).toHaveLength(1)
  })

  test('is done once for each request, also without an interval', () => {
    const made = first()
    const asked = next(made, 1, wish({ request: 'a' }))
    expect(asked.rotated).toEqual(['backend'])
    expect(asked.keys[0]?.previous?.id).toBe(made.keys[0]?.id)
    expect(next(asked, 2, wish({ request: 'a' })).rotated).toEqual([])
    // Taking the annotation off asks for nothing.
    expect(next(asked, 2).rotated).toEqual([])
    expect(next(asked, 3, wish({ request: 'b' })).rotated).toEqual(['backend'])
  })

  test('goes on after a long time without a controller: one rotation, no old key', () => {
    const made = first(rotating)
    const late = next(made, 50 * rotation.intervalMs, rotating)
    expect(late.rotated).toEqual(['backend'])
    expect(next(late, 50 * rotation.intervalMs + 1, rotating).rotated).toEqual([])
  })
})

describe('a time to live', () => {
  test('ends the key, and what was before it', () => {
    const living = wish({ ttlMs: 5 * hourMs }, 'ApiKey')
    const made = first(living)
    expect(made.keys[0]?.expiresAtMs).toBe(startMs + 5 * hourMs)
    expect(made.nextAtMs).toBe(startMs + 5 * hourMs)
    expect(next(made, 6 * hourMs, living)).toMatchObject({ made: [], rotated: [], nextAtMs: undefined })
  })

  test('with rotation there is always a living key', () => {
    const living = wish({ ttlMs: 5 * hourMs, rotation }, 'ApiKey')
    const rotated = next(first(living), 5 * hourMs, living)
    expect(rotated.rotated).toEqual(['backend'])
    // Its time is over already.
    expect(rotated.keys[0]?.previous).toBeUndefined()
  })
})

describe('what does not fit the record is replaced', () => {
  const cases: [string, (plan: KeyPlan) => KeyPlan][] = [
    ['another secret', (plan) => withData(plan, 'backend', 'x'.repeat(40))],
    ['a secret that is too short', (plan) => withData(plan, 'backend', 'short')],
    ['no secret', (plan) => withData(plan, 'backend', undefined)],
    ['no record', (plan) => ({ ...plan, record: noKeys })],
  ]
  test.each(cases)('%s', (_, broken) => {
    const made = first()
    const again = next(broken(made), 1)
    expect(again.made).toEqual(['backend'])
    expect(again.keys[0]?.id).not.toBe(made.keys[0]?.id)
  })

  test('a former key that was put there by hand does not count', () => {
    const rotated = next(first(), 1, wish({ request: 'a' }))
    const forged = withData(rotated, keyParts.previous('backend'), 'z'.repeat(40))
    const again = next(forged, 2, wish({ request: 'a' }))
    expect(again.keys[0]?.previous).toBeUndefined()
    expect(again.data.has(keyParts.previous('backend'))).toBe(false)
  })

  test('another algorithm is another key', () => {
    expect(next(first(), 1, wish({}, 'EdDSA')).made).toEqual(['backend'])
  })

  test('a key that nobody wants any more goes', () => {
    expect(next(first(), 1, wish({ wanted: new Map() })).data.size).toBe(0)
  })
})

test('who only reads makes nothing', () => {
  const { data, record } = first(wish({}, 'ApiKey'))
  const wanted = wish({ ttlMs: hourMs }, 'ApiKey')
  expect(heldKeys(wanted, { record, data }, startMs)).toMatchObject([{ expiresAtMs: startMs + hourMs }])
  expect(heldKeys(wanted, { record: noKeys, data }, startMs)).toEqual([])
})

test.each([undefined, '', 'no json', '{}', '{"keys":{"a":{}}}'])(
  'a record that is %j is like none',
  (text) => {
    expect(parseKeysRecord(text)).toEqual(noKeys)
  },
)

function withData(plan: KeyPlan, name: string, text: string | undefined): KeyPlan {
  const data = new Map(plan.data)
  if (text === undefined) data.delete(name)
  else data.set(name, text)
  return { ...plan, data }
}
