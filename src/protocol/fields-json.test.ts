import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { writeJson } from './fields-json.js'
import type { Fields } from './fields.js'

const text = (fields: Fields): string => Buffer.from(writeJson(fields)).toString()
const raw = (json: string): Uint8Array => new TextEncoder().encode(json)

describe('an object', () => {
  test('has its members in order, without the undefined ones', () => {
    expect(text({ a: undefined, b: 1, c: 'x', d: undefined, e: false })).toBe('{"b":1,"c":"x","e":false}')
    expect(text({})).toBe('{}')
    expect(text({ a: undefined })).toBe('{}')
  })

  test('embeds payloads byte for byte, first, in the middle and last', () => {
    expect(text({ a: raw('1.0') })).toBe('{"a":1.0}')
    expect(text({ a: raw('[1e400]'), b: 2, c: raw('{"é": 1}') })).toBe('{"a":[1e400],"b":2,"c":{"é": 1}}')
  })

  test('embeds objects and lists', () => {
    expect(text({ a: { b: raw('1') }, c: [], d: 'x' })).toBe('{"a":{"b":1},"c":[],"d":"x"}')
  })

  test('keeps every string inside its quotes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        expect(JSON.parse(text({ value }))).toEqual({ value })
      }),
    )
  })
})

test('a map takes any names', () => {
  expect(text({ map: new Map() })).toBe('{"map":{}}')
  fc.assert(
    fc.property(fc.uniqueArray(fc.oneof(fc.string(), fc.constantFrom('__proto__', '1', '0'))), (names) => {
      const { map } = JSON.parse(text({ map: new Map(names.map((name) => [name, { name }])) })) as {
        map: object
      }
      expect(new Map(Object.entries(map))).toEqual(new Map(names.map((name) => [name, { name }])))
    }),
  )
})

test('a list joins its items', () => {
  expect(text({ list: [] })).toBe('{"list":[]}')
  expect(text({ list: [{}, { a: raw('1') }, 'x"'] })).toBe('{"list":[{},{"a":1},"x\\""]}')
})
