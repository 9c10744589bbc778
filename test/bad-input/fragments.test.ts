// Fragmented messages, pings between fragments, and text that is not UTF-8. (Autobahn 2, 5 and 6.)
import { beforeEach, describe, expect, test } from 'vitest'
import type { RawClient } from '../support/raw-client.js'
import { close, continuation, fragments, frame, opcodes, ping, text } from '../support/raw-frames.js'
import { targetGateway } from '../support/raw-gateway.js'

const target = targetGateway()

let client: RawClient
beforeEach(async () => {
  client = await target.chat('alice')
})

const question = (id: string) => `{"type":"presence","room":"general","id":${JSON.stringify(id)}}`

describe('fragments', () => {
  test('of one byte are read, up to 64 per message', async () => {
    const message = '{"type":"presence","room":"general","id":1}'
    client.write(...fragments(message, 1))
    expect(await client.json(({ id }) => id === 1)).toMatchObject({ event: 'presence' })
  })

  test('of one byte, more than 64: 1008', async () => {
    client.write(...fragments(question('x'.repeat(64)), 1))
    expect(await client.closed()).toMatchObject({ code: 1008 })
  })

  test.each([
    [
      'empty fragments without end',
      Buffer.concat([text('', { fin: false }), ...repeat(2_000, continuation('', { fin: false }))]),
    ],
    ['unfinished messages, repeatedly', Buffer.concat(repeat(2, text('{', { fin: false })))],
  ])('%s: closed', async (_what, bytes) => {
    client.write(bytes)
    const { code } = await client.closed()
    expect([1002, 1008]).toContain(code)
  })

  test('with pings between them are read, and the pings are answered in order', async () => {
    const [first = Buffer.alloc(0), ...rest] = fragments(question('with pings'), 10)
    client.write(first, ...rest.flatMap((piece, index) => [ping(`ping ${index}`), piece]))
    for (const index of rest.keys())
      expect(await client.control()).toMatchObject({
        opcode: opcodes.pong,
        payload: Buffer.from(`ping ${index}`),
      })
    expect(await client.json(({ id }) => id === 'with pings')).toMatchObject({ event: 'presence' })
  })

  test('without payload, before, between and after the text, change nothing', async () => {
    client.write(
      text('', { fin: false }),
      continuation(question('a').slice(0, 9), { fin: false }),
      continuation('', { fin: false }),
      continuation(question('a').slice(9), { fin: false }),
      continuation(''),
    )
    expect(await client.json(({ id }) => id === 'a')).toMatchObject({ event: 'presence' })
  })

  test('sent with one byte per TCP packet are read', async () => {
    for (const byte of text(question('slow'))) {
      client.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await client.json(({ id }) => id === 'slow')).toMatchObject({ event: 'presence' })
  })

  test('with a close between them end the connection', async () => {
    client.write(text('{', { fin: false }), close(1000))
    expect(await client.closed()).toMatchObject({ code: 1000 })
  })
})

describe('text that is not UTF-8', () => {
  const rows: (readonly [string, number[]])[] = [
    ['a continuation byte alone', [0x80]],
    ['FF', [0xff]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['an overlong NUL', [0xc0, 0x80]],
    ['an overlong slash in three bytes', [0xe0, 0x80, 0xaf]],
    ['an overlong slash in four', [0xf0, 0x80, 0x80, 0xaf]],
    ['a high surrogate', [0xed, 0xa0, 0x80]],
    ['a surrogate pair (CESU-8)', [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80]],
    ['above U+10FFFF', [0xf4, 0x90, 0x80, 0x80]],
    ['five bytes', [0xf8, 0x88, 0x80, 0x80, 0x80]],
    ['cut after two of three', [0xe2, 0x82]],
    ['cut after three of four', [0xf0, 0x9f, 0x98]],
  ]
  test.each(rows)('%s: 1007', async (_what, bytes) => {
    client.write(
      text(Buffer.concat([Buffer.from('{"type":"chat","content":"'), Buffer.from(bytes), Buffer.from('"}')])),
    )
    expect(await client.closed()).toMatchObject({ code: 1007 })
  })

  test('in a second fragment: 1007', async () => {
    client.write(text('{"a":"', { fin: false }), continuation(Buffer.from([0xff])))
    expect(await client.closed()).toMatchObject({ code: 1007 })
  })

  test('a character that is split across fragments is read', async () => {
    const message = Buffer.from(question('grüße 😀'))
    const at = message.indexOf(0xf0) + 2
    client.write(text(message.subarray(0, at), { fin: false }), continuation(message.subarray(at)))
    expect(await client.json(({ id }) => id === 'grüße 😀')).toMatchObject({ event: 'presence' })
  })
})

describe('frames without a command', () => {
  const rows: (readonly [string, Buffer])[] = [
    ['an empty text', text('')],
    ['an empty binary', frame({ opcode: opcodes.binary })],
    ['a binary with a valid command in it', frame({ opcode: opcodes.binary, payload: question('binary') })],
    ['noise in a binary', frame({ opcode: opcodes.binary, payload: Buffer.from([0xff, 0, 0xfe]) })],
  ]
  test.each(rows)('%s: an error on chat, 3501 on centrifuge', async (_what, bytes) => {
    client.write(bytes)
    expect(await client.json(({ event }) => event === 'error')).toMatchObject({ code: 'INVALID_JSON' })
    const centrifuge = await target.centrifuge('alice')
    centrifuge.write(bytes)
    expect(await centrifuge.closed()).toMatchObject({ code: 3501 })
  })
})

function repeat<Item>(count: number, item: Item): Item[] {
  return Array.from({ length: count }, () => item)
}
