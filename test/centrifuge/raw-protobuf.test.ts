// The protobuf wire format: what a frame may contain, what closes the connection, and channels shared by both
// formats.
import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { WireCommand, WireReply } from '../../src/protocol/centrifuge/schema.js'
import type { MessageFields } from '../../src/protocol/message-fields.js'
import {
  splitDelimited,
  readMessage,
  writeDelimited,
} from '../../src/protocol/centrifuge/protobuf-message.js'
import { defaultSessionLimits } from '../../src/session/context.js'
import { centrifugeUrl, gatewayFor } from '../support/centrifuge-sdk.js'
import { MovableClock } from '../support/clock.js'
import { rawAs } from '../support/frames.js'
import type { TestGateway } from '../support/gateway.js'
import { Arrivals, within } from '../support/waiting.js'

const command = (fields: MessageFields): Uint8Array => writeDelimited(WireCommand, fields)

/** Replies and pushes as fields; a ping has none. */
class ProtobufClient {
  readonly socket: WebSocket
  readonly replies = new Arrivals<MessageFields>('a reply')
  readonly closing: Promise<number>

  private constructor(url: string, protocols: string[]) {
    this.socket = new WebSocket(url, protocols)
    this.socket.on('message', (frame: Buffer, binary) => {
      if (!binary) throw new Error('the server sent a text frame')
      for (const message of splitDelimited(frame)) this.replies.push(readMessage(WireReply, message))
    })
    this.closing = new Promise((resolve) => {
      this.socket.on('close', (code) => resolve(code))
    })
    onTestFinished(() => this.socket.terminate())
  }

  static async open(
    gateway: TestGateway,
    protocols = ['centrifuge-protobuf'],
    query = '',
  ): Promise<ProtobufClient> {
    const client = new ProtobufClient(centrifugeUrl(gateway) + query, protocols)
    await within('opening', once(client.socket, 'open'))
    return client
  }

  send(...commands: readonly MessageFields[]): void {
    this.socket.send(Buffer.concat(commands.map(command)))
  }

  reply(id: number): Promise<MessageFields> {
    return this.replies.next((reply) => reply['id'] === id, `the reply to command ${id}`)
  }

  ask(id: number, fields: MessageFields): Promise<MessageFields> {
    this.send({ id, ...fields })
    return this.reply(id)
  }

  closed(): Promise<number> {
    return within('closing', this.closing)
  }
}

async function protobufAs(gateway: TestGateway, user: string): Promise<ProtobufClient> {
  const client = await ProtobufClient.open(gateway)
  expect(await client.ask(1, { connect: { token: await gateway.token(user) } })).toHaveProperty('connect')
  return client
}

const publish = (text: string): MessageFields => ({
  publish: { channel: 'general', data: Buffer.from(text) },
})
const text = (value: unknown): string => Buffer.from(value as Uint8Array).toString()

test('the subprotocol is echoed; ?format=protobuf needs none', async () => {
  const gateway = await gatewayFor()
  const offered = await ProtobufClient.open(gateway)
  expect(offered.socket.protocol).toBe('centrifuge-protobuf')
  const byQuery = await ProtobufClient.open(gateway, [], '?format=protobuf')
  expect(byQuery.socket.protocol).toBe('')
  expect(await byQuery.ask(1, { connect: { token: await gateway.token('ann') } })).toMatchObject({
    connect: { version: 'parley', ping: 25, pong: true },
  })
})

test('several commands in one frame are answered in order, connect first', async () => {
  const gateway = await gatewayFor()
  const client = await ProtobufClient.open(gateway)
  client.send(
    { id: 1, connect: { token: await gateway.token('ann') } },
    { id: 2, subscribe: { channel: 'lobby', flag: 1 } },
    { id: 3, publish: { channel: 'general', data: Buffer.from('1') } },
    { id: 4, history: { channel: 'general', limit: 1 } },
  )
  const ids = (await client.replies.take(4)).map((reply) => reply['id'])
  expect(ids).toEqual([1, 2, 3, 4])
})

