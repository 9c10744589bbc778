// Several messages to one topic that travel as one.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { joinedMessages, messagesIn } from './envelope.js'

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
