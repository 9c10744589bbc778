// Invalid JSON at the Centrifuge endpoint: protocol violations close with 3501, as official clients expect.
// Other errors are answered with their number.
import { beforeEach, describe, expect, test } from 'vitest'
import type { RawClient } from '../support/raw-client.js'
import { expectSentence, targetGateway } from '../support/raw-gateway.js'

const target = targetGateway()
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)

let client: RawClient
beforeEach(async () => {
  client = await target.centrifuge('alice')
})

describe('3501', () => {
  test.each([
    ['an empty line', '\n'],
    ['an empty line between two', '{"id":2,"presence":{"channel":"general"}}\n\n{}'],
    ['white space', ' '],
    ['a word', 'hello'],
    ['an open brace', '{'],
    ['an array', '[]'],
    ['an array of commands', '[{"id":2,"presence":{"channel":"general"}}]'],
    ['a string', '"connect"'],
    ['a number', '1e400'],
    ['null', 'null'],
    ['NaN for an id', '{"id":NaN,"presence":{"channel":"general"}}'],
    ['a byte order mark', '\uFEFF{}'],
    ['NUL after it', '{}\u0000'],
    ['bytes after it', '{} {}'],
    ['10,000 open brackets', '['.repeat(10_000)],
    ['10,000 arrays in one another', nested(10_000)],
    ['no method', '{"id":2}'],
    ['an unknown method', '{"id":2,"teleport":{}}'],
    ['a method of Object.prototype', '{"id":2,"constructor":{}}'],
    ['a method by way of __proto__', '{"id":2,"__proto__":{"presence":{"channel":"general"}}}'],
    ['a method in another case', '{"id":2,"Presence":{"channel":"general"}}'],
    ['a command of the other endpoint', '{"type":"pong"}'],
    ['a reply', '{"id":2,"error":{"code":100}}'],
    ['a push', '{"push":{"channel":"general","pub":{"data":1}}}'],
    ['a ping, which only servers send', '{"id":2,"ping":{}}'],
    ['no id', '{"presence":{"channel":"general"}}'],
    ['id 0', '{"id":0,"presence":{"channel":"general"}}'],
    ['a negative id', '{"id":-1,"presence":{"channel":"general"}}'],
    ['a fraction as the id', '{"id":1.5,"presence":{"channel":"general"}}'],
    ['an id of 2^32', '{"id":4294967296,"presence":{"channel":"general"}}'],
    ['an id of 1e400', '{"id":1e400,"presence":{"channel":"general"}}'],
    ['a text as the id', '{"id":"2","presence":{"channel":"general"}}'],
    ['an object as the id', '{"id":{},"presence":{"channel":"general"}}'],
    ['fields that are a text', '{"id":2,"presence":"general"}'],
    ['fields that are an array', '{"id":2,"subscribe":["general"]}'],
    ['no channel', '{"id":2,"subscribe":{}}'],
    ['an empty channel', '{"id":2,"publish":{"channel":"","data":1}}'],
    ['a number as the channel', '{"id":2,"presence":{"channel":7}}'],
    ['a channel by way of __proto__', '{"id":2,"presence":{"__proto__":{"channel":"general"}}}'],
    ['a text as a flag', '{"id":2,"subscribe":{"channel":"general","recover":"yes"}}'],
    ['a negative offset', '{"id":2,"subscribe":{"channel":"general","recover":true,"offset":-1}}'],
    ['a fraction as the offset', '{"id":2,"subscribe":{"channel":"general","recover":true,"offset":1.5}}'],
    ['an offset above 64 bits', '{"id":2,"subscribe":{"channel":"general","recover":true,"offset":1e30}}'],
    ['an unknown delta', '{"id":2,"subscribe":{"channel":"general","delta":"zip"}}'],
    ['a limit above 32 bits', '{"id":2,"history":{"channel":"general","limit":1e10}}'],
    ['a fraction as the limit', '{"id":2,"history":{"channel":"general","limit":0.5}}'],
    ['a refresh without a token', '{"id":2,"refresh":{}}'],
  ])('%s', async (_what, frame) => {
    client.send(frame)
    expect(await client.closed()).toMatchObject({ code: 3501, reason: expect.stringMatching(/^bad request/) })
  })

  test('after valid commands, which are answered first', async () => {
    client.send(
      '{"id":2,"presence_stats":{"channel":"general"}}\n{"id":3,"rpc":{"method":"x"}}\nnonsense\n{"id":4,"rpc":{}}',
    )
    expect(await client.json()).toMatchObject({ id: 2, presence_stats: { num_clients: 0 } })
    expect(await client.json()).toMatchObject({ id: 3, error: { code: 108 } })
    expect(await client.closed()).toMatchObject({ code: 3501 })
  })
})

