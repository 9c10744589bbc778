import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Publication } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { centrifugeJson } from './json.js'
import { centrifugeProtobuf } from './protobuf.js'
import { WireCommand, WireReply } from './schema.js'
import { closeCodes, unsubscribeCodes } from '../codes.js'
import type { DecodedItem } from '../commands.js'
import type { MessageFields } from '../message-fields.js'
import { splitDelimited, readMessage, writeDelimited } from './protobuf-message.js'

const violation = { kind: 'violation', close: closeCodes.badRequest }

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const command = (fields: MessageFields): Uint8Array => writeDelimited(WireCommand, fields)
const decode = (...frame: Uint8Array[]): DecodedItem[] => centrifugeProtobuf.decode(Buffer.concat(frame))
const read = (payload: Uint8Array): MessageFields[] =>
  Array.from(splitDelimited(payload), (message) => readMessage(WireReply, message))

describe('commands', () => {
  const text = fc.string({ unit: 'grapheme' })
  const position = { epoch: text, offset: fc.maxSafeNat() }
  const fieldsOf = {
    connect: fc.record({ token: text }, { requiredKeys: [] }),
    subscribe: fc.record(
      {
        channel: text,
        token: text,
        recover: fc.boolean(),
        ...position,
        positioned: fc.boolean(),
        recoverable: fc.boolean(),
        join_leave: fc.boolean(),
        delta: fc.constantFrom('', 'fossil', 'other'),
        flag: fc.nat({ max: 3 }),
        type: fc.nat({ max: 2 }),
        tf: fc.constantFrom<MessageFields[]>(
          {},
          { key: 'a', cmp: 'eq', val: 'é' },
          { op: 'not', nodes: [{ op: 'or', nodes: [{ key: 'a', cmp: 'in', vals: ['', 'b'] }] }] },
          Array.from({ length: 20 }).reduce<MessageFields>((node) => ({ op: 'and', nodes: [node] }), {}),
        ),
      },
      { requiredKeys: ['channel'] },
    ),
    unsubscribe: fc.record({ channel: text }),
    presence: fc.record({ channel: text }),
    presence_stats: fc.record({ channel: text }),
    history: fc.record(
      {
        channel: text,
        limit: fc.integer({ min: -2, max: 1000 }),
        since: fc.record(position),
        reverse: fc.boolean(),
      },
      { requiredKeys: ['channel'] },
    ),
    ping: fc.constant({}),
    send: fc.constant({}),
    rpc: fc.record({ method: text }),
    refresh: fc.record({ token: text }),
    sub_refresh: fc.record({ channel: text, token: text }),
  }

  test.each(Object.entries(fieldsOf))('%s decodes to the same command as in JSON', (method, fields) => {
    fc.assert(
      fc.property(fc.nat({ max: 2 }), fields, (id, asked: MessageFields) => {
        const sent = { id, [method]: asked }
        expect(decode(command(sent))).toEqual(centrifugeJson.decode(Buffer.from(JSON.stringify(sent))))
      }),
    )
  })

  test('a frame contains several in order; a length of 0 is a pong', () => {
    const frame = [
      command({ id: 1, connect: { token: 't' } }),
      command({}),
      command({ id: 2, presence: { channel: 'a' } }),
    ]
    expect(decode(...frame)).toEqual([
      { kind: 'command', ref: 1, command: { kind: 'connect', token: 't' } },
      { kind: 'pong' },
      { kind: 'command', ref: 2, command: { kind: 'presence', channel: 'a' } },
    ])
  })

  test('an empty frame is a violation', () => {
    expect(decode()).toEqual([violation])
  })

  test('commands before a violation are decoded, and nothing after it', () => {
    expect(decode(command({}), command({ id: 1 }), command({}))).toEqual([{ kind: 'pong' }, violation])
    expect(decode(command({}), Buffer.from([5, 8]))).toEqual([{ kind: 'pong' }, violation])
  })

  test('offsets above 2^53 - 1 become an offset above every stream', () => {
    const frame = Buffer.from('14 0801 2a10 0a0161 1801 38ffffffffffffffffff01'.replaceAll(' ', ''), 'hex')
    expect(decode(frame)).toMatchObject([
      { command: { since: { epoch: '', offset: Number.MAX_SAFE_INTEGER } } },
    ])
  })
})

describe('publish', () => {
  const publish = (data: string | Uint8Array): DecodedItem[] =>
    decode(command({ id: 1, publish: { channel: 'a', data: Buffer.from(data) } }))

  test('keeps data exactly as written, on one line', () => {
    const data = '{"b":1.0,"a":1e400,"b":12345678901234567890,"\\u0061":"\\ud800\\/é"}'
    expect(publish(` ${data}\n`)).toEqual([
      {
        kind: 'command',
        ref: 1,
        command: { kind: 'publish', channel: 'a', data: Buffer.from(data), echo: true },
      },
    ])
    expect(publish('[1,\r\n2]')).toMatchObject([{ command: { data: Buffer.from('[1,2]') } }])
  })

  test.each<[string, string | Uint8Array, string]>([
    ['nothing', '', 'BAD_REQUEST'],
    ['null', 'null', 'BAD_REQUEST'],
    ['no JSON', 'hello', 'INVALID_JSON'],
    ['two values', '1 2', 'INVALID_JSON'],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'INVALID_JSON'],
    ['a mark of byte order', '\ufeff1', 'INVALID_JSON'],
    ['129 levels', `${'['.repeat(129)}${']'.repeat(129)}`, 'BAD_REQUEST'],
  ])('%s is refused', (_what, data, code) => {
    expect(publish(data)).toMatchObject([{ kind: 'refused', ref: 1, error: { code } }])
  })
})

