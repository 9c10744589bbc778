import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Publication } from '../../broker/broker.js'
import { CommandError, type ErrorCode, errorCodes } from '../../errors.js'
import { centrifugeJson } from './json.js'
import { centrifugeProtobuf } from './protobuf.js'
import { centrifugeErrorNumbers, unsubscribeCodes } from '../codes.js'
import type { Reply, SubscribeReply } from '../commands.js'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (payload: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(payload)

function replyTo(id: number, reply: Reply): string {
  const payloads = centrifugeJson.reply(id, reply)
  expect(payloads).toHaveLength(1)
  return payloads.map(text).join('\n')
}

const bare: Publication = { data: bytes('{"a": 1.0}'), offset: 0, epoch: '', timeMs: 1700 }
const full: Publication = {
  ...bare,
  offset: 4294967297,
  epoch: 'e',
  info: { user: 'u', client: 'c', name: 'N', info: bytes('{"x":1e400}') },
  tags: new Map([
    ['kind', 'shot'],
    ['a "b"', ''],
  ]),
}

describe('replies', () => {
  test.each<[Reply, string]>([
    [
      {
        kind: 'connect',
        client: 'c',
        user: 'u',
        expiresInS: 60.9,
        pingIntervalS: 25,
        subscriptions: [],
        limits: { messageBytes: 1, publishPerSecond: 1, subscriptions: 1, commandsPerSecond: 1 },
      },
      '"connect":{"client":"c","version":"parley","expires":true,"ttl":60,"data":{"limits":{"message_bytes":1,"publish_per_second":1,"commands_per_second":1,"subscriptions":1}},"ping":25,"pong":true}',
    ],
    [
      {
        kind: 'connect',
        client: 'c',
        user: 'u',
        pingIntervalS: 0,
        subscriptions: [],
        limits: { messageBytes: 1, publishPerSecond: 1, subscriptions: 1, commandsPerSecond: 1 },
      },
      '"connect":{"client":"c","version":"parley","data":{"limits":{"message_bytes":1,"publish_per_second":1,"commands_per_second":1,"subscriptions":1}}}',
    ],
    [
      { kind: 'subscribe', channel: 'a', publications: [], wasRecovering: false, recovered: false },
      '"subscribe":{}',
    ],
    [
      {
        kind: 'subscribe',
        channel: 'a',
        publications: [],
        wasRecovering: false,
        recovered: false,
        position: { epoch: 'e', offset: 0 },
        expiresInS: 0.5,
      },
      '"subscribe":{"expires":true,"ttl":1,"recoverable":true,"positioned":true,"epoch":"e"}',
    ],
    [
      {
        kind: 'subscribe',
        channel: 'a',
        publications: [full],
        wasRecovering: true,
        recovered: true,
        position: { epoch: 'e', offset: 5 },
        top: { epoch: 'e', offset: 4294967297 },
      },
      '"subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":5,"publications":[{"data":{"a": 1.0},"offset":4294967297,"info":{"user":"u","client":"c","conn_info":{"x":1e400}},"tags":{"kind":"shot","a \\"b\\"":""},"time":1700}],"recovered":true,"was_recovering":true}',
    ],
    [
      {
        kind: 'subscribe',
        channel: 'a',
        publications: [],
        wasRecovering: true,
        recovered: false,
        position: { epoch: 'f', offset: 9 },
      },
      '"subscribe":{"recoverable":true,"positioned":true,"epoch":"f","offset":9,"was_recovering":true}',
    ],
    [
      {
        kind: 'subscribe',
        channel: 'a',
        publications: [bare, bare],
        wasRecovering: true,
        recovered: true,
        delta: true,
      },
      '"subscribe":{"publications":[{"data":"{\\"a\\": 1.0}","time":1700},{"data":"{\\"a\\": 1.0}","time":1700}],"recovered":true,"was_recovering":true,"delta":true}',
    ],
    [{ kind: 'unsubscribe', channel: 'a' }, '"unsubscribe":{}'],
    [
      { kind: 'publish', channel: 'a', position: { epoch: 'e', offset: 1 }, durability: 'replicated' },
      '"publish":{}',
    ],
    [{ kind: 'presence', channel: 'a', members: new Map() }, '"presence":{"presence":{}}'],
    [
      {
        kind: 'presence',
        channel: 'a',
        members: new Map([
          ['k', { user: 'u', client: 'c' }],
          ['1', { user: '', client: 'd', info: bytes('[]') }],
        ]),
      },
      '"presence":{"presence":{"k":{"user":"u","client":"c"},"1":{"client":"d","conn_info":[]}}}',
    ],
    [
      { kind: 'presenceStats', channel: 'a', clients: 0, users: 0 },
      '"presence_stats":{"num_clients":0,"num_users":0}',
    ],
    [
      {
        kind: 'history',
        channel: 'a',
        page: { publications: [], top: { epoch: '', offset: 0 }, continuous: true },
      },
      '"history":{"publications":[],"epoch":"","offset":0}',
    ],
    [
      {
        kind: 'history',
        channel: 'a',
        page: {
          publications: [
            { ...bare, offset: 1 },
            { ...bare, offset: 2 },
          ],
          top: { epoch: 'e', offset: 2 },
          continuous: true,
        },
      },
      '"history":{"publications":[{"data":{"a": 1.0},"offset":1,"time":1700},{"data":{"a": 1.0},"offset":2,"time":1700}],"epoch":"e","offset":2}',
    ],
    [
      { kind: 'refresh', client: 'c', expiresInS: 80 },
      '"refresh":{"client":"c","version":"parley","expires":true,"ttl":80}',
    ],
    [{ kind: 'refresh', client: 'c' }, '"refresh":{"client":"c","version":"parley"}'],
    [{ kind: 'subRefresh', channel: 'a', expiresInS: 80 }, '"sub_refresh":{"expires":true,"ttl":80}'],
    [{ kind: 'subRefresh', channel: 'a' }, '"sub_refresh":{}'],
  ])('%j', (reply, expected) => {
    expect(replyTo(7, reply)).toBe(`{"id":7,${expected}}`)
  })
})

describe('errors', () => {
  test('begin the message with the error code', () => {
    expect(text(centrifugeJson.error(3, new CommandError('PERMISSION_DENIED', 'No.')))).toBe(
      '{"id":3,"error":{"code":103,"message":"PERMISSION_DENIED: No."}}',
    )
    expect(
      text(centrifugeJson.error(3, new CommandError('QUOTA_EXCEEDED', 'Slow down.', { retryAfterMs: 5 }))),
    ).toBe(
      '{"id":3,"error":{"code":111,"message":"QUOTA_EXCEEDED: Slow down.","temporary":true,"retry_after_ms":5}}',
    )
  })

  test.each(Object.keys(errorCodes) as ErrorCode[])('%s has a Centrifuge number', (code) => {
    expect(JSON.parse(text(centrifugeJson.error(1, new CommandError(code, 'x'))))).toMatchObject({
      error: { code: centrifugeErrorNumbers[code] },
    })
  })
})

describe('pushes', () => {
  test('publication', () => {
    expect(text(centrifugeJson.publication('a', bare))).toBe(
      '{"push":{"channel":"a","pub":{"data":{"a": 1.0},"time":1700}}}',
    )
    expect(text(centrifugeJson.publication('a', full))).toBe(
      '{"push":{"channel":"a","pub":{"data":{"a": 1.0},"offset":4294967297,"info":{"user":"u","client":"c","conn_info":{"x":1e400}},"tags":{"kind":"shot","a \\"b\\"":""},"time":1700}}}',
    )
  })

  test('a delta in JSON: all data is a string, and only the difference is sent', () => {
    const long = 'ж'.repeat(50)
    const [before, after] = [bytes(`"${long}1"`), bytes(`"${long}2"`)]
    const publication = { ...bare, data: after }
    expect(text(centrifugeJson.publication('a', publication, 'none'))).toBe(
      `{"push":{"channel":"a","pub":{"data":"\\"${long}2\\"","time":1700}}}`,
    )
    expect(text(centrifugeJson.publication('a', publication, { ...bare, data: before }))).toMatch(
      /^{"push":{"channel":"a","pub":{"data":"1c\\n1a@0,1:21@1b,[\w~]+;","time":1700,"delta":true}}}$/,
    )
    expect(text(centrifugeJson.publication('a', publication, bare))).toBe(
      text(centrifugeJson.publication('a', publication, 'none')),
    )
  })

  test('a delta is never larger than the complete data, in JSON and in protobuf', () => {
    const word = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', 'é', '中', '😀') })
    fc.assert(
      fc.property(word, word, word, word, (head, one, two, tail) => {
        const data = (middle: string): Uint8Array =>
          bytes(JSON.stringify(head.repeat(6) + middle + tail.repeat(6)))
        const [base, publication] = [one, two].map((middle) => ({ ...bare, data: data(middle) }))
        if (!base || !publication) throw new Error('two publications')
        for (const codec of [centrifugeJson, centrifugeProtobuf]) {
          const [whole, delta] = ['none' as const, base].map((since) =>
            codec.publication('a', publication, since),
          )
          expect(delta?.byteLength).toBeLessThanOrEqual(whole?.byteLength ?? 0)
        }
      }),
    )
  })

  test('join and leave of every connection', () => {
    const info = { user: 'u', client: 'c' }
    const pushed = (['join', 'leave'] as const).map((kind) =>
      centrifugeJson.announcement('a', { kind, info, userEdge: false }),
    )
    expect(pushed.map((payload) => payload && text(payload))).toEqual([
      '{"push":{"channel":"a","join":{"info":{"user":"u","client":"c"}}}}',
      '{"push":{"channel":"a","leave":{"info":{"user":"u","client":"c"}}}}',
    ])
  })

  test('subscribe, followed by the missed publications', () => {
    const subscription: SubscribeReply = {
      kind: 'subscribe',
      channel: 'a',
      publications: [bare],
      wasRecovering: true,
      recovered: true,
      position: { epoch: 'e', offset: 2 },
      data: bytes('{"b": 1.0}'),
    }
    expect(centrifugeJson.subscribed(subscription).map(text)).toEqual([
      '{"push":{"channel":"a","subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":2,"data":{"b": 1.0}}}}',
      '{"push":{"channel":"a","pub":{"data":{"a": 1.0},"time":1700}}}',
    ])
    const bareOne: SubscribeReply = {
      ...subscription,
      publications: [],
      position: undefined,
      data: undefined,
    }
    expect(centrifugeJson.subscribed(bareOne).map(text)).toEqual(['{"push":{"channel":"a","subscribe":{}}}'])
  })

  test('unsubscribe', () => {
    expect(text(centrifugeJson.unsubscribed('a', unsubscribeCodes.insufficientState))).toBe(
      '{"push":{"channel":"a","unsubscribe":{"code":2500,"reason":"insufficient state"}}}',
    )
  })

  test('ping is the empty reply', () => {
    expect(text(centrifugeJson.ping)).toBe('{}')
  })

  test('there is no push for lost continuity or for reconnect advice', () => {
    expect(centrifugeJson.continuityLost('a', { epoch: 'e', offset: 1 })).toBeUndefined()
    expect(centrifugeJson.reconnect(5)).toBeUndefined()
  })
})

describe('for any text', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('"', '\\', '</script>', '\n', '\u2028', '\ud800', '\u0000', '"},"x":{'),
  )
  const json = fc.json({ stringUnit: 'binary' })

  test('a payload is one line of JSON that parses to the original values', () => {
    fc.assert(
      fc.property(word, word, word, json, json, (channel, user, client, data, info) => {
        const publication = { ...bare, data: bytes(data), info: { user, client, info: bytes(info) } }
        const line = text(centrifugeJson.publication(channel, publication))
        expect(line).not.toMatch(/[\r\n]/)
        expect(line).toContain(`"data":${data}`)
        expect(JSON.parse(line)).toEqual({
          push: {
            channel,
            pub: {
              data: JSON.parse(data) as unknown,
              info: {
                ...(user && { user }),
                ...(client && { client }),
                conn_info: JSON.parse(info) as unknown,
              },
              time: 1700,
            },
          },
        })
      }),
    )
  })

  test('a subscriber receives the published data byte for byte', () => {
    fc.assert(
      fc.property(json, (data) => {
        fc.pre(data !== 'null')
        const [item] = centrifugeJson.decode(
          Buffer.from(`{"id":1,"publish":{"channel":"a","data": ${data}\t}}`),
        )
        if (item?.kind !== 'command' || item.command.kind !== 'publish') throw new Error('not a publish')
        const line = text(centrifugeJson.publication('a', { ...bare, data: item.command.data }))
        expect(line).toBe(`{"push":{"channel":"a","pub":{"data":${data},"time":1700}}}`)
      }),
    )
  })
})
