// Single frames that RFC 6455 forbids: each closes the connection with the code for the reason. (Autobahn 3,
// 4, 5 and 7.)
import { deflateRawSync } from 'node:zlib'
import { beforeEach, describe, expect, test } from 'vitest'
import type { RawClient } from '../support/raw-client.js'
import { close, continuation, frame, opcodes, ping, text } from '../support/raw-frames.js'
import { targetGateway } from '../support/raw-gateway.js'

// The outbox limits are raised, so that a client that does not read is not cut: the test is about what it
// receives in the end.
const outbox = { bytesMax: 64 * 1024 * 1024, ageMaxMs: 60_000 }
const target = targetGateway(undefined, { limits: { outbox } })

let client: RawClient
beforeEach(async () => {
  client = await target.chat('alice')
})

const question = text('{"type":"presence","room":"general","id":"still there?"}')
const answers = (message: Readonly<Record<string, unknown>>) => message['id'] === 'still there?'

async function expectClosed(bytes: Buffer, code: number): Promise<void> {
  client.write(bytes, question)
  expect(await client.closed()).toMatchObject({ code })
  // Nothing follows the close frame and the connection ends, so the command after the bad frame was not read.
  client.write(close(code))
  expect(await client.end()).toHaveLength(0)
}

describe('headers', () => {
  const longPing = { opcode: opcodes.ping, payload: 'x'.repeat(126) }
  test.each([
    ['an unmasked text', text('{}', { masked: false })],
    ['an unmasked empty text', text('', { masked: false })],
    ['an unmasked ping', frame({ opcode: opcodes.ping, masked: false })],
    ['an unmasked close', frame({ opcode: opcodes.close, masked: false })],
    ['RSV1 without compression', text('{}', { rsv: 4 })],
    ['a deflate bomb, a thousand to one', text(deflateRawSync(Buffer.alloc(10_000_000)), { rsv: 4 })],
    ['deflate cut in the middle', text(deflateRawSync('{"type":"pong"}').subarray(0, 5), { rsv: 4 })],
    ['RSV2', text('{}', { rsv: 2 })],
    ['RSV3', text('{}', { rsv: 1 })],
    ['all three', text('{}', { rsv: 7 })],
    ['RSV1 on a continuation', Buffer.concat([text('{', { fin: false }), continuation('}', { rsv: 4 })])],
    ['RSV1 on a ping', frame({ opcode: opcodes.ping, rsv: 4 })],
    ['RSV3 on a close', frame({ opcode: opcodes.close, rsv: 1 })],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode): [string, Buffer][] => [
      [`opcode ${opcode}`, frame({ opcode, payload: 'x' })],
      [`opcode ${opcode}, not final`, frame({ opcode, fin: false })],
    ]),
    ['a ping of 126 bytes', frame(longPing)],
    ['a pong of 126 bytes', frame({ ...longPing, opcode: opcodes.pong })],
    ['a close of 126 bytes', frame({ ...longPing, opcode: opcodes.close })],
    ['a short ping with a long length', frame({ opcode: opcodes.ping, payload: 'x', lengthBits: 16 })],
    ['a ping in fragments', frame({ opcode: opcodes.ping, fin: false })],
    ['a close in fragments', frame({ opcode: opcodes.close, fin: false })],
    ['a continuation of nothing', continuation('{}')],
    ['an unfinished continuation of nothing', continuation('{}', { fin: false })],
    ['a continuation after a whole message', Buffer.concat([question, continuation('{}')])],
    ['a text inside another', Buffer.concat([text('{', { fin: false }), text('}')])],
    ['a binary inside a text', Buffer.concat([text('{', { fin: false }), frame({ opcode: opcodes.binary })])],
  ])('%s: 1002', async (_what, bytes) => {
    await expectClosed(bytes, 1002)
  })
})

