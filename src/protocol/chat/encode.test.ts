import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Publication } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { directChannel, isDirectChannel, lobbyChannel } from './channels.js'
import { chatCodec } from './codec.js'
import { unsubscribeCodes } from '../codes.js'
import type { Reply, SubscribeReply } from '../commands.js'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (payload: Uint8Array): string => new TextDecoder('utf-8', { fatal: true }).decode(payload)

/** The ref that a session holds after the client sent `frame`. */
function refOf(frame: object): unknown {
  const [item] = chatCodec.decode(Buffer.from(JSON.stringify(frame)))
  if (item?.kind !== 'command') throw new Error(`not a command: ${JSON.stringify(item)}`)
  return item.ref
}

const answers = (frame: object, reply: Reply): string[] => chatCodec.reply(refOf(frame), reply).map(text)

const publication: Publication = { data: bytes('{"a": 1.0}'), offset: 0, epoch: '', timeMs: 1700 }
const kept: Publication = {
  ...publication,
  offset: 4294967297,
  epoch: 'e',
  info: { user: 'alice', client: 'c1', name: 'Alice', info: bytes('{}') },
}
const keptJson = '"content":{"a": 1.0},"name":"Alice","epoch":"e","offset":4294967297,"ts":1700}'

describe('messages', () => {
  test('of the lobby have no room', () => {
    expect(text(chatCodec.publication(lobbyChannel, kept))).toBe(`{"event":"chat","from":"alice",${keptJson}`)
  })

  test('of a room have its name', () => {
    expect(text(chatCodec.publication('r:1', kept))).toBe(
      `{"event":"chat","from":"alice","room":"r:1",${keptJson}`,
    )
  })

  test('sent directly have their own event', () => {
    expect(text(chatCodec.publication(directChannel('bob'), kept))).toBe(
      `{"event":"direct_message","from":"alice",${keptJson}`,
    )
  })

  test('of the server have an empty sender, and without history no position', () => {
    expect(text(chatCodec.publication('r', publication))).toBe(
      '{"event":"chat","from":"","room":"r","content":{"a": 1.0},"ts":1700}',
    )
  })
})

