import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { digestOf, IdempotencyResults } from './idempotency.js'

describe('IdempotencyResults', () => {
  test('finds the result of the same payload', () => {
    const results = new IdempotencyResults<number>(100, 0)
    results.keep('k', { digest: 'd', result: 7, nowMs: 0 })
    expect(results.find('k', 'd', 0)).toEqual({ kind: 'found', result: 7 })
  })

  test('reports a mismatch for another payload', () => {
    const results = new IdempotencyResults<number>(100, 0)
    results.keep('k', { digest: 'd', result: 7, nowMs: 0 })
    expect(results.find('k', 'other', 0)).toEqual({ kind: 'mismatch' })
  })

  test('keeps each result for at least one window and at most two, for any sequence of calls', () => {
    const waits = fc.array(fc.nat({ max: 250 }), { maxLength: 40 })
    fc.assert(
      fc.property(waits, (script) => {
        const results = new IdempotencyResults<number>(100, 0)
        const keptAtMs = new Map<string, number>()
        let nowMs = 0
        for (const [n, waitMs] of script.entries()) {
          nowMs += waitMs
          for (const [key, atMs] of keptAtMs) {
            const { kind } = results.find(key, 'd', nowMs)
            if (nowMs - atMs < 100) expect(kind).toBe('found')
            if (nowMs - atMs >= 200) expect(kind).toBe('none')
          }
          results.keep(`${n}`, { digest: 'd', result: n, nowMs })
          keptAtMs.set(`${n}`, nowMs)
        }
      }),
    )
  })

  test('keeps nothing after two idle windows', () => {
    const results = new IdempotencyResults<number>(100, 0)
    results.keep('k', { digest: 'd', result: 7, nowMs: 99 })
    results.dropExpired(200)
    expect(results.size).toBe(0)
  })
})

describe('digestOf', () => {
  test('is equal for equal bytes in different buffers', () => {
    expect(digestOf({ data: Buffer.from('xaby').subarray(1, 3) })).toBe(
      digestOf({ data: new Uint8Array([97, 98]) }),
    )
  })

  test('differs when a byte differs', () => {
    expect(digestOf({ data: Buffer.from('a') })).not.toBe(digestOf({ data: Buffer.from('b') }))
  })
})
