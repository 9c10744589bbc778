// Floods of pings, pongs and commands, from clients that read the replies and from clients that do not.
// (Autobahn 2 tests the replies; this file tests the limits.)
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { generousLimits, tenantPolicy } from '../support/policies.js'
import type { RawClient } from '../support/raw-client.js'
import { frame, opcodes, ping, text } from '../support/raw-frames.js'
import { targetGateway } from '../support/raw-gateway.js'

const commandsPerSecond = 100
const withRate = (rate: number) => ({
  ...generousLimits,
  connections: { ...generousLimits.connections, commandsPerSecond: rate },
})
const target = targetGateway([
  tenantPolicy({ limits: withRate(commandsPerSecond) }),
  tenantPolicy({ name: 'fast' }),
  // On a busy machine, a rate of 100 refills between two of the test's pings.
  tenantPolicy({ name: 'slow', limits: withRate(1) }),
])

const times = (count: number, bytes: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => bytes))

/**
 * Sends pings, twenty at a time, and reads their pongs. Resolves to the close code if the server closes
 * instead.
 */
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

describe('a client that reads', () => {
  let chat: RawClient
  let centrifuge: RawClient
  beforeEach(async () => {
    chat = await target.chat('alice')
    centrifuge = await target.centrifuge('alice')
  })

  test('a few more pings than the command rate: each gets its pong', async () => {
    for (const client of [chat, centrifuge])
      expect(await pinged(client, commandsPerSecond + 50)).toBeUndefined()
  })

  test('many more pings, each answered before the next: 3013', async () => {
    const clients = [await target.chat('alice', 'demo/slow'), await target.centrifuge('alice', 'demo/slow')]
    for (const client of clients) expect(await pinged(client, 5_000)).toBe(3013)
  })

  test.each([
    ['pings', ping('x')],
    ['pings of 125 bytes', ping('x'.repeat(125))],
    ['pings and commands', Buffer.concat([ping(), text('{"type":"presence","room":"general"}')])],
  ])('thousands of %s in one packet: cut, because ws queues at most 60 pongs', async (_what, bytes) => {
    chat.write(times(5_000, bytes))
    expect([1006, 3013]).toContain((await chat.closed()).code)
  })

  test('thousands of unsolicited pongs: 3013, at both endpoints', async () => {
    for (const client of [chat, centrifuge]) {
      client.write(times(5_000, frame({ opcode: opcodes.pong })))
      expect(await client.closed()).toEqual({ code: 3013, reason: 'too many requests' })
    }
  })

  test('thousands of pongs of the chat protocol: 3013', async () => {
    chat.write(times(5_000, text('{"type":"pong"}')))
    expect(await chat.closed()).toMatchObject({ code: 3013 })
    centrifuge.write(times(5_000, text('{}')))
    expect(await centrifuge.closed()).toMatchObject({ code: 3013 })
  })

  test('thousands of pongs in one frame: 3013', async () => {
    centrifuge.send('{}\n'.repeat(20_000))
    expect(await centrifuge.closed()).toMatchObject({ code: 3013 })
  })

  test('commands above the rate are refused with a retry time, and further ones close with 3013', async () => {
    chat.write(times(commandsPerSecond + 100, text('{"type":"presence","room":"general","id":1}')))
    const refusal = await chat.json(({ event }) => event === 'error')
    expect(refusal).toMatchObject({ code: 'TOO_MANY_REQUESTS', retry_after_ms: expect.any(Number) })
    expect(await chat.closed()).toMatchObject({ code: 3013 })
  })

  test('more commands in one frame than the queue holds: 3013', async () => {
    const client = await target.centrifuge('alice', 'demo/fast')
    client.send('{"id":1,"presence":{"channel":"general"}}\n'.repeat(1_100))
    expect(await client.closed()).toMatchObject({ code: 3013 })
  })

  test('twenty invalid commands in a row: 3509', async () => {
    chat.write(times(20, text('not JSON')))
    expect(await chat.closed()).toMatchObject({ code: 3509 })
  })

  test('invalid commands between valid ones do not close the connection', async () => {
    for (let round = 0; round < 10; round += 1) {
      chat.write(times(4, text('not JSON')), text(`{"type":"presence","room":"general","id":${round}}`))
      expect(await chat.json(({ id }) => id === round)).toMatchObject({ event: 'presence' })
    }
  })

  test('before connect: 3013', async () => {
    const stranger = await target.upgrade({ target: '/demo/acme/connection/websocket' })
    stranger.write(times(5_000, frame({ opcode: opcodes.pong })))
    expect(await stranger.closed()).toMatchObject({ code: 3013 })
  })
})

describe('a client that never reads', () => {
  const bytesMax = 64 * 1024 * 1024
  test.each([
    ['pings', ping('x'.repeat(125))],
    ['commands', text('{"type":"history","room":"general","id":1}')],
    ['invalid commands', text('x')],
  ])('%s: the connection is cut, so that replies do not fill the memory', async (_what, bytes) => {
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