describe('one channel', () => {
  test('data published in JSON or protobuf reaches all clients byte for byte', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = [await protobufAs(gateway, 'ann'), await rawAs(gateway, 'bob')]
    await ann.ask(2, { subscribe: { channel: 'general' } })
    await bob.ask(2, { subscribe: { channel: 'general' } })
    const data = '{"n": 1.0, "big": 1e400, "s": "\\u0041é"}'
    ann.send({ id: 3, ...publish(data) })
    bob.send(`{"id":3,"publish":{"channel":"general","data":${data}}}`)
    const pushes = [await pushed(ann), await pushed(ann)]
    expect(pushes.map(({ pub }) => text(pub['data']))).toEqual([data, data])
    expect(pushes.map(({ pub }) => pub['offset'])).toEqual([1, 2])
    const isPush = (line: string): boolean => line.startsWith('{"push"')
    for (const line of [await bob.lines.next(isPush), await bob.lines.next(isPush)])
      expect(line).toContain(`"data":${data},`)
  })

  test('data that is not JSON is refused, and the connection stays open', async () => {
    const client = await protobufAs(await gatewayFor(), 'ann')
    expect(await client.ask(2, publish('hello'))).toMatchObject({
      error: { code: 107, message: 'INVALID_JSON: data must be one JSON value in UTF-8, in protobuf too' },
    })
    expect(await client.ask(3, publish('"hello"'))).toEqual({ id: 3, publish: {} })
  })

  async function pushed(client: ProtobufClient): Promise<{ pub: MessageFields }> {
    const { push } = await client.replies.next((reply) => 'push' in reply)
    return push as unknown as { pub: MessageFields }
  }
})

describe('broken frames', () => {
  test.each<[string, Uint8Array]>([
    ['nothing', Buffer.alloc(0)],
    ['a length beyond the end', Buffer.from([5, 8])],
    ['a length without an end', Buffer.alloc(11, 0xff)],
    ['JSON', Buffer.from('{"id":2,"rpc":{"method":"x"}}')],
    ['an unknown method', Buffer.from('03 0802 7a'.replaceAll(' ', ''), 'hex')],
    ['no id', command(publish('1'))],
    ['a ping from the client', command({ id: 2, ping: {} })],
    ['a second connect', command({ id: 2, connect: {} })],
    ['an empty channel', command({ id: 2, subscribe: {} })],
  ])('%s: 3501', async (_what, frame) => {
    const client = await protobufAs(await gatewayFor(), 'ann')
    client.socket.send(frame)
    expect(await client.closed()).toBe(3501)
  })

  test('a text frame: 3501', async () => {
    const client = await protobufAs(await gatewayFor(), 'ann')
    client.socket.send('{"id":2,"rpc":{"method":"x"}}')
    expect(await client.closed()).toBe(3501)
  })

  test('more than 64 KiB: 1009', async () => {
    const client = await protobufAs(await gatewayFor(), 'ann')
    client.send({ id: 2, ...publish(JSON.stringify('x'.repeat(65_536))) })
    expect(await client.closed()).toBe(1009)
  })

  test('a frame full of pongs: 3013', async () => {
    const client = await protobufAs(await gatewayFor(), 'ann')
    client.socket.send(Buffer.alloc(65_536))
    expect(await client.closed()).toBe(3013)
  })

  test('valid commands before the broken one are executed and answered first', async () => {
    const client = await protobufAs(await gatewayFor(), 'ann')
    client.socket.send(Buffer.concat([command({ id: 2, ...publish('1') }), Buffer.from([9, 9])]))
    expect(await client.closed()).toBe(3501)
    expect(client.replies.waiting).toEqual([{ id: 2, publish: {} }])
  })
})

test('a ping is a length of 0; a client that answers with one stays, another is closed with 3012', async () => {
  const clock = new MovableClock()
  const gateway = await gatewayFor({}, { clock })
  const [awake, asleep] = [await protobufAs(gateway, 'ann'), await protobufAs(gateway, 'bob')]
  const { pingIntervalMs, pongTimeoutMs } = defaultSessionLimits.heartbeat
  clock.move(pingIntervalMs + 250, gateway)
  expect(await Promise.all([awake.replies.next(), asleep.replies.next()])).toEqual([{}, {}])
  awake.send({})
  await awake.ask(2, { presence_stats: { channel: 'general' } })
  clock.move(pongTimeoutMs + 250, gateway)
  expect(await asleep.closed()).toBe(3012)
  expect(awake.socket.readyState).toBe(WebSocket.OPEN)
})
