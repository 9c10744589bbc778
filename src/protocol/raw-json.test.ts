import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nestingDepth, rawItems, rawValue } from './raw-json.js'

/**
 * A JSON value and one of its many possible texts: white space anywhere, and some characters as \u escapes.
 */
const written = fc
  .tuple(
    fc.jsonValue({ stringUnit: 'binary' }),
    fc.infiniteStream(fc.constantFrom('', '', ' ', '\n', '\r\n', '\t', ' \n ')),
    fc.infiniteStream(fc.boolean()),
  )
  .map(([value, spaces, escapes]) => ({ value, text: write(value, spaces, escapes) }))

function write(value: unknown, spaces: Iterator<string>, escapes: Iterator<boolean>): string {
  const space = (): string => spaces.next().value
  const string = (text: string): string =>
    `"${Array.from({ length: text.length }, (_, at) => escaped(text, at, escapes.next().value)).join('')}"`
  const any = (part: unknown): string => {
    if (Array.isArray(part)) return `[${part.map((item) => space() + any(item) + space()).join(',')}]`
    if (typeof part === 'object' && part !== null) {
      const members = Object.entries(part).map(
        ([key, item]) => `${space()}${string(key)}${space()}:${space()}${any(item)}`,
      )
      return `{${members.join(',')}${space()}}`
    }
    return typeof part === 'string' ? string(part) : JSON.stringify(part)
  }
  return space() + any(value) + space()
}

function escaped(text: string, at: number, always: boolean): string {
  const char = text.charAt(at)
  const code = text.charCodeAt(at)
  const surrogate = code >= 0xd800 && code <= 0xdfff
  if (!always && !surrogate) return JSON.stringify(char).slice(1, -1)
  return `\\u${code.toString(16).padStart(4, '0')}`
}

describe('rawValue', () => {
  test('returns text without line breaks that parses to the value which JSON.parse finds at the path', () => {
    fc.assert(
      fc.property(written, fc.string(), fc.string(), ({ text }, outer, inner) => {
        const frame = `{"a":[1,"]}",{}],${JSON.stringify(outer)}:{"\\"":"}",${JSON.stringify(inner)}:${text}},"\\\\":null}`
        fc.pre(outer !== '\\')
        const parsed = JSON.parse(frame) as Record<string, Record<string, unknown>>
        const raw = rawValue(frame, [outer, inner])
        expect(raw).not.toMatch(/[\r\n]/)
        expect(JSON.parse(raw ?? '')).toEqual(parsed[outer]?.[inner])
      }),
    )
  })

  test('returns minified text unchanged', () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        const text = JSON.stringify(JSON.parse(json))
        expect(rawValue(text, [])).toBe(text)
        expect(rawValue(`{"x":1,"data":${text},"y":"data"}`, ['data'])).toBe(text)
      }),
    )
  })

  test.each([
    '1.0',
    '1e400',
    '-0',
    '123456789012345678901234567890',
    '{"b":1,"a":2,"b":3}',
    '"\\u0041\\/\\ud800"',
    '[ 1 , 2 ]',
  ])('keeps %s as it was written', (text) => {
    expect(rawValue(`{"data": ${text} }`, ['data'])).toBe(text)
  })

  test('takes the last of duplicate keys, at every step', () => {
    expect(rawValue('{"a":{"b":1},"a":{"b":2,"b":3}}', ['a', 'b'])).toBe('3')
    expect(rawValue('{"a":{"b":1},"a":{}}', ['a', 'b'])).toBeUndefined()
    expect(rawValue('{"a":{"b":1},"a":7}', ['a', 'b'])).toBeUndefined()
  })

  test('finds keys that contain escapes', () => {
    expect(rawValue('{"d\\u0061ta":1}', ['data'])).toBe('1')
    expect(rawValue('{"data":1,"\\u0064ata":2}', ['data'])).toBe('2')
    expect(rawValue('{"d\\u0061ta2":1}', ['data'])).toBeUndefined()
    expect(rawValue('{"\\\\\\"":1}', ['\\"'])).toBe('1')
    // The same characters in the text, but another name.
    expect(rawValue('{"\\n":1}', ['\\n'])).toBeUndefined()
    expect(rawValue('{"\\n":1}', ['\n'])).toBe('1')
  })

  test('ignores keys in strings, in other objects and on the prototype', () => {
    expect(rawValue('{"x":"\\"data\\":1","y":{"data":2},"z":[{"data":3}]}', ['data'])).toBeUndefined()
    expect(rawValue('{}', ['constructor'])).toBeUndefined()
    expect(rawValue('{"__proto__":{"data":1}}', ['data'])).toBeUndefined()
    expect(rawValue('["data"]', ['0'])).toBeUndefined()
    expect(rawValue('"data"', ['data'])).toBeUndefined()
  })

  test('removes line breaks between tokens and keeps escaped ones', () => {
    expect(rawValue('{"data":{\r\n  "a": "\\n",\n\n "b": [1,\n2]\n}}', ['data'])).toBe(
      '{  "a": "\\n", "b": [1,2]}',
    )
  })

  test.each([
    ['nesting', `${'['.repeat(500_000)}${']'.repeat(500_000)}`],
    ['backslashes', JSON.stringify('\\'.repeat(500_000))],
    ['quotes', JSON.stringify('"'.repeat(500_000))],
    ['white space', `[${' '.repeat(1_000_000)}]`],
    ['keys', `{${'"a":1,'.repeat(150_000)}"a":2}`],
    ['line breaks', `[${'\n \r'.repeat(300_000)}]`],
  ])('takes linear time for a megabyte of %s', (_, value) => {
    const startMs = performance.now()
    const raw = rawValue(`{"data":${value}}`, ['data'])
    nestingDepth(value)
    expect(raw).toBe(value.replaceAll(/[\r\n]/g, ''))
    // This takes about 20 ms; a quadratic scan would take minutes.
    expect(performance.now() - startMs).toBeLessThan(2000)
  })
})

describe('rawItems', () => {
  test('returns the text of each item', () => {
    fc.assert(
      fc.property(fc.array(written), fc.constantFrom('', ' ', '\n\t'), (items, space) => {
        const list = items.map(({ text }) => `${space}${text}${space}`).join(',')
        const texts = rawItems(`{"x":[],"list":[${list}${space}]}`, ['list'])
        expect(texts).toHaveLength(items.length)
        expect(texts?.map((text) => JSON.parse(text) as unknown)).toEqual(
          items.map(({ text }) => JSON.parse(text) as unknown),
        )
      }),
    )
  })

  test('returns numbers as they were written', () => {
    expect(rawItems('[1.0, 12345678901234567890 ,"a\\u0062"]', [])).toEqual([
      '1.0',
      '12345678901234567890',
      '"a\\u0062"',
    ])
  })

  test.each(['{}', '{"list":{}}', '{"list":null}', '1'])('%s has no items at the path', (text) => {
    expect(rawItems(text, ['list'])).toBeUndefined()
  })
})

describe('nestingDepth', () => {
  test.each([
    ['1', 0],
    ['"[[["', 0],
    ['"\\"[["', 0],
    ['[]', 1],
    ['[{},{"a":[]}]', 3],
    ['[[],[],[[]]]', 3],
  ])('of %s is %i', (json, depth) => {
    expect(nestingDepth(json)).toBe(depth)
  })

  test('agrees with the parsed value', () => {
    const depthOf = (value: unknown): number =>
      typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0
    fc.assert(
      fc.property(written, ({ value, text }) => {
        expect(nestingDepth(text)).toBe(depthOf(value))
      }),
    )
  })
})
