import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { CommandError } from '../../errors.js'
import { toChatRef } from './ref.js'
import { chatCodec } from './codec.js'
import type { Command, DecodedItem } from '../commands.js'

function decode(frame: string): DecodedItem {
  const [item, ...more] = chatCodec.decode(Buffer.from(frame))
  expect(more).toEqual([])
  if (item === undefined) throw new Error('nothing decoded')
  return item
}

function commandOf(fields: object): Command {
  const item = decode(JSON.stringify(fields))
  if (item.kind !== 'command') throw new Error(`not a command: ${JSON.stringify(item)}`)
  return item.command
}

/** The refusal, and the error event that reports it to the client. */
function refusalOf(frame: string): { error: CommandError; event: unknown } {
  const item = decode(frame)
  if (item.kind !== 'refused') throw new Error(`not refused: ${JSON.stringify(item)}`)
  return {
    error: item.error,
    event: JSON.parse(Buffer.from(chatCodec.error(item.ref, item.error)).toString()),
  }
}

const content = Buffer.from('"hi"')

describe('publishing', () => {
  test.each<readonly [object, object]>([
    [{ type: 'chat' }, { channel: 'lobby', echo: false }],
    [
      { type: 'chat', room: 'r' },
      { channel: 'r', echo: false },
    ],
    [
      { type: 'chat', room: null },
      { channel: 'lobby', echo: false },
    ],
    [
      { type: 'chat', echo: true },
      { channel: 'lobby', echo: true },
    ],
    [
      { type: 'room_message', room: 'r' },
      { channel: 'r', echo: true },
    ],
    [
      { type: 'room_message', room: 'r', echo: false },
      { channel: 'r', echo: false },
    ],
    [
      { type: 'room_message', room: 'r', echo: null },
      { channel: 'r', echo: true },
    ],
    [
      { type: 'direct_message', target_user: 'bob' },
      { channel: 'dm:bob', echo: true },
    ],
    [
      { type: 'direct_message', target_user: 'bob', echo: false },
      { channel: 'dm:bob', echo: false },
    ],
    [
      { type: 'chat', key: 'k' },
      { channel: 'lobby', echo: false, idempotencyKey: 'k' },
    ],
    [
      { type: 'chat', unknown: 1 },
      { channel: 'lobby', echo: false },
    ],
  ])('%j', (fields, meant) => {
    expect(commandOf({ content: 'hi', ...fields })).toEqual({
      kind: 'publish',
      data: content,
      idempotencyKey: undefined,
      ...meant,
    })
  })

  test('keeps content exactly as written', () => {
    const text = '{"b":1.0,"a":1e400,"b":12345678901234567890,"\\u0061":"\\ud800\\/é"}'
    expect(decode(`{\n "content": ${text},\n "type":"chat"}`)).toMatchObject({
      command: { data: Buffer.from(text) },
    })
    expect(decode('{"type":"chat","content":{\r\n"a":1\n}}')).toMatchObject({
      command: { data: Buffer.from('{"a":1}') },
    })
  })

  test.each([null, 0, false, '', [], {}])('accepts %j as content', (value) => {
    expect(commandOf({ type: 'chat', content: value })).toMatchObject({
      data: Buffer.from(JSON.stringify(value)),
    })
  })

  test('content may be nested 128 levels deep', () => {
    const nested = (levels: number): string =>
      `{"type":"chat","id":1,"content":${'['.repeat(levels)}${']'.repeat(levels)}}`
    expect(decode(nested(128)).kind).toBe('command')
    expect(refusalOf(nested(129)).event).toMatchObject({ code: 'BAD_REQUEST', id: 1 })
    expect(refusalOf(nested(30_000)).event).toMatchObject({ code: 'BAD_REQUEST', id: 1 })
  })
})

