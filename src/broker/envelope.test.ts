// Encoding and decoding of messages and stored publications: a decoded value equals the encoded one, and
// malformed input is refused.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  announcementMessage,
  readEnvelope,
  decodeTopicMessage,
  writeEnvelope,
  joinMessages,
  splitMessages,
} from './envelope.js'

const message = fc.uint8Array({ minLength: 1, maxLength: 70_000 }).map((bytes) => {
  // The first byte must not be that of a joined message.
  bytes[0] = 0x53
  return Buffer.from(bytes)
})

test('joined messages are split again, in order, byte for byte', () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 20 }), (messages) => {
      expect([...splitMessages(joinMessages(messages))]).toEqual(messages)
    }),
  )
})

test('joining a single message returns it unchanged', () => {
  const alone = Buffer.from('Pone')
  expect(joinMessages([alone])).toBe(alone)
})

test.each([1, 4, 6])('a joined message that lacks %i bytes is refused', (fewer) => {
  const joined = joinMessages([Buffer.from('Pone'), Buffer.from('Ptwo')])
  expect(() => [...splitMessages(joined.subarray(0, -fewer))]).toThrow('ends too early')
})

const text = fc.string({ unit: 'binary' })
const info = fc.record(
  { user: text, client: text, name: text, info: fc.json().map((json) => Buffer.from(json)) },
  { requiredKeys: ['user', 'client'] },
)
const publication = fc.record(
  {
    data: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    info,
    tags: fc.array(fc.tuple(text, text)).map((pairs) => new Map(pairs)),
    skipSession: text,
  },
  { requiredKeys: ['data'] },
)

test('a decoded publication equals the encoded one', () => {
  const times = fc.record({ timeMs: fc.nat(), ttlMs: fc.option(fc.nat(), { nil: undefined }) })
  fc.assert(
    fc.property(publication, times, (written, time) => {
      const position = { epoch: 'e', offset: 7 }
      expect(readEnvelope(writeEnvelope(written, time), position)).toEqual({
        ...written,
        ...time,
        ...position,
      })
    }),
  )
})

test('a decoded announcement equals the encoded one', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('join' as const, 'leave' as const),
      fc.boolean(),
      info,
      (kind, userEdge, member) => {
        const announcement = { kind, userEdge, info: member }
        expect(decodeTopicMessage(announcementMessage(announcement), Number)).toEqual({
          kind: 'announcement',
          announcement,
        })
      },
    ),
  )
})

const infoJson = '{"u":"ada","c":"1"}'

test.each([
  '',
  'no JSON',
  'null',
  '[]',
  '{}',
  '{"t":"1"}',
  '{"t":1,"x":"1"}',
  '{"t":1,"s":1}',
  '{"t":1,"p":{}}',
  '{"t":1,"p":{"u":"ada"}}',
  '{"t":1,"p":{"u":"ada","c":"1","n":null}}',
  '{"t":1,"p":{"u":"ada","c":"1","i":{}}}',
  '{"t":1,"g":{}}',
  '{"t":1,"g":[["a"]]}',
  '{"t":1,"g":[["a","b","c"]]}',
  '{"t":1,"g":[["a",1]]}',
])('a publication with a malformed header is refused: %s', (head) => {
  const envelope = Buffer.from(`${head}\n"data"`)
  expect(() => readEnvelope(envelope, { epoch: 'e', offset: 1 })).toThrow('malformed publication header')
})

test('a publication without a header is refused', () => {
  expect(() => readEnvelope(Buffer.from('{"t":1}'), { epoch: 'e', offset: 1 })).toThrow('malformed')
})

test.each([
  '',
  '{}',
  `{"k":"left","e":true,"p":${infoJson}}`,
  `{"k":"join","p":${infoJson}}`,
  '{"k":"join","e":true}',
])('a malformed announcement is refused: %s', (json) => {
  expect(() => decodeTopicMessage(Buffer.from(`A${json}`), Number)).toThrow('malformed announcement')
})