describe('answered with a number, and the connection stays open', () => {
  test.each([
    ['no data', '{"id":2,"publish":{"channel":"general"}}', 107, 'BAD_REQUEST'],
    ['null data', '{"id":2,"publish":{"channel":"general","data":null}}', 107, 'BAD_REQUEST'],
    [
      'data by way of __proto__',
      '{"id":2,"publish":{"channel":"general","__proto__":{"data":1}}}',
      107,
      'BAD_REQUEST',
    ],
    [
      'data of 10,000 levels',
      `{"id":2,"publish":{"channel":"general","data":${nested(10_000)}}}`,
      107,
      'BAD_REQUEST',
    ],
    [
      'data over the tenant’s limit',
      `{"id":2,"publish":{"channel":"general","data":"${'x'.repeat(40_000)}"}}`,
      107,
      'MESSAGE_TOO_LARGE',
    ],
    ['a map subscription', '{"id":2,"subscribe":{"channel":"general","type":1}}', 108, 'NOT_AVAILABLE'],
    ['an empty tags filter', '{"id":2,"subscribe":{"channel":"general","tf":{}}}', 107, 'BAD_REQUEST'],
    [
      'a tags filter two thousand levels deep',
      `{"id":2,"subscribe":{"channel":"general","tf":${'{"op":"not","nodes":['.repeat(2000)}1${']}'.repeat(2000)}}}`,
      107,
      'BAD_REQUEST',
    ],
    ['a procedure', '{"id":2,"rpc":{"method":"__proto__"}}', 108, 'NOT_AVAILABLE'],
    [
      'a token for a subscription that is none',
      '{"id":2,"subscribe":{"channel":"general","token":"x.y.z"}}',
      103,
      'TOKEN_INVALID',
    ],
    [
      'a refresh of an unknown subscription',
      '{"id":2,"sub_refresh":{"channel":"general","token":"x"}}',
      103,
      'NOT_SUBSCRIBED',
    ],
  ])('%s', async (_what, frame, number, code) => {
    client.send(frame)
    const { error } = await client.json()
    expect(error).toMatchObject({ code: number, message: expect.stringContaining(`${code}: `) })
    expectSentence(error.message)
    client.send('{"id":3,"presence_stats":{"channel":"general"}}')
    expect(await client.json()).toMatchObject({ id: 3, presence_stats: {} })
  })

  test('a one-way message, which Parley does not support: 3508', async () => {
    client.send('{"send":{"data":1}}')
    expect(await client.closed()).toMatchObject({ code: 3508 })
  })
})

describe('unusual but valid', () => {
  test.each([
    ['an unknown field', '{"id":2,"colour":"red","presence_stats":{"channel":"general","size":1}}'],
    [
      'doubled keys: the last counts',
      '{"id":1,"id":2,"presence_stats":{"channel":"no"},"presence_stats":{"channel":"general"}}',
    ],
    [
      'methods in the order of the protocol, not of the text',
      '{"id":2,"rpc":{"method":"x"},"presence_stats":{"channel":"general"}}',
    ],
    [
      'null for the others',
      '{"id":2,"connect":null,"subscribe":null,"presence_stats":{"channel":"general"}}',
    ],
    ['an id with an exponent', '{"id":0.2e1,"presence_stats":{"channel":"general"}}'],
    ['a carriage return before the line break', '{"id":2,"presence_stats":{"channel":"general"}}\r\n'],
  ])('%s', async (_what, frame) => {
    client.send(frame)
    expect(await client.json()).toMatchObject({ id: 2, presence_stats: {} })
  })

  test('an id may be reused', async () => {
    for (let round = 0; round < 3; round += 1) {
      client.send('{"id":2,"presence_stats":{"channel":"general"}}')
      expect(await client.json()).toMatchObject({ id: 2 })
    }
  })
})