describe('replies', () => {
  const top = { epoch: 'e', offset: 9 }

  test('connect is answered with a welcome', () => {
    const limits = { messageBytes: 1, publishPerSecond: 2, subscriptions: 3, commandsPerSecond: 4 }
    const reply: Reply = {
      kind: 'connect',
      client: 'c',
      user: 'u',
      pingIntervalS: 25,
      subscriptions: [],
      limits,
    }
    expect(chatCodec.reply(undefined, reply).map(text)).toEqual([
      '{"event":"welcome","client_id":"c","user_id":"u","limits":{"message_bytes":1,"publish_per_second":2,"commands_per_second":4,"subscriptions":3}}',
    ])
  })

  test('publish is acknowledged only when it has an id', () => {
    const reply: Reply = { kind: 'publish', channel: 'r', position: top, durability: 'replicated' }
    expect(answers({ type: 'room_message', room: 'r', content: 1 }, reply)).toEqual([])
    expect(answers({ type: 'room_message', room: 'r', content: 1, id: 'x' }, reply)).toEqual([
      '{"event":"ack","id":"x","room":"r","epoch":"e","offset":9,"durability":"replicated"}',
    ])
  })

  test('the ack of a publish to the lobby or to a user has no room, and without history no position', () => {
    const reply = (channel: string): Reply => ({ kind: 'publish', channel, durability: 'accepted' })
    const ack = ['{"event":"ack","id":1,"durability":"accepted"}']
    expect(answers({ type: 'chat', content: 1, id: 1 }, reply('lobby'))).toEqual(ack)
    expect(answers({ type: 'direct_message', target_user: 'b', content: 1, id: 1 }, reply('dm:b'))).toEqual(
      ack,
    )
  })

  test('join is answered with the missed messages, then joined, then the ack', () => {
    const reply: Reply = {
      kind: 'subscribe',
      channel: 'r',
      publications: [kept],
      wasRecovering: true,
      recovered: true,
      position: { epoch: 'e', offset: 1 },
      top,
    }
    const missed = `{"event":"chat","from":"alice","room":"r",${keptJson}`
    const joined = '"room":"r","recovered":true,"epoch":"e","offset":9}'
    const frame = { type: 'join_room', room: 'r', since: { epoch: 'e', offset: 1 } }
    expect(answers(frame, reply)).toEqual([missed, `{"event":"joined",${joined}`])
    expect(answers({ ...frame, id: 5 }, reply)).toEqual([
      missed,
      `{"event":"joined","id":5,${joined}`,
      '{"event":"ack","id":5}',
    ])
  })

  test.each([
    [false, false, true],
    [true, true, true],
    [true, false, false],
  ])(
    'joined after was recovering %s, recovered %s reports recovered %s',
    (wasRecovering, recovered, reported) => {
      const reply: Reply = { kind: 'subscribe', channel: 'r', publications: [], wasRecovering, recovered }
      expect(answers({ type: 'join_room', room: 'r' }, reply)).toEqual([
        `{"event":"joined","room":"r","recovered":${reported}}`,
      ])
    },
  )

  test('a subscription made by the server is encoded like the reply to a join', () => {
    const subscription: SubscribeReply = {
      kind: 'subscribe',
      channel: 'r',
      publications: [kept],
      wasRecovering: true,
      recovered: true,
      top,
    }
    expect(chatCodec.subscribed(subscription).map(text)).toEqual([
      `{"event":"chat","from":"alice","room":"r",${keptJson}`,
      '{"event":"joined","room":"r","recovered":true,"epoch":"e","offset":9}',
    ])
  })

  test('a subscription that the session makes by itself produces no event', () => {
    const reply: Reply = {
      kind: 'subscribe',
      channel: lobbyChannel,
      publications: [],
      wasRecovering: false,
      recovered: false,
      top,
    }
    expect(chatCodec.reply(undefined, reply)).toEqual([])
  })

  test('leave', () => {
    const reply: Reply = { kind: 'unsubscribe', channel: 'r' }
    expect(answers({ type: 'leave_room', room: 'r' }, reply)).toEqual(['{"event":"left","room":"r"}'])
    expect(answers({ type: 'leave_room', room: 'r', id: 'x' }, reply)).toEqual([
      '{"event":"left","id":"x","room":"r"}',
      '{"event":"ack","id":"x"}',
    ])
  })

  test('presence', () => {
    const members = new Map([
      ['s1', { user: 'u', client: 'c', name: 'U' }],
      ['s2', { user: 'v', client: 'c', info: bytes('{}') }],
    ])
    expect(
      answers({ type: 'presence', room: 'r', id: 1 }, { kind: 'presence', channel: 'r', members }),
    ).toEqual([
      '{"event":"presence","id":1,"room":"r","members":[{"user_id":"u","client_id":"c","name":"U"},{"user_id":"v","client_id":"c"}]}',
      '{"event":"ack","id":1}',
    ])
  })

  test.each([
    [{}, [3, 2]],
    [{ before: { epoch: 'e', offset: 4 } }, [3, 2]],
    [{ since: { epoch: 'e', offset: 1 } }, [2, 3]],
  ])('history %j lists the oldest first', (query, offsets) => {
    const publications = offsets.map((offset) => ({ ...publication, offset, epoch: 'e' }))
    const reply: Reply = { kind: 'history', channel: 'r', page: { publications, top, continuous: true } }
    const [event, ack] = answers({ type: 'history', room: 'r', id: 1, ...query }, reply)
    const message = (offset: number): string =>
      `{"event":"chat","from":"","room":"r","content":{"a": 1.0},"epoch":"e","offset":${offset},"ts":1700}`
    expect(event).toBe(
      `{"event":"history","id":1,"room":"r","messages":[${message(2)},${message(3)}],"epoch":"e","offset":9}`,
    )
    expect(ack).toBe('{"event":"ack","id":1}')
  })

  test('replies to commands that the protocol does not have are empty', () => {
    expect(chatCodec.reply(undefined, { kind: 'subRefresh', channel: 'a' })).toEqual([])
    expect(chatCodec.reply(undefined, { kind: 'refresh', client: 'a' })).toEqual([])
    expect(chatCodec.reply(undefined, { kind: 'presenceStats', channel: 'a', clients: 1, users: 1 })).toEqual(
      [],
    )
  })
})

describe('errors', () => {
  test.each([
    [
      new CommandError('PERMISSION_DENIED', 'No.', { retryAfterMs: 5 }),
      '"code":"PERMISSION_DENIED","message":"No."}',
    ],
    [
      new CommandError('QUOTA_EXCEEDED', 'Wait.', { retryAfterMs: 5.2 }),
      '"code":"QUOTA_EXCEEDED","message":"Wait.","retry_after_ms":6}',
    ],
    [new CommandError('INTERNAL', 'Sorry.'), '"code":"INTERNAL","message":"Sorry."}'],
  ])('%s', (error, expected) => {
    expect(text(chatCodec.error(refOf({ type: 'chat', content: 1, id: 'x' }), error))).toBe(
      `{"event":"error","id":"x",${expected}`,
    )
    expect(text(chatCodec.error(undefined, error))).toBe(`{"event":"error",${expected}`)
  })
})

