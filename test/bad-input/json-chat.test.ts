// Invalid JSON at the chat endpoint: always an error event, and the connection stays open.
import { beforeAll, describe, expect, test } from 'vitest'
import type { Json, RawClient } from '../support/raw-client.js'
import { expectSentence, targetGateway } from '../support/raw-gateway.js'

const target = targetGateway()
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

let client: RawClient
beforeAll(async () => {
  client = await target.chat('alice')
  client.send({ type: 'join_room', room: 'general', id: 'join' })
  await client.json(({ event }) => event === 'user_joined')
})

/**
 * Sends one frame, and a valid command to show that the connection is open. Resolves to the reply to the
 * frame.
 */
async function answerTo(frame: string): Promise<Json> {
  client.send(frame)
  const answer = await client.json(({ event }) => event !== 'ping')
  client.send('{"type":"presence","room":"general","id":"alive"}')
  await client.json(({ event, id }) => event === 'ack' && id === 'alive')
  return answer
}

async function expectError(frame: string, code: string, about = ''): Promise<void> {
  const answer = await answerTo(frame)
  expect(answer).toMatchObject({ event: 'error', code })
  expectSentence(answer['message'])
  expect(answer['message']).toContain(about)
}

describe('not JSON', () => {
  test.each([
    ['nothing', ''],
    ['white space', ' \n\t'],
    ['a word', 'hello'],
    ['an open brace', '{'],
    ['single quotes', "{'type':'pong'}"],
    ['a comma too many', '{"type":"pong",}'],
    ['a comment', '{"type":"pong"} // hi'],
    ['NaN', '{"type":"pong","id":NaN}'],
    ['Infinity', '{"type":"pong","id":-Infinity}'],
    ['hexadecimal', '{"type":"pong","id":0x10}'],
    ['a leading zero', '{"type":"pong","id":01}'],
    ['undefined', 'undefined'],
    ['a byte order mark', '\uFEFF{"type":"pong"}'],
    ['NUL behind it', '{"type":"pong"}\u0000'],
    ['NUL in a string', '{"type":"chat","content":"a\u0000b"}'],
    ['a line break in a string', '{"type":"chat","content":"a\nb"}'],
    ['bytes behind it', '{"type":"pong"}x'],
    ['two objects', '{"type":"pong"}{"type":"pong"}'],
    ['two lines, as the other endpoint allows', '{"type":"pong"}\n{"type":"pong"}'],
    ['half a surrogate escape', '{"type":"chat","content":"\\ud8"}'],
    ['10,000 open brackets', '['.repeat(10_000)],
    ['60,000 open braces', '{"a":'.repeat(12_000)],
  ])('%s', async (_what, frame) => {
    await expectError(frame, 'INVALID_JSON', 'JSON object')
  })
})

describe('JSON that is not a command', () => {
  test.each([
    ['an array', '[{"type":"pong"}]', 'BAD_REQUEST', 'not an object'],
    ['a string', '"pong"', 'BAD_REQUEST', 'not an object'],
    ['a number', '1e400', 'BAD_REQUEST', 'not an object'],
    ['null', 'null', 'BAD_REQUEST', 'not an object'],
    ['10,000 arrays in one another', nested(10_000), 'BAD_REQUEST', 'not an object'],
    ['no type', '{}', 'BAD_REQUEST', '"type" is missing'],
    ['a null type', '{"type":null}', 'BAD_REQUEST', '"type" is missing'],
    ['a number for a type', '{"type":1}', 'BAD_REQUEST', '"type"'],
    ['an array for a type', '{"type":["chat"]}', 'BAD_REQUEST', '"type"'],
    ['an empty type', '{"type":""}', 'UNKNOWN_TYPE', 'the types are chat, '],
    ['an unknown type', '{"type":"format_disk"}', 'UNKNOWN_TYPE', '"format_disk"'],
    [
      'a type of 10,000 characters',
      `{"type":"${'x'.repeat(10_000)}"}`,
      'UNKNOWN_TYPE',
      `"${'x'.repeat(40)}"`,
    ],
    [
      'a type with CR, LF and ANSI',
      '{"type":"a\\r\\n\\u001b[31mb"}',
      'UNKNOWN_TYPE',
      String.raw`a\r\n\u001b[31mb`,
    ],
    ['a type of Object.prototype', '{"type":"constructor"}', 'UNKNOWN_TYPE', '"constructor"'],
    ['__proto__ for a type', '{"type":"__proto__"}', 'UNKNOWN_TYPE', '"__proto__"'],
    ['a type by way of __proto__', '{"__proto__":{"type":"pong"}}', 'BAD_REQUEST', '"type" is missing'],
    ['a type in another case', '{"type":"CHAT","content":1}', 'UNKNOWN_TYPE', '"CHAT"'],
    [
      'a command of the other endpoint',
      '{"id":1,"connect":{"token":"x"}}',
      'BAD_REQUEST',
      '"type" is missing',
    ],
    ['an event of the server’s own', '{"event":"ack","id":1}', 'BAD_REQUEST', '"type" is missing'],
    ['an id that is an object', '{"type":"pong","id":{}}', 'BAD_REQUEST', '"id"'],
    ['an id that is an array', `{"type":"pong","id":${nested(5_000)}}`, 'BAD_REQUEST', '"id"'],
    ['an id that is a boolean', '{"type":"pong","id":true}', 'BAD_REQUEST', '"id"'],
    ['an id of 129 characters', `{"type":"pong","id":"${'i'.repeat(129)}"}`, 'BAD_REQUEST', '"id"'],
    ['an id that no double holds', '{"type":"pong","id":1e400}', 'BAD_REQUEST', '"id"'],
    ['no content', '{"type":"chat"}', 'BAD_REQUEST', '"content" is missing'],
    [
      'a content by way of __proto__',
      '{"type":"chat","__proto__":{"content":1}}',
      'BAD_REQUEST',
      '"content"',
    ],
    ['content of 10,000 levels', `{"type":"chat","content":${nested(10_000)}}`, 'BAD_REQUEST', 'levels'],
    ['content of 129 levels', `{"type":"chat","content":${nested(129)}}`, 'BAD_REQUEST', 'levels'],
    [
      'content over the tenant’s limit',
      `{"type":"chat","content":"${'x'.repeat(40_000)}"}`,
      'MESSAGE_TOO_LARGE',
      '32768',
    ],
    ['a number for a room', '{"type":"join_room","room":7}', 'BAD_REQUEST', '"room"'],
    ['no room', '{"type":"join_room"}', 'BAD_REQUEST', '"room" is missing'],
    [
      'a number for a user',
      '{"type":"direct_message","target_user":7,"content":1}',
      'BAD_REQUEST',
      '"target_user"',
    ],
    ['echo that is a text', '{"type":"chat","content":1,"echo":"false"}', 'BAD_REQUEST', '"echo"'],
    ['since that is a number', '{"type":"join_room","room":"a","since":5}', 'BAD_REQUEST', '"since"'],
  ])('%s', async (_what, frame, code, about) => {
    await expectError(frame, code, about)
  })
})

