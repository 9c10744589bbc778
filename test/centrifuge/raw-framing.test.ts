// The JSON wire format: what a frame may contain, and what closes the connection.
import { describe, expect, test } from 'vitest'
import { MovableClock } from '../support/clock.js'
import { centrifugeUrl, gatewayFor } from '../support/centrifuge-sdk.js'
import { rawAs, rawAt, RawCentrifugeClient } from '../support/frames.js'
import { within } from '../support/waiting.js'
import { defaultSessionLimits } from '../../src/session/context.js'

const subscribe = (id: number, channel: string, rest: object = {}) => ({
  id,
  subscribe: { channel, ...rest },
})

describe('frames', () => {
  test('several commands in one frame are answered in order, connect first', async () => {
    const gateway = await gatewayFor()
    const client = await rawAt(gateway)
    client.send(
      { id: 1, connect: { token: await gateway.token('ann'), name: 'js' } },
      subscribe(2, 'general', { flag: 1 }),
      { id: 3, publish: { channel: 'general', data: { a: 1 } } },
      { id: 4, history: { channel: 'general', limit: 1 } },
    )
    const ids = []
    while (ids.at(-1) !== 4) {
      const { id } = await client.object()
      if (id !== undefined) ids.push(id)
    }
    expect(ids).toEqual([1, 2, 3, 4])
  })

  test('a newline at the end of a frame is not an empty line', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.send('{"id":2,"presence_stats":{"channel":"general"}}\n')
    expect(await client.line()).toBe('{"id":2,"presence_stats":{"num_clients":0,"num_users":0}}')
  })

  test('zero values are omitted', async () => {
    const gateway = await gatewayFor()
    const client = await rawAs(gateway, 'ann')
    client.send(
      subscribe(2, 'lobby'),
      { id: 3, publish: { channel: 'lobby', data: null } },
      { id: 4, unsubscribe: { channel: 'lobby' } },
      { id: 5, history: { channel: 'lobby' } },
      { id: 6, presence: { channel: 'lobby' } },
      { id: 7, unsubscribe: { channel: 'lobby' } },
    )
    expect(await client.lines.take(6)).toEqual([
      '{"id":2,"subscribe":{}}',
      '{"id":3,"error":{"code":107,"message":"BAD_REQUEST: data is missing"}}',
      '{"id":4,"unsubscribe":{}}',
      expect.stringMatching(/^{"id":5,"history":{"publications":\[\],"epoch":"[\w.-]+","offset":0}}$/),
      '{"id":6,"presence":{"presence":{}}}',
      '{"id":7,"unsubscribe":{}}',
    ])
  })

  test('the reply to connect', async () => {
    const gateway = await gatewayFor({}, { clock: new MovableClock() })
    const client = await rawAt(gateway)
    client.send({ id: 7, connect: { token: await gateway.token('ann') } })
    expect(await client.line()).toMatch(
      /^{"id":7,"connect":{"client":"[\da-f-]{36}","version":"parley","expires":true,"ttl":3600,"data":{"limits":{.*}},"ping":25,"pong":true}}$/,
    )
  })

  test('payloads are passed on byte for byte, without the white space around them', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    await client.ask(2, { subscribe: { channel: 'general' } })
    client.send('{"id":3,"publish":{"channel":"general","data": {"n": 1.0, "big": 1e400, "s": "\\u0041é"} }}')
    expect(await client.line()).toMatch(
      /^{"push":{"channel":"general","pub":{"data":{"n": 1\.0, "big": 1e400, "s": "\\u0041é"},"offset":1,/,
    )
  })

  test('the subprotocol centrifuge-json is echoed', async () => {
    const gateway = await gatewayFor()
    const client = await RawCentrifugeClient.open(centrifugeUrl(gateway), ['centrifuge-json'])
    expect(client.socket.protocol).toBe('centrifuge-json')
  })

  test('unknown fields are ignored', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.send({ id: 2, later: 1, presence_stats: { channel: 'general', also: {} } })
    expect(await client.object()).toMatchObject({ id: 2, presence_stats: {} })
  })
})

