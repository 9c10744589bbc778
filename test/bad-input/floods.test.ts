// More than anybody needs: pings, pongs and commands without end, read or unread. (Autobahn 2 asks for answers; this asks who pays.)
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { generousLimits, tenantPolicy } from '../support/policies.js'
import type { RawClient } from '../support/raw-client.js'
import { frame, opcodes, ping, text } from '../support/raw-frames.js'
import { targetGateway } from '../support/raw-gateway.js'

const commandsPerSecond = 100
const target = targetGateway([
  tenantPolicy({
    limits: { ...generousLimits, connections: { ...generousLimits.connections, commandsPerSecond } },
  }),
  tenantPolicy({ name: 'fast' }),
])

const times = (count: number, bytes: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes))

/** Sends pings, twenty at a time, and reads their pongs. The close code, if one came instead. */
async function pinged(client: RawClient, count: number): Promise<number | undefined> {
  for (let sent = 0; sent < count; sent += 20) {
    client.write(times(20, ping(String(sent))))
    for (let read = 0; read < 20; read += 1) {
      const { opcode, payload } = await client.control()
      if (opcode === opcodes.close) return payload.readUInt16BE(0)
      expect(payload.toString()).toBe(String(sent))
    }
  }
  return undefined
}

describe('read', () => {
  let chat: RawClient
  let centrifuge: RawClient
  beforeEach(async () => {
    chat = await target.chat('alice')
    centrifuge = await target.centrifuge('alice')
  })

  test('as many pings as commands are allowed, and some: each gets its pong', async () => {
    for (const client of [chat, centrifuge])
      expect(await pinged(client, commandsPerSecond + 50)).toBeUndefined()
  })

  test('many more, each answered before the next ones: 3013', async () => {
    for (const client of [chat, centrifuge]) expect(await pinged(client, 5_000)).toBe(3013)
  })

  test.each([
    ['pings', ping('x')],
    ['pings of 125 bytes', ping('x'.repeat(125))],
    ['pings and questions', Buffer.concat([ping(), text('{"type":"presence","room":"general"}')])],
  ])('thousands of %s in a packet: cut, for ws keeps no more than 60 pongs', async (_what, bytes) => {
    chat.write(times(5_000, bytes))
    expect([1006, 3013]).toContain((await chat.closed()).code)
  })

  test('thousands of pongs that nobody asked for: 3013, at both doors', async () => {
    for (const client of [chat, centrifuge]) {
      client.write(times(5_000, frame({ opcode: opcodes.pong })))
      expect(await client.closed()).toEqual({ code: 3013, reason: 'too many requests' })
    }
  })

  test('thousands of pongs in the protocol’s own words: 3013', async () => {
    chat.write(times(5_000, text('{"type":"pong"}')))
    expect(await chat.closed()).toMatchObject({ code: 3013 })
    centrifuge.write(times(5_000, text('{}')))
    expect(await centrifuge.closed()).toMatchObject({ code: 3013 })
  })

  test('pongs by the thousand in one frame: 3013', async () => {
    centrifuge.send('{}\n'.repeat(20_000))
    expect(await centrifuge.closed()).toMatchObject({ code: 3013 })
  })

  test('commands above the rate are refused one by one, with a time to wait; who goes on gets 3013', async () => {
    chat.write(times(commandsPerSecond + 100, text('{"type":"presence","room":"general","id":1}')))
    const refusal = await chat.json(({ event }) => event === 'error')
    expect(refusal).toMatchObject({ code: 'TOO_MANY_REQUESTS', retry_after_ms: expect.any(Number) })
    expect(await chat.closed()).toMatchObject({ code: 3013 })
  })

  test('more commands in one frame than may wait: 3013', async () => {
    const client = await target.centrifuge('alice', 'demo/fast')
    client.send('{"id":1,"presence":{"channel":"general"}}\n'.repeat(1_100))
    expect(await client.closed()).toMatchObject({ code: 3013 })
  })

  test('twenty mistakes in a row: 3509', async () => {
    chat.write(times(20, text('not JSON')))
    expect(await chat.closed()).toMatchObject({ code: 3509 })
  })

  test('mistakes between good commands are forgiven', async () => {
    for (let round = 0; round < 10; round += 1) {
      chat.write(times(4, text('not JSON')), text(`{"type":"presence","room":"general","id":${round}}`))
      expect(await chat.json(({ id }) => id === round)).toMatchObject({ event: 'presence' })
    }
  })

  test('before connect: 3013', async () => {
    const stranger = await target.upgraded({ target: '/demo/acme/connection/websocket' })
    stranger.write(times(5_000, frame({ opcode: opcodes.pong })))
    expect(await stranger.closed()).toMatchObject({ code: 3013 })
  })
})

describe('never read', () => {
  const bytesMax = 64 * 1024 * 1024
  test.each([
    ['pings', ping('x'.repeat(125))],
    ['questions', text('{"type":"history","room":"general","id":1}')],
    ['mistakes', text('x')],
  ])('%s are not answered into memory: the line is cut', async (_what, bytes) => {
    const client = await target.chat('alice', 'demo/fast')
    const sessions = target.running.gateway.context.sessions.size
    client.socket.pause()
    const block = times(1_000, bytes)
    const gone = new Promise((resolve) => client.socket.once('close', resolve))
    let sent = 0
    while (
      !client.socket.destroyed &&
      sent < bytesMax &&
      target.running.gateway.context.sessions.size === sessions
    ) {
      sent += block.byteLength
      if (!client.socket.write(block))
        await Promise.race([new Promise((resolve) => client.socket.once('drain', resolve)), gone])
    }
    await vi.waitFor(() => expect(target.running.gateway.context.sessions.size).toBeLessThan(sessions))
    expect(sent).toBeLessThan(bytesMax)
  })
})