describe('decode never throws, and a violation is the last item', () => {
  function expectOrder(received: readonly DecodedItem[]): void {
    expect(received.length).toBeGreaterThan(0)
    expect(received.findIndex((item) => item.kind === 'violation')).toBeOneOf([-1, received.length - 1])
  }

  test('on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (frame) => expectOrder(decode(frame))),
      {
        numRuns: 2000,
      },
    )
  })

  test('on commands with a changed byte, or truncated anywhere', () => {
    const good = Buffer.concat([
      command({ id: 1, connect: { token: 'token' } }),
      command({ id: 2, subscribe: { channel: 'a', recover: true, epoch: 'e', offset: 300 } }),
      command({ id: 3, publish: { channel: 'a', data: Buffer.from('{"a":1}') } }),
      command({ id: 4, history: { channel: 'a', limit: -1, since: { offset: 1, epoch: 'e' } } }),
    ])
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, byte, end) => {
        const broken = Buffer.from(good)
        broken[at] = byte
        expectOrder(decode(broken.subarray(0, end)))
      }),
      { numRuns: 2000 },
    )
  })

  test('on a frame full of pongs', () => {
    expect(decode(Buffer.alloc(65_536))).toHaveLength(65_536)
  })
})

describe('replies and pushes', () => {
  const data = bytes('{"a": 1.0}')
  const publication: Publication = {
    data,
    offset: 2 ** 32 + 1,
    epoch: 'e',
    timeMs: 1_700_000_000_000,
    info: { user: 'u', client: 'c', name: 'N' },
    tags: new Map([
      ['kind', 'shot'],
      ['', ''],
    ]),
  }
  const wirePublication = {
    data,
    offset: 2 ** 32 + 1,
    info: { user: 'u', client: 'c', conn_info: bytes('{"name":"N"}') },
    tags: publication.tags,
    time: 1_700_000_000_000,
  }

  test('a publication, byte for byte', () => {
    const payload = centrifugeProtobuf.publication('a', {
      data: bytes('1'),
      offset: 3,
      epoch: 'e',
      timeMs: 5,
    })
    expect(Buffer.from(payload).toString('hex')).toBe('0e220c120161220722013130034805')
  })

  test('a connect reply', () => {
    const limits = { messageBytes: 1, publishPerSecond: 2, subscriptions: 3, commandsPerSecond: 4 }
    const [payload] = centrifugeProtobuf.reply(7, {
      kind: 'connect',
      client: 'c',
      user: 'u',
      expiresInS: 60,
      pingIntervalS: 25,
      subscriptions: [],
      limits,
    })
    expect(read(payload ?? data)).toEqual([
      {
        id: 7,
        connect: {
          client: 'c',
          version: 'parley',
          expires: true,
          ttl: 60,
          data: bytes(
            '{"limits":{"message_bytes":1,"publish_per_second":2,"commands_per_second":4,"subscriptions":3}}',
          ),
          ping: 25,
          pong: true,
        },
      },
    ])
  })

  test('replies of a recovered subscribe, a history and a presence', () => {
    const top = { epoch: 'e', offset: 2 ** 32 + 1 }
    const payloads = [
      ...centrifugeProtobuf.reply(1, {
        kind: 'subscribe',
        channel: 'a',
        position: { epoch: 'e', offset: 5 },
        publications: [publication],
        wasRecovering: true,
        recovered: true,
        top,
      }),
      ...centrifugeProtobuf.reply(2, {
        kind: 'history',
        channel: 'a',
        page: { publications: [publication, publication], top, continuous: true },
      }),
      ...centrifugeProtobuf.reply(3, {
        kind: 'presence',
        channel: 'a',
        members: new Map([['k', { user: 'u', client: 'c', info: data }]]),
      }),
    ]
    expect(payloads.flatMap(read)).toEqual([
      {
        id: 1,
        subscribe: {
          recoverable: true,
          positioned: true,
          epoch: 'e',
          offset: 5,
          publications: [wirePublication],
          recovered: true,
          was_recovering: true,
        },
      },
      { id: 2, history: { publications: [wirePublication, wirePublication], ...top } },
      { id: 3, presence: { presence: new Map([['k', { user: 'u', client: 'c', conn_info: data }]]) } },
    ])
  })

  test('an error, a join, a subscribe, an unsubscribe, an empty reply and a ping', () => {
    const payloads = [
      centrifugeProtobuf.error(1, new CommandError('QUOTA_EXCEEDED', 'Slow down.', { retryAfterMs: 5 })),
      centrifugeProtobuf.announcement('a', {
        kind: 'join',
        info: { user: 'u', client: 'c' },
        userEdge: false,
      }) ?? data,
      ...centrifugeProtobuf.subscribed({
        kind: 'subscribe',
        channel: 'a',
        publications: [],
        wasRecovering: false,
        recovered: false,
        position: { epoch: 'e', offset: 2 },
        data,
      }),
      centrifugeProtobuf.unsubscribed('a', unsubscribeCodes.insufficientState),
      ...centrifugeProtobuf.reply(2, { kind: 'publish', channel: 'a', durability: 'accepted' }),
      centrifugeProtobuf.ping,
    ]
    expect(payloads.flatMap(read)).toEqual([
      { id: 1, error: { code: 111, message: 'QUOTA_EXCEEDED: Slow down.', temporary: true } },
      { push: { channel: 'a', join: { info: { user: 'u', client: 'c' } } } },
      {
        push: {
          channel: 'a',
          subscribe: { recoverable: true, positioned: true, epoch: 'e', offset: 2, data },
        },
      },
      { push: { channel: 'a', unsubscribe: { code: 2500, reason: 'insufficient state' } } },
      { id: 2, publish: {} },
      {},
    ])
  })
})