describe('broken frames', () => {
  const good = { id: 2, presence_stats: { channel: 'general' } }

  test.each<[string, string]>([
    ['a text that is not JSON', 'nonsense'],
    ['an array', '[]'],
    ['an empty line', '{"id":5,"rpc":{"method":"x"}}\n\n{"id":6,"rpc":{"method":"x"}}'],
    ['an unknown method', '{"id":3,"teleport":{}}'],
    ['no method', '{"id":3}'],
    ['no id', '{"publish":{"channel":"general","data":1}}'],
    ['id 0', '{"id":0,"publish":{"channel":"general","data":1}}'],
    ['a negative id', '{"id":-1,"rpc":{"method":"x"}}'],
    ['an id above 32 bits', '{"id":4294967296,"rpc":{"method":"x"}}'],
    ['a ping from the client', '{"id":3,"ping":{}}'],
    ['a second connect', '{"id":3,"connect":{}}'],
    ['an empty channel in subscribe', '{"id":3,"subscribe":{"channel":""}}'],
    ['an empty channel in publish', '{"id":3,"publish":{"channel":"","data":1}}'],
    ['no channel in history', '{"id":3,"history":{}}'],
    ['an unknown delta', '{"id":3,"subscribe":{"channel":"general","delta":"xdelta"}}'],
    ['refresh without a token', '{"id":3,"refresh":{}}'],
  ])('%s: 3501', async (_what, frame) => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.send(frame)
    expect(await client.closed()).toMatchObject({
      code: 3501,
      reason: expect.stringMatching(/^bad request/) as string,
    })
  })

  test('an empty frame: 3501', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.send('')
    expect((await client.closed()).code).toBe(3501)
  })

  test('a binary frame: 3501', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.socket.send(Buffer.from(JSON.stringify(good)), { binary: true })
    expect((await client.closed()).code).toBe(3501)
  })

  test('more than 64 KiB: 1009', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.send({ id: 2, publish: { channel: 'general', data: 'x'.repeat(65_536) } })
    expect((await client.closed()).code).toBe(1009)
  })

  test('valid commands before the broken line are executed and answered first', async () => {
    const gateway = await gatewayFor()
    const client = await rawAs(gateway, 'ann')
    client.send(
      good,
      { id: 3, publish: { channel: 'general', data: 'kept' } },
      { id: 4, publish: { channel: 'general', data: 'too' } },
      'broken',
      { id: 5, publish: { channel: 'general', data: 'never' } },
    )
    expect((await client.closed()).code).toBe(3501)
    expect(client.lines.waiting).toEqual([
      '{"id":2,"presence_stats":{"num_clients":0,"num_users":0}}',
      '{"id":3,"publish":{}}',
      '{"id":4,"publish":{}}',
    ])
    const bob = await rawAs(gateway, 'bob')
    expect(await bob.ask(2, { history: { channel: 'general', limit: 9 } })).toMatchObject({
      history: { publications: [{ data: 'kept' }, { data: 'too' }] },
    })
  })

  test('publishes before a second connect, or a send, are also answered first', async () => {
    const gateway = await gatewayFor()
    for (const last of [{ id: 3, connect: {} }, { send: { data: 1 } }]) {
      const client = await rawAs(gateway, 'ann')
      client.send({ id: 2, publish: { channel: 'general', data: 1 } }, last)
      await client.closed()
      expect(client.lines.waiting).toEqual(['{"id":2,"publish":{}}'])
    }
  })
})

describe('connecting', () => {
  test('another command before connect: 3501', async () => {
    const client = await rawAt(await gatewayFor())
    client.send(subscribe(1, 'general'))
    expect((await client.closed()).code).toBe(3501)
  })

  test('no connect in time: 3502', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({}, { clock })
    const client = await rawAt(gateway)
    clock.move(defaultSessionLimits.connectTimeoutMs + 250, gateway)
    expect(await client.closed()).toEqual({ code: 3502, reason: 'stale' })
  })

  test('after a refused connect no command is answered, and the connection ends at the deadline', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({}, { clock })
    const client = await rawAt(gateway)
    client.send(
      { id: 1, connect: { token: await gateway.token('ann', { expiresInS: -10 }) } },
      subscribe(2, 'general'),
      { id: 3, publish: { channel: 'general', data: 1 } },
    )
    expect(await client.object()).toMatchObject({ id: 1, error: { code: 109 } })
    clock.move(defaultSessionLimits.connectTimeoutMs + 250, gateway)
    await client.closed()
    expect(client.lines.waiting).toEqual([])
    expect(gateway.gateway.context.sessions.size).toBe(0)
  })

  test('a token of more than 8 KiB: 3500', async () => {
    const gateway = await gatewayFor()
    const client = await rawAt(gateway)
    client.send({ id: 1, connect: { token: 'x'.repeat(8193) } })
    expect(await client.closed()).toEqual({
      code: 3500,
      reason: 'invalid token: The token is longer than 8192 bytes: put less into its claims',
    })
  })

  test('a second connect during the first: 3501', async () => {
    const gateway = await gatewayFor()
    const client = await rawAt(gateway)
    const token = await gateway.token('ann')
    client.send({ id: 1, connect: { token } }, { id: 2, connect: { token } })
    expect((await client.closed()).code).toBe(3501)
  })
})

describe('liveness', () => {
  const heartbeat = defaultSessionLimits.heartbeat

  test('a ping is {}; a client that answers {} stays, another is closed with 3012', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({}, { clock })
    const [awake, asleep] = await Promise.all([rawAs(gateway, 'ann'), rawAs(gateway, 'bob')])
    // The ws library would answer a native ping itself.
    let native = 0
    asleep.socket.on('ping', () => (native += 1))
    clock.move(heartbeat.pingIntervalMs + 250, gateway)
    await Promise.all([awake.pings.next(), asleep.pings.next()])
    await awake.ask(2, { rpc: { method: 'x' } })
    asleep.socket.pause()
    clock.move(heartbeat.pongTimeoutMs + 250, gateway)
    asleep.socket.resume()
    expect(await asleep.closed()).toEqual({ code: 3012, reason: 'no pong' })
    expect(native).toBe(0)
    expect(awake.socket.readyState).toBe(awake.socket.OPEN)
  })

  test('an unsolicited pong is accepted', async () => {
    const client = await rawAs(await gatewayFor(), 'ann')
    client.send('{}', '{}', { id: 2, rpc: { method: 'x' } })
    expect(await within('the reply', client.object())).toMatchObject({ id: 2 })
  })
})
