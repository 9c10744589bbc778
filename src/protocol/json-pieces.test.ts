import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { array, object, objectOf, type Pieces, weave } from './json-pieces.js'

const text = (pieces: Pieces): string => Buffer.from(weave(pieces)).toString()
const raw = (json: string): Uint8Array => new TextEncoder().encode(json)

describe('object', () => {
  test('writes members in order and leaves out the undefined ones', () => {
    expect(text(object({ a: undefined, b: 1, c: 'x', d: undefined, e: false }))).toBe(
      '{"b":1,"c":"x","e":false}',
    )
    expect(text(object({}))).toBe('{}')
    expect(text(object({ a: undefined }))).toBe('{}')
  })

  test('embeds payloads byte for byte, first, in the middle and last', () => {
    expect(text(object({ a: raw('1.0') }))).toBe('{"a":1.0}')
    expect(text(object({ a: raw('[1e400]'), b: 2, c: raw('{"é": 1}') }))).toBe(
      '{"a":[1e400],"b":2,"c":{"é": 1}}',
    )
  })

  test('embeds what was put together before', () => {
    expect(text(object({ a: object({ b: raw('1') }), c: array([]), d: 'x' }))).toBe(
      '{"a":{"b":1},"c":[],"d":"x"}',
    )
  })

  test('keeps every string inside its quotes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        expect(JSON.parse(text(object({ value })))).toEqual({ value })
      }),
    )
  })
})

test('objectOf() takes any names', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.oneof(fc.string(), fc.constantFrom('__proto__', '1', '0'))), (names) => {
      const json = text(objectOf(names.map((name) => [name, object({ name })] as const)))
      expect(new Map(Object.entries(JSON.parse(json) as object))).toEqual(
        new Map(names.map((name) => [name, { name }])),
      )
    }),
  )
})

test('array() joins its items', () => {
  expect(text(array([]))).toBe('[]')
  expect(text(array([object({}), object({ a: raw('1') })]))).toBe('[{},{"a":1}]')
})