describe('unusual but valid', () => {
  test.each([
    ['a float', '1.50'],
    ['a huge number', '123456789012345678901234567890'],
    ['minus zero', '-0'],
    ['a negative number', '-17'],
    ['an empty text', '""'],
    ['a text with escapes', String.raw`"\u0041\n\ud83d\ude00"`],
    ['a lone surrogate', String.raw`"\ud800"`],
  ])('an id that is %s is returned as written', async (_what, id) => {
    client.send(`{"type":"leave_room","room":"elsewhere","id":${id}}`)
    const frame = await client.frame()
    expect(frame.payload.toString()).toContain(`"id":${id},`)
    expect(await client.json()).toMatchObject({ event: 'ack' })
  })

  test('an id may be reused', async () => {
    for (let round = 0; round < 3; round += 1)
      expect(await answerTo('{"type":"presence","room":"general","id":1}')).toMatchObject({
        event: 'presence',
      })
  })

  test.each([
    ['an unknown field', '{"type":"room_message","room":"general","content":7,"colour":"red"}', '7'],
    [
      'a doubled key: the last counts',
      '{"type":"room_message","room":"no","room":"general","content":1,"content":2}',
      '2',
    ],
    [
      'fields of Object.prototype',
      '{"type":"room_message","room":"general","content":3,"constructor":1,"__proto__":{"room":"no"},"toString":2}',
      '3',
    ],
    ['a key written in escapes', String.raw`{"type":"room_message","room":"general","c\u006fntent":4}`, '4'],
    ['1e400 in the content', '{"type":"room_message","room":"general","content":1e400}', '1e400'],
    ['minus zero in the content', '{"type":"room_message","room":"general","content":-0}', '-0'],
    [
      'a lone surrogate in the content',
      String.raw`{"type":"room_message","room":"general","content":"\udc00"}`,
      String.raw`"\udc00"`,
    ],
    [
      'doubled and prototype keys in the content',
      '{"type":"room_message","room":"general","content":{"a":1,"a":2,"__proto__":{"b":1}}}',
      '{"a":1,"a":2,"__proto__":{"b":1}}',
    ],
    [
      '128 levels in the content',
      `{"type":"room_message","room":"general","content":${nested(128)}}`,
      nested(128),
    ],
    ['line breaks between tokens', '{"type":"room_message","room":"general","content":[1,\r\n2]}', '[1,2]'],
    ['null as content', '{"type":"room_message","room":"general","content":null}', 'null'],
  ])('%s', async (_what, frame, content) => {
    client.send(frame)
    const received = await client.frame()
    expect(received.payload.toString()).toContain(`"content":${content},`)
  })

  test('no frame has polluted a prototype', () => {
    expect(Object.keys(Object.prototype)).toEqual([])
    expect(({} as Json)['room']).toBeUndefined()
  })
})
