import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChunkCounter } from './chunk-counter.js'

const chunkOf = (bytes: number, extension = ''): string =>
  `${bytes.toString(16)}${extension}\r\n${'\n'.repeat(bytes)}\r\n`

/** Returns whether the counter accepts the body, in parts of `partBytes`. */
function accepts(body: string, partBytes = body.length): boolean {
  const counter = new ChunkCounter()
  for (let at = 0; at < body.length; at += partBytes)
    if (!counter.accept(Buffer.from(body.slice(at, at + partBytes), 'latin1'))) return false
  return true
}

test('accepts few chunks of any size, and any number of larger ones', () => {
  expect(accepts(chunkOf(1).repeat(256))).toBe(true)
  expect(accepts(chunkOf(1).repeat(257))).toBe(false)
  expect(accepts(chunkOf(64).repeat(10_000))).toBe(true)
  expect(accepts(chunkOf(63).repeat(300))).toBe(false)
})

test('reads sizes with extensions, zeros and capital letters', () => {
  expect(accepts(chunkOf(1, ';a=ffff').repeat(300))).toBe(false)
  expect(accepts(`000A\r\n${'x'.repeat(10)}\r\n`.repeat(300))).toBe(false)
  expect(accepts(`4a ;f\r\n${'x'.repeat(0x4a)}\r\n`.repeat(300))).toBe(true)
})

test('counts nothing after the last chunk', () => {
  expect(accepts(`${chunkOf(1)}0\r\n${'a: b\r\n'.repeat(1_000)}\r\n`)).toBe(true)
})

test('counts the same wherever the packets end', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 250, maxLength: 300 })
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 50 }), (all, partBytes) => {
      const body = all.map((bytes) => chunkOf(bytes)).join('')
      expect(accepts(body, partBytes)).toBe(accepts(body))
    }),
  )
})