describe('pushes', () => {
  const info = { user: 'u', client: 'c' }
  const encoded = (channel: string, kind: 'join' | 'leave', userEdge = true): string | undefined => {
    const payload = chatCodec.announcement(channel, { kind, info, userEdge })
    return payload && text(payload)
  }

  test('joins and leaves of users', () => {
    expect(encoded('lobby', 'join')).toBe('{"event":"user_connected","user_id":"u"}')
    expect(encoded('lobby', 'leave')).toBe('{"event":"user_disconnected","user_id":"u"}')
    expect(encoded('r', 'join')).toBe('{"event":"user_joined","user_id":"u","room":"r"}')
    expect(encoded('r', 'leave')).toBe('{"event":"user_left","user_id":"u","room":"r"}')
  })

  test('no event for further connections of a user, nor in channels of direct messages', () => {
    expect(encoded('lobby', 'join', false)).toBeUndefined()
    expect(encoded('r', 'leave', false)).toBeUndefined()
    expect(encoded('dm:bob', 'join')).toBeUndefined()
  })

  test.each([
    [unsubscribeCodes.permissionDenied, 'PERMISSION_DENIED'],
    [unsubscribeCodes.expired, 'TOKEN_EXPIRED'],
    [unsubscribeCodes.insufficientState, 'UNRECOVERABLE_POSITION'],
    [unsubscribeCodes.server, 'UNSUBSCRIBED'],
  ])('left: %j is %s', (code, name) => {
    expect(text(chatCodec.unsubscribed('r', code))).toBe(
      `{"event":"left","room":"r","code":"${name}","message":"${code.reason}"}`,
    )
  })

  test('lost continuity, reconnect advice and ping', () => {
    const lost = chatCodec.continuityLost('r', { epoch: 'e', offset: 3 })
    const advice = chatCodec.reconnect(1500.5)
    expect(lost && text(lost)).toBe('{"event":"joined","room":"r","recovered":false,"epoch":"e","offset":3}')
    expect(advice && text(advice)).toBe('{"event":"reconnect","after_ms":1501}')
    expect(text(chatCodec.ping)).toBe('{"event":"ping"}')
  })
})

describe('for any text', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('"', '\\', '</script>', '\n', '\u2028', '\ud800', '\u0000', '","event":"ping'),
  )
  const json = fc.json({ stringUnit: 'binary' })

  test('a message is one line of JSON that parses to the original values', () => {
    fc.assert(
      fc.property(word, word, word, json, (room, user, name, content) => {
        fc.pre(room !== lobbyChannel && !isDirectChannel(room))
        const line = text(
          chatCodec.publication(room, { ...kept, data: bytes(content), info: { user, client: 'c', name } }),
        )
        expect(line).not.toMatch(/[\r\n]/)
        expect(line).toContain(`"content":${content}`)
        expect(JSON.parse(line)).toEqual({
          event: 'chat',
          from: user,
          room,
          content: JSON.parse(content) as unknown,
          name,
          epoch: 'e',
          offset: 4294967297,
          ts: 1700,
        })
      }),
    )
  })

  test('announcements, errors and results are one line of JSON', () => {
    fc.assert(
      fc.property(word, word, (room, user) => {
        const info = { user, client: user, name: user }
        const ref = { id: JSON.stringify(user), newestFirst: false }
        const payloads = [
          chatCodec.announcement(room, { kind: 'join', info, userEdge: true }) ?? chatCodec.ping,
          chatCodec.error(ref, new CommandError('BAD_REQUEST', user)),
          ...chatCodec.reply(ref, { kind: 'presence', channel: room, members: new Map([[user, info]]) }),
          ...chatCodec.reply(ref, { kind: 'unsubscribe', channel: room }),
        ]
        for (const payload of payloads) {
          expect(text(payload)).not.toMatch(/[\r\n]/)
          expect(JSON.parse(text(payload))).toHaveProperty('event')
        }
      }),
    )
  })

  test('a subscriber receives the published content byte for byte', () => {
    fc.assert(
      fc.property(json, (content) => {
        const [item] = chatCodec.decode(Buffer.from(`{"type":"chat","content":\n${content} }`))
        if (item?.kind !== 'command' || item.command.kind !== 'publish') throw new Error('not a publish')
        const line = text(
          chatCodec.publication(item.command.channel, { ...publication, data: item.command.data }),
        )
        expect(line).toBe(`{"event":"chat","from":"","content":${content},"ts":1700}`)
      }),
    )
  })
})
