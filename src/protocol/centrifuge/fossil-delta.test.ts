import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { applyDelta } from 'fossil-delta'
import { describe, expect, test } from 'vitest'
import { createFossilDelta } from './fossil-delta.js'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function between(from: string, to: string): string | undefined {
  const delta = createFossilDelta(bytes(from), bytes(to))
  if (!delta) return undefined
  expect(new TextDecoder().decode(applyDelta(bytes(from), Uint8Array.from(delta)))).toBe(to)
  return new TextDecoder('utf-8', { fatal: true }).decode(delta)
}

describe('examples', () => {
  const long = 'x'.repeat(100)

  test('an identical text is one copy', () => {
    expect(between(long, long)).toBe(`1_\n1_@0,${sum(long)};`)
  })

  test('one change gives copy, insert, copy', () => {
    expect(between(`${long}1${long}`, `${long}22${long}`)).toBe(
      `3A\n1_@0,2:221_@1a,${sum(`${long}22${long}`)};`,
    )
  })

  test('characters are never split', () => {
    // é and è differ in their second byte, and so do ж and з.
    expect(between(`${long}é${long}`, `${long}è${long}`)).toContain(':è')
    expect(between(`${long}ж${long}`, `${long}з${long}`)).toContain(':з')
    // These characters share their last byte.
    expect(between(`${long}é${long}`, `${long}ĩ${long}`)).toContain(':ĩ')
    expect(between(`${long}😀${long}`, `${long}🙀${long}`)).toContain(':🙀')
  })

  test('there is no delta when it would save nothing', () => {
    expect(between('', '')).toBeUndefined()
    expect(between(long, 'y'.repeat(100))).toBeUndefined()
    expect(between('short', 'shirt')).toBeUndefined()
    expect(between(`${long}${long}`, 'x')).toBeUndefined()
  })

  /** The checksum as the description of the format defines it. */
  function sum(text: string): string {
    const padded = Buffer.concat([bytes(text), Buffer.alloc((4 - (bytes(text).length % 4)) % 4)])
    let total = 0n
    for (let at = 0; at < padded.length; at += 4) total += BigInt(padded.readUInt32BE(at))
    let rest = Number(total % 2n ** 32n)
    let digits = ''
    for (; rest > 0; rest = Math.floor(rest / 64))
      digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~'.charAt(rest % 64) + digits
    return digits
  }
})

test('for any texts the delta gives the target when applied, is UTF-8, and is smaller', () => {
  const word = fc.string({
    unit: fc.constantFrom('a', 'b', 'é', 'è', 'ж', 'з', '中', '丮', '😀', '🙀', '\n', '"'),
  })
  const edit = fc.tuple(word, word, word, word).map(([head, one, two, tail]) => {
    const [before, after] = [head.repeat(8), tail.repeat(8)]
    return [before + one + after, before + two + after] as const
  })
  fc.assert(
    fc.property(edit, ([from, to]) => {
      const delta = createFossilDelta(bytes(from), bytes(to))
      if (!delta) return
      expect(isUtf8(delta)).toBe(true)
      expect(delta.byteLength).toBeLessThan(bytes(to).byteLength)
      expect(new TextDecoder().decode(applyDelta(bytes(from), Uint8Array.from(delta)))).toBe(to)
    }),
    { numRuns: 2000 },
  )
})
