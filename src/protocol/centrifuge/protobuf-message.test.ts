import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { MessageFields } from '../message-fields.js'
import { splitDelimited, mapOf, MessageType, readMessage, writeDelimited } from './protobuf-message.js'

const Inner = new MessageType({ text: [1, 'string'], raw: [2, 'bytes'] })
const Outer = new MessageType({
  flag: [1, 'bool'],
  count: [2, 'uint32'],
  inner: [3, Inner],
  many: [4, { repeated: Inner }],
  named: [5, mapOf(Inner)],
  words: [15, mapOf('string')],
  texts: [16, { repeated: 'string' }],
  big: [17, 'uint64'],
  signed: [18, 'int32'],
})

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex')

function written(fields: MessageFields): Uint8Array {
  const [message, ...more] = splitDelimited(writeDelimited(Outer, fields))
  if (!message || more.length > 0) throw new Error('not one message')
  return message
}

describe('examples', () => {
  test.each<[string, MessageFields]>([
    ['', {}],
    ['08 01', { flag: true }],
    ['10 ac02', { count: 300 }],
    ['1a 00', { inner: {} }],
    ['1a 04 0a 02 c3a9', { inner: { text: 'é' } }],
    ['22 03 0a 01 61 22 00', { many: [{ text: 'a' }, {}] }],
    ['2a 08 0a 01 6b 12 03 0a 01 61', { named: new Map([['k', { text: 'a' }]]) }],
    ['7a 06 0a 01 6b 12 01 61', { words: new Map([['k', 'a']]) }],
    ['8201 01 61 8201 00', { texts: ['a', ''] }],
    ['88 01 8080808010', { big: 2 ** 32 }],
    ['90 01 ffffffffffffffffff01', { signed: -1 }],
  ])('%s is %j', (hex, fields) => {
    expect(Buffer.from(written(fields)).toString('hex')).toBe(hex.replaceAll(' ', ''))
    expect(readMessage(Outer, bytes(hex))).toEqual(fields)
  })

  test('zero values and fields that the type does not have are not written', () => {
    expect(written({ flag: false, count: 0, other: 5 })).toHaveLength(0)
  })

  test('unknown fields of every wire type are skipped', () => {
    const unknown = '30 05  39 0000000000000000  42 01 61  4b 50 01 4c  55 00000000'
    expect(readMessage(Outer, bytes(`${unknown} 08 01 ${unknown}`))).toEqual({ flag: true })
  })

  test('the last of duplicate fields counts', () => {
    expect(readMessage(Outer, bytes('10 01 10 02'))).toEqual({ count: 2 })
  })

  test('a map entry without a key or a value has an empty one', () => {
    expect(readMessage(Outer, bytes('2a 00 7a 00'))).toEqual({
      named: new Map([['', {}]]),
      words: new Map([['', '']]),
    })
  })
})

describe('an invalid message is refused:', () => {
  test.each([
    ['a tag cut off', '88'],
    ['a number cut off', '10 80'],
    ['a number without an end', `10 ${'ff'.repeat(11)}`],
    ['a length beyond the end', '1a 05 0a 01'],
    ['a length of 4 GiB', '1a ffffffff0f'],
    ['field 0', '00 01'],
    ['wire type 7', '0f 01'],
    ['a message where a number belongs', '0a 00'],
    ['a number where a message belongs', '18 01'],
    ['a group without an end', '33'],
    ['groups a thousand deep', '33'.repeat(1000)],
    ['text that is not UTF-8', '1a 03 0a 01 ff'],
    ['a surrogate in UTF-8', '1a 05 0a 03 eda080'],
  ])('%s', (_what, hex) => {
    expect(() => readMessage(Outer, bytes(hex))).toThrow(/./)
  })

  test('a length that does not fit, after the preceding messages are returned', () => {
    const messages = splitDelimited(bytes('02 0801 05 08'))
    expect(messages.next().value).toEqual(bytes('0801'))
    expect(() => messages.next()).toThrow(/./)
  })
})

test('any message that is written is read back unchanged', () => {
  const inner = fc.record({
    text: fc.string({ unit: 'grapheme', minLength: 1 }),
    raw: fc.uint8Array({ minLength: 1 }),
  })
  const outer = fc.record(
    {
      flag: fc.constant(true),
      count: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      inner,
      many: fc.array(inner, { minLength: 1 }),
      named: fc.array(fc.tuple(fc.string(), inner), { minLength: 1 }).map((entries) => new Map(entries)),
      words: fc.array(fc.tuple(fc.string(), fc.string()), { minLength: 1 }).map((pairs) => new Map(pairs)),
      texts: fc.array(fc.string(), { minLength: 1 }),
      big: fc.maxSafeNat().filter((number) => number > 0),
      signed: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }).filter((number) => number !== 0),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(outer, (fields) => {
      expect(readMessage(Outer, written(fields))).toEqual(fields)
    }),
  )
})