describe('rooms', () => {
  const join = {
    kind: 'subscribe',
    channel: 'r',
    token: '',
    joinLeave: true,
    recoverable: true,
    gapIsError: false,
  }
  const position = { epoch: 'e', offset: 4294967297 }

  test('join_room', () => {
    expect(commandOf({ type: 'join_room', room: 'r' })).toEqual({ ...join, since: undefined })
    expect(commandOf({ type: 'join_room', room: 'r', since: null })).toEqual({ ...join, since: undefined })
    expect(commandOf({ type: 'join_room', room: 'r', since: { ...position, x: 1 } })).toEqual({
      ...join,
      since: position,
    })
  })

  test.each(['9007199254740992', '18446744073709551616', '1e300'])(
    'offset %s, which a number cannot represent, becomes an offset above every stream',
    (offset) => {
      expect(
        decode(`{"type":"join_room","room":"r","since":{"epoch":"e","offset":${offset}}}`),
      ).toMatchObject({
        command: { since: { epoch: 'e', offset: Number.MAX_SAFE_INTEGER } },
      })
    },
  )

  test('leave_room and presence', () => {
    expect(commandOf({ type: 'leave_room', room: 'r' })).toEqual({ kind: 'unsubscribe', channel: 'r' })
    expect(commandOf({ type: 'presence', room: 'r' })).toEqual({ kind: 'presence', channel: 'r' })
  })

  test.each<readonly [object, object, boolean]>([
    [{}, { limit: 50, since: undefined, reverse: true }, true],
    [{ limit: 3 }, { limit: 3, since: undefined, reverse: true }, true],
    [{ before: position }, { limit: 50, since: position, reverse: true }, true],
    [{ since: position, limit: 0 }, { limit: 0, since: position, reverse: false }, false],
    [
      { since: { epoch: 'e', offset: 0 } },
      { limit: 50, since: { epoch: 'e', offset: 0 }, reverse: false },
      false,
    ],
  ])('history %j', (fields, meant, newestFirst) => {
    const item = decode(JSON.stringify({ type: 'history', room: 'r', ...fields }))
    expect(item).toEqual({
      kind: 'command',
      command: { kind: 'history', channel: 'r', ...meant },
      ref: { id: undefined, newestFirst },
    })
  })

  test('pong', () => {
    expect(decode('{"type":"pong"}')).toEqual({ kind: 'pong' })
  })
})

describe('an id', () => {
  test.each([
    '"a"',
    '""',
    '1',
    '-1.50',
    '0',
    '12345678901234567890',
    '"\\u0061\\ud800"',
    JSON.stringify('x'.repeat(128)),
  ])('%s is repeated exactly as written', (id) => {
    const item = decode(`{"type":"leave_room","room":"r", "id" : ${id} }`)
    if (item.kind !== 'command') throw new Error('not a command')
    expect(toChatRef(item.ref).id).toBe(id)
  })

  test.each(['true', '{}', '[1]', '1e400', JSON.stringify('x'.repeat(129))])('%s is refused', (id) => {
    expect(refusalOf(`{"type":"pong","id":${id}}`).event).toEqual({
      event: 'error',
      code: 'BAD_REQUEST',
      message: expect.stringMatching(/^"id": .*128 characters/),
    })
  })

  test('null counts as absent', () => {
    expect(decode('{"type":"leave_room","room":"r","id":null}')).toMatchObject({ ref: { id: undefined } })
  })
})

