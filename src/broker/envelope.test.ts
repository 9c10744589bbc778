// What gateways write into Redis and tell each other, read again; and what none of them wrote.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  announcedMessage,
  decodeEnvelope,
  decodeTopicMessage,
  encodeEnvelope,
  joinedMessages,
  messagesIn,
} from './envelope.js'

const message = fc.uint8Array({ minLength: 1, maxLength: 70_000 }).map((bytes) => {
  // Of any kind but that of what is joined.
  bytes[0] = 0x53
  return Buffer.from(bytes)
})

test('what is joined comes apart again, in order, byte for byte', () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 20 }), (messages) => {
      expect([...messagesIn(joinedMessages(messages))]).toEqual(messages)
    }),
  )
})

test('one alone is sent as it is', () => {
  const alone = Buffer.from('Pone')
  expect(joinedMessages([alone])).toBe(alone)
})

test.each([1, 4, 6])('what lacks its end is no message: %i bytes fewer', (fewer) => {
  const joined = joinedMessages([Buffer.from('Pone'), Buffer.from('Ptwo')])
  expect(() => [...messagesIn(joined.subarray(0, -fewer))]).toThrow('ends too early')
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

test('a publication is read as it was written', () => {
  const times = fc.record({ timeMs: fc.nat(), ttlMs: fc.option(fc.nat(), { nil: undefined }) })
  fc.assert(
    fc.property(publication, times, (written, time) => {
      const position = { epoch: 'e', offset: 7 }
      expect(decodeEnvelope(encodeEnvelope(written, time), position)).toEqual({
        ...written,
        ...time,
        ...position,
      })
    }),
  )
})

test('an announcement is read as it was written', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('join' as const, 'leave' as const),
      fc.boolean(),
      info,
      (kind, userEdge, who) => {
        const announcement = { kind, userEdge, info: who }
        expect(decodeTopicMessage(announcedMessage(announcement), Number)).toEqual({
          kind: 'announcement',
          announcement,
        })
      },
    ),
  )
})

const somebody = '{"u":"ada","c":"1"}'

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
])('a publication with such a head is refused: %s', (head) => {
  const envelope = Buffer.from(`${head}\n"data"`)
  expect(() => decodeEnvelope(envelope, { epoch: 'e', offset: 1 })).toThrow(
    'the head of a publication is not as',
  )
})

test('a publication without a head is refused', () => {
  expect(() => decodeEnvelope(Buffer.from('{"t":1}'), { epoch: 'e', offset: 1 })).toThrow('is not as')
})

test.each([
  '',
  '{}',
  `{"k":"left","e":true,"p":${somebody}}`,
  `{"k":"join","p":${somebody}}`,
  '{"k":"join","e":true}',
])('such an announcement is refused: %s', (words) => {
  expect(() => decodeTopicMessage(Buffer.from(`A${words}`), Number)).toThrow('an announcement is not as')
})
