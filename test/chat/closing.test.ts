// How a connection ends: an expired token, a removed key, silence, or a drain.
import { describe, expect, test } from 'vitest'
import { drain } from '../../src/gateway/fleet/drain.js'
import { connectedAs, gatewayFor, next } from '../support/centrifuge-sdk.js'
import { chatAs, type ChatClient } from '../support/chat-client.js'
import { MovableClock } from '../support/clock.js'
import type { TestGateway } from '../support/gateway.js'
import { tenantPolicy } from '../support/policies.js'
import { within } from '../support/waiting.js'

/** Twice within the time to live of a presence entry, which is refreshed in real time. */
const heartbeat = { pingIntervalMs: 12_000, pongTimeoutMs: 4_000 }

/** Sends the first ping after one interval. */
async function timed(): Promise<{ clock: MovableClock; gateway: TestGateway }> {
  const clock = new MovableClock()
  return { clock, gateway: await gatewayFor({}, { clock, random: () => 1, limits: { heartbeat } }) }
}

describe('a token', () => {
  test('that expires closes with 4001', async () => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann', { expiresInS: 5 })
    clock.move(6_500, gateway)
    expect(await ann.closed()).toEqual({ code: 4001, reason: 'token expired' })
  })

  test('keeps its connection until it expires', async () => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann', { expiresInS: 10 })
    clock.move(8_000, gateway)
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })

  test('whose key is removed closes with 4001', async () => {
    const { gateway } = await timed()
    const ann = await chatAs(gateway, 'ann')
    gateway.catalog.put(tenantPolicy({ issuers: [] }))
    expect(await ann.closed()).toMatchObject({ code: 4001 })
  })
})

describe('the heartbeat', () => {
  /** Resolves when nothing is in flight in either direction. */
  async function pinged(clock: MovableClock, gateway: TestGateway, client: ChatClient): Promise<void> {
    clock.move(heartbeat.pingIntervalMs + 500, gateway)
    await client.next('ping')
  }

  test('sends a native ping with each ping, for clients whose code answers none', async () => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann')
    const native = new Promise((resolve) => ann.socket.once('ping', resolve))
    await pinged(clock, gateway, ann)
    expect(await within('the native ping', native)).toEqual(Buffer.alloc(0))
  })

  test('pings every interval', async () => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann')
    for (let n = 0; n < 3; n += 1) {
      clock.move(heartbeat.pingIntervalMs - heartbeat.pongTimeoutMs - 1_000, gateway)
      expect((await ann.settle()).filter(({ event }) => event === 'ping')).toEqual([])
      clock.move(n === 0 ? heartbeat.pongTimeoutMs + 1_500 : 1_500, gateway)
      await ann.next('ping')
      await ann.settle()
      clock.move(heartbeat.pongTimeoutMs + 500, gateway)
    }
  })

  test.each([
    ['pong', { type: 'pong' }],
    ['any command', { type: 'chat', content: 1 }],
    ['an unreadable frame', 'nonsense'],
  ])('counts %s as activity', async (_what, frame) => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann', { options: { autoPong: false } })
    const bob = await chatAs(gateway, 'bob')
    await pinged(clock, gateway, ann)
    ann.send(frame)
    // Commands of one connection run in order, so this one follows the frame.
    await bob.settle()
    await ann.settle()
    clock.move(heartbeat.pongTimeoutMs + 500, gateway)
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })

  test('counts a WebSocket pong as activity', async () => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann', { options: { autoPong: false } })
    await pinged(clock, gateway, ann)
    ann.socket.pong()
    // Answered after the pong, since a connection keeps its order. A ping is not a command.
    const answered = new Promise((resolve) => ann.socket.once('pong', resolve))
    ann.socket.ping()
    await answered
    clock.move(heartbeat.pongTimeoutMs + 500, gateway)
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })

  test('closes a silent client with 3012', async () => {
    const { clock, gateway } = await timed()
    const ann = await chatAs(gateway, 'ann', { options: { autoPong: false } })
    await pinged(clock, gateway, ann)
    clock.move(heartbeat.pongTimeoutMs + 500, gateway)
    expect(await ann.closed()).toEqual({ code: 3012, reason: 'no pong' })
  })

  test('a silent client leaves its room', async () => {
    const { clock, gateway } = await timed()
    const [ann, bob] = [
      await chatAs(gateway, 'ann', { options: { autoPong: false } }),
      await chatAs(gateway, 'bob'),
    ]
    await pinged(clock, gateway, ann)
    await bob.next('ping')
    await bob.settle()
    clock.move(heartbeat.pongTimeoutMs + 500, gateway)
    expect(await bob.next('user_disconnected')).toMatchObject({ user_id: 'ann' })
    expect(gateway.gateway.tenant('demo/acme')?.quota.connections).toBe(1)
  })
})

describe('a drain', () => {
  test('advises with reconnect, then closes with 3001', async () => {
    const { gateway } = await timed()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    gateway.gateway.startDraining()
    await drain(gateway.gateway.context, { windowMs: 1_000, sleep: async () => {} })
    expect([await ann.next('reconnect'), await bob.next('reconnect')]).toEqual([
      { event: 'reconnect', after_ms: 0 },
      { event: 'reconnect', after_ms: 500 },
    ])
    expect([await ann.closed(), await bob.closed()]).toEqual([
      { code: 3001, reason: 'shutdown' },
      { code: 3001, reason: 'shutdown' },
    ])
  })

  test('closes the clients of both endpoints', async () => {
    const { gateway } = await timed()
    const ann = await chatAs(gateway, 'ann')
    const bob = await connectedAs(gateway, 'bob')
    const received = next(bob, 'connecting')
    gateway.gateway.startDraining()
    await drain(gateway.gateway.context, { windowMs: 0, sleep: async () => {} })
    expect([(await ann.closed()).code, (await received).code]).toEqual([3001, 3001])
  })

  test('delivers what was sent before it', async () => {
    const { gateway } = await timed()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    await ann.done({ type: 'chat', content: 'last words' })
    await drain(gateway.gateway.context, { windowMs: 0, sleep: async () => {} })
    expect(await bob.next('chat')).toMatchObject({ content: 'last words' })
  })
})

test('a frame above the fixed limit of the gateway closes with 1009', async () => {
  const { gateway } = await timed()
  const ann = await chatAs(gateway, 'ann')
  ann.send({ type: 'chat', content: 'x'.repeat(70_000) })
  expect((await ann.closed()).code).toBe(1009)
})
