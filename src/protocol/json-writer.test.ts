import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { writeJson } from './json-writer.js'
import type { MessageFields } from './message-fields.js'

const text = (fields: MessageFields): string => Buffer.from(writeJson(fields)).toString()
const raw = (json: string): Uint8Array => new TextEncoder().encode(json)

describe('an object', () => {
  test('keeps the order of its members and leaves out undefined ones', () => {
    expect(text({ a: undefined, b: 1, c: 'x', d: undefined, e: false })).toBe('{"b":1,"c":"x","e":false}')
    expect(text({})).toBe('{}')
    expect(text({ a: undefined })).toBe('{}')
  })

  test('inserts payloads byte for byte: first, in the middle and last', () => {
    expect(text({ a: raw('1.0') })).toBe('{"a":1.0}')
    expect(text({ a: raw('[1e400]'), b: 2, c: raw('{"é": 1}') })).toBe('{"a":[1e400],"b":2,"c":{"é": 1}}')
  })

  test('contains nested objects and lists', () => {
    expect(text({ a: { b: raw('1') }, c: [], d: 'x' })).toBe('{"a":{"b":1},"c":[],"d":"x"}')
  })

  test('escapes every string', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        expect(JSON.parse(text({ value }))).toEqual({ value })
      }),
    )
  })
})

test('a map may have any names', () => {
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

test('a list keeps its items in order', () => {
  expect(text({ list: [] })).toBe('{"list":[]}')
  expect(text({ list: [{}, { a: raw('1') }, 'x"'] })).toBe('{"list":[{},{"a":1},"x\\""]}')
})