describe('lengths', () => {
  test.each([
    ['the top bit', 1n << 63n],
    ['all bits', (1n << 64n) - 1n],
    ['2^53', 1n << 53n],
    ['2^53 - 1', (1n << 53n) - 1n],
    ['4 GiB', 1n << 32n],
    ['64 KiB and a byte', 65_537n],
  ])('%s: 1009, before any payload arrives', async (_what, length) => {
    client.write(text('', { length, lengthBits: 64 }))
    expect(await client.closed()).toMatchObject({ code: 1009 })
  })

  test('1 MB in one text: 1009', async () => {
    client.write(text('x'.repeat(1_000_000)))
    expect(await client.closed()).toMatchObject({ code: 1009 })
  })

  test('64 KiB and a byte in two fragments: 1009', async () => {
    client.write(text('x'.repeat(65_000), { fin: false }), continuation('x'.repeat(537)))
    expect(await client.closed()).toMatchObject({ code: 1009 })
  })

  test('a payload that never arrives blocks no other client', async () => {
    client.write(text('', { length: 60_000n, lengthBits: 16 }))
    const other = await target.chat('bob')
    other.write(question)
    expect(await other.json(answers)).toMatchObject({ event: 'presence' })
  })

  test.each([16, 64] as const)('a short text with a length of %i bits is read', async (lengthBits) => {
    client.write(text('{"type":"presence","room":"general","id":"still there?"}', { lengthBits }))
    expect(await client.json(answers)).toMatchObject({ event: 'presence' })
  })
})

describe('close frames', () => {
  test.each([
    ['a body of one byte', frame({ opcode: opcodes.close, payload: 'x' })],
    ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map(
      (code): [string, Buffer] => [`code ${code}`, close(code)],
    ),
  ])('%s: 1002', async (_what, bytes) => {
    client.write(bytes)
    expect(await client.closed()).toMatchObject({ code: 1002 })
  })

  test.each([
    ['a reason that is not UTF-8', Buffer.from([0xff, 0xfe])],
    ['a reason that ends within a character', Buffer.from('é').subarray(0, 1)],
    ['a surrogate in the reason', Buffer.from([0xed, 0xa0, 0x80])],
  ])('%s: 1007', async (_what, reason) => {
    client.write(close(1000, reason))
    expect(await client.closed()).toMatchObject({ code: 1007 })
  })

  test.each([
    undefined,
    1000,
    1001,
    1002,
    1003,
    1007,
    1008,
    1009,
    1010,
    1011,
    1012,
    1013,
    1014,
    3000,
    3999,
    4000,
    4999,
  ])('code %s is answered with the same', async (code) => {
    client.write(close(code, code === undefined ? '' : 'a reason of no more than 123 bytes'))
    expect(await client.closed()).toMatchObject({ code: code ?? 1005 })
    expect(await client.end()).toHaveLength(0)
  })

  test('data after a close frame is not read', async () => {
    const watcher = await target.chat('bob')
    watcher.send({ type: 'join_room', room: 'general', id: 1 })
    await watcher.json(({ event }) => event === 'ack')
    client.write(
      close(1000),
      text('{"type":"room_message","room":"general","content":"from the grave"}'),
      ping(),
      close(4000),
    )
    expect(await client.closed()).toMatchObject({ code: 1000 })
    expect(await client.end()).toHaveLength(0)
    const alive = await target.chat('carol')
    alive.send({ type: 'room_message', room: 'general', content: 'alive' })
    expect(await watcher.json(({ event }) => event === 'chat')).toMatchObject({ content: 'alive' })
  })

  test('the server sends nothing after its close frame, whatever its outbox holds', async () => {
    client.send({ type: 'join_room', room: 'general', id: 1 })
    await client.json(({ event }) => event === 'ack')
    const other = await target.chat('bob')
    const publish = async (content: string): Promise<void> => {
      other.send({ type: 'room_message', room: 'general', content, id: 1 })
      await other.json(({ event }) => event === 'ack')
    }
    client.socket.pause()
    // More than the kernel buffers for a client that does not read.
    for (let megabytes = 0; megabytes < 10; megabytes += 1 / 32) await publish('x'.repeat(32_000))
    client.write(text('{}', { rsv: 4 }))
    await publish('waiting behind the close frame')
    await publish('and another one')
    client.socket.resume()
    expect(await client.closed()).toMatchObject({ code: 1002 })
    expect(await client.end()).toHaveLength(0)
  })
})