describe('refusals', () => {
  test.each([
    '',
    ' ',
    'x',
    '{',
    '{}{}',
    '{"type":"chat",}',
    '\ufeff{}',
    '{"type":"pong"}\u0000',
    '{"type":"a\nb"}',
  ])('%j is INVALID_JSON', (frame) => {
    expect(refusalOf(frame).event).toEqual({
      event: 'error',
      code: 'INVALID_JSON',
      message: 'The frame is not one JSON object in UTF-8',
    })
  })

  test('bytes that are not UTF-8 are INVALID_JSON', () => {
    const frame = Buffer.from('{"type":"chat","content":"?"}')
    frame[frame.indexOf('?')] = 0xff
    expect(chatCodec.decode(frame)).toMatchObject([{ kind: 'refused', error: { code: 'INVALID_JSON' } }])
  })

  test.each(['null', '1', '"chat"', '[]', '[{"type":"pong"}]', 'true'])('%s is BAD_REQUEST', (frame) => {
    expect(refusalOf(frame).event).toEqual({
      event: 'error',
      code: 'BAD_REQUEST',
      message: 'The frame is JSON, but not an object: {"type":"…",…}',
    })
  })

  test.each(['subscribe', 'Chat', '', 'constructor', '__proto__', 'x'.repeat(1000)])(
    'type %j is UNKNOWN_TYPE',
    (type) => {
      const { error, event } = refusalOf(JSON.stringify({ type, id: 'i' }))
      expect(event).toMatchObject({ code: 'UNKNOWN_TYPE', id: 'i' })
      expect(error.message).toContain(
        'the types are chat, join_room, leave_room, room_message, direct_message, history, presence, pong',
      )
      expect(error.message.length).toBeLessThan(200)
    },
  )

  test.each<readonly [object, string]>([
    [{}, '"type" is missing'],
    [{ type: null }, '"type" is missing'],
    [{ type: 5 }, '"type": Invalid input: expected string, received number'],
    [{ type: 'chat' }, '"content" is missing'],
    [{ type: 'chat', content: 1, room: '' }, '"room": '],
    [{ type: 'chat', content: 1, room: 5 }, '"room": '],
    [{ type: 'chat', content: 1, room: 'x'.repeat(256) }, '"room": '],
    [{ type: 'chat', content: 1, key: '' }, '"key": '],
    [{ type: 'chat', content: 1, key: 'x'.repeat(129) }, '"key": '],
    [{ type: 'chat', content: 1, key: 'a\u0007' }, '"key": expected no control characters'],
    [{ type: 'chat', content: 1, key: 5 }, '"key": '],
    [{ type: 'chat', content: 1, echo: 'no' }, '"echo": '],
    [{ type: 'room_message', content: 1 }, '"room" is missing'],
    [{ type: 'room_message', content: 1, room: null }, '"room" is missing'],
    [{ type: 'room_message', room: 'r' }, '"content" is missing'],
    [
      { type: 'room_message', content: 1, room: 'r', key: '\ud800' },
      '"key": expected no control characters and no lone surrogates',
    ],
    [{ type: 'direct_message', content: 1 }, '"target_user" is missing'],
    [{ type: 'direct_message', content: 1, target_user: ['bob'] }, '"target_user": '],
    [{ type: 'join_room' }, '"room" is missing'],
    [{ type: 'join_room', room: {} }, '"room": '],
    [{ type: 'join_room', room: 'r', since: 5 }, '"since": '],
    [{ type: 'join_room', room: 'r', since: {} }, '"since.epoch" is missing'],
    [{ type: 'join_room', room: 'r', since: { epoch: 'e' } }, '"since.offset" is missing'],
    [{ type: 'join_room', room: 'r', since: { epoch: '', offset: 1 } }, '"since.epoch": '],
    [
      { type: 'join_room', room: 'r', since: { epoch: 'e', offset: -1 } },
      '"since.offset": expected an integer of at least 0',
    ],
    [
      { type: 'join_room', room: 'r', since: { epoch: 'e', offset: 1.5 } },
      '"since.offset": expected an integer of at least 0',
    ],
    [{ type: 'join_room', room: 'r', since: { epoch: 'e', offset: '1' } }, '"since.offset": '],
    [{ type: 'leave_room' }, '"room" is missing'],
    [{ type: 'presence' }, '"room" is missing'],
    [{ type: 'history' }, '"room" is missing'],
    [{ type: 'history', room: 'r', limit: -1 }, '"limit": '],
    [{ type: 'history', room: 'r', limit: 1001 }, '"limit": '],
    [{ type: 'history', room: 'r', limit: 1.5 }, '"limit": '],
    [
      { type: 'history', room: 'r', before: { epoch: 'e', offset: 0 } },
      '"before.offset" must be at least 1: nothing precedes offset 0',
    ],
    [
      { type: 'history', room: 'r', before: { epoch: 'e', offset: 1 }, since: { epoch: 'e', offset: 1 } },
      'Use either "before" or "since", not both',
    ],
  ])('%j is refused with the name of the field', (fields, message) => {
    const { event } = refusalOf(JSON.stringify({ ...fields, id: 9 }))
    expect(event).toEqual({
      event: 'error',
      id: 9,
      code: 'BAD_REQUEST',
      message: expect.stringContaining(message),
    })
  })
})

describe('decode never throws', () => {
  const types = [
    'chat',
    'join_room',
    'leave_room',
    'room_message',
    'direct_message',
    'history',
    'presence',
    'pong',
    'x',
  ]
  const names = [
    'id',
    'room',
    'content',
    'target_user',
    'key',
    'echo',
    'since',
    'before',
    'limit',
    '__proto__',
  ]

  test('on any bytes, and returns one item', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(chatCodec.decode(Buffer.from(bytes))).toHaveLength(1)
      }),
    )
  })

  test('on JSON of roughly the right shape, and every error can be encoded', () => {
    const frame = fc
      .tuple(
        fc.constantFrom(...types),
        fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ stringUnit: 'binary' })),
      )
      .map(([type, fields]) => JSON.stringify({ type, ...fields }))
    fc.assert(
      fc.property(fc.oneof(frame, fc.json()), (text) => {
        const item = decode(text)
        if (item.kind === 'refused') expect(refusalOf(text).event).toMatchObject({ event: 'error' })
        else expect(item.kind).toBeOneOf(['command', 'pong'])
      }),
      { numRuns: 1000 },
    )
  })
})
