// Names of rooms and users: names that could choose a Redis slot, forge a protocol line or look like another
// name are refused with a message.
import { beforeAll, describe, expect, test } from 'vitest'
import { rule, tenantPolicy } from '../support/policies.js'
import type { Json, RawClient } from '../support/raw-client.js'
import { expectSentence, targetGateway } from '../support/raw-gateway.js'

const everything = [
  rule('lobby'),
  rule('dm:*'),
  rule('a:', { name: 'prefix' }),
  rule('*'),
  rule('*:*'),
  rule('*:*:*'),
]
const target = targetGateway([
  tenantPolicy({ channels: everything }),
  tenantPolicy({ name: 'other', channels: everything }),
])

let chat: RawClient
let centrifuge: RawClient
beforeAll(async () => {
  chat = await target.chat('alice')
  centrifuge = await target.centrifuge('alice')
})

let lastId = 100
/** The replies to every command that takes a room, at both endpoints. */
async function answersTo(name: string): Promise<Json[]> {
  const answers: Json[] = []
  for (const fields of [
    { type: 'join_room', room: name },
    { type: 'room_message', room: name, content: 1 },
    { type: 'history', room: name },
    { type: 'presence', room: name },
  ]) {
    const id = (lastId += 1)
    chat.send({ id, ...fields })
    answers.push(await chat.json((message) => message['id'] === id))
  }
  for (const command of [
    { subscribe: { channel: name } },
    { publish: { channel: name, data: 1 } },
    { history: { channel: name } },
    { presence: { channel: name } },
  ]) {
    const id = (lastId += 1)
    centrifuge.send({ id, ...command })
    answers.push(await centrifuge.json((message) => message['id'] === id))
  }
  return answers
}

/** At the Centrifuge endpoint the message starts with the code. */
const messageOf = (answer: Json): string => answer['message'] ?? answer['error']?.message ?? ''
const codeOf = (answer: Json): string => answer['code'] ?? /^\w*/.exec(messageOf(answer))?.[0]

describe('refused', () => {
  test.each([
    ['a space', 'a b'],
    ['only a space', ' '],
    ['a space at the end', 'general '],
    ['a tab', 'a\tb'],
    ['a line break', 'a\nb'],
    ['CRLF and a Redis command', 'a\r\n*1\r\n$8\r\nFLUSHALL\r\n'],
    ['NUL', 'a\u0000'],
    ['ANSI', '\u001b[2Jgeneral'],
    ['a C1 control', 'a\u009b31m'],
    ['a hash tag', '{general}'],
    ['a brace', 'a}b'],
    ['a star', '*'],
    ['a star behind a prefix', 'a:*'],
    ['the platform’s $', '$private'],
    ['the platform’s #', '#alice'],
    ['no-break space', 'a\u00a0b'],
    ['zero-width space', 'gene\u200bral'],
    ['byte order mark', '\ufeffgeneral'],
    ['right-to-left override', 'a\u202eb'],
    ['line separator', 'a\u2028b'],
    ['a lone surrogate', 'a\ud800'],
    ['an e and its accent apart', 'cafe\u0301'],
    ['a ligature of Hangul jamo', '\u1100\u1161'],
    ['256 bytes', 'é'.repeat(128)],
  ])('%s: INVALID_CHANNEL everywhere', async (_what, name) => {
    const answers = await answersTo(name)
    expect(answers.map(codeOf)).toEqual(answers.map(() => 'INVALID_CHANNEL'))
    for (const answer of answers) expectSentence(messageOf(answer))
  })

  test('an empty name, a name of 1 MB and a name that is not text: BAD_REQUEST at the chat endpoint', async () => {
    for (const room of ['', 'r'.repeat(256), 'r'.repeat(60_000), 7, null, ['a'], { name: 'a' }]) {
      chat.send({ type: 'join_room', room, id: 1 })
      const answer = await chat.json((message) => message['id'] === 1)
      expect(answer).toMatchObject({ code: 'BAD_REQUEST', message: expect.stringContaining('"room"') })
      expect(messageOf(answer).length).toBeLessThan(300)
    }
  })

  test('a user name that yields an invalid channel name', async () => {
    for (const user of ['', 'u'.repeat(255), 'a b', '*', 'a\r\nb', '{x}', 'cafe\u0301']) {
      chat.send({ type: 'direct_message', target_user: user, content: 1, id: 1 })
      const answer = await chat.json((message) => message['id'] === 1)
      expect(['BAD_REQUEST', 'INVALID_CHANNEL']).toContain(answer['code'])
      expectSentence(messageOf(answer))
    }
  })
})

describe('valid names', () => {
  test.each([
    '.',
    '..',
    '../other',
    '__proto__',
    'constructor',
    'a?b',
    '[a-z]',
    'a"b\\c',
    "a'b`c",
    '<script>alert(1)</script>',
    'a/b',
    '%00',
    'café',
    '漢字',
    '👩‍👩‍👧',
    'a:b',
    'parley:demo:other',
    'é'.repeat(127),
  ])('%s', async (name) => {
    expect((await answersTo(name)).map(codeOf)).toEqual(Array.from({ length: 8 }, () => ''))
  })
})

describe('names that look alike are different channels', () => {
  test.each([
    ['General', 'general'],
    ['general', 'generaI'],
    ['admin', '\u0430dmin'],
    ['a', 'ａ'],
    ['ﬁ', 'fi'],
    ['a:b', 'a::b'],
    ['İ', 'i'],
    ['straße', 'strasse'],
  ])('%s and %s', async (one, other) => {
    const listener = await target.chat('bob')
    listener.send({ type: 'join_room', room: one, id: 1 })
    await listener.json(({ event }) => event === 'ack')
    const speaker = await target.chat('carol')
    speaker.send({ type: 'room_message', room: other, content: 'not for you' })
    speaker.send({ type: 'room_message', room: one, content: 'for you' })
    expect(await listener.json(({ event }) => event === 'chat')).toMatchObject({
      room: one,
      content: 'for you',
    })
    listener.destroy()
    speaker.destroy()
  })
})

describe('another tenant’s names', () => {
  test.each([
    'general',
    'lobby',
    'demo/other:general',
    'id-of-demo-other:general',
    'parley:{0}:id-of-demo-other:general',
  ])('%s stays within the client’s own tenant', async (name) => {
    const stranger = await target.chat('bob', 'demo/other')
    stranger.send({ type: 'join_room', room: name.replace(/^.*:/, ''), id: 1 })
    await stranger.json(({ id }) => id === 1)
    const watched = name.replace(/^.*:/, '')
    chat.send({ type: 'room_message', room: name, content: 'across', id: (lastId += 1) })
    await chat.json(({ id }) => id === lastId)
    stranger.send({ type: 'room_message', room: watched, content: 'at home' })
    expect(await stranger.json(({ event }) => event === 'chat')).toMatchObject({ content: 'at home' })
    stranger.send({ type: 'history', room: watched, id: 2 })
    const { messages } = await stranger.json(({ event }) => event === 'history')
    expect(messages.map(({ content }: Json) => content)).not.toContain('across')
    stranger.destroy()
  })

  test('the tenant in a path is neither decoded nor normalised', async () => {
    for (const tenant of [
      'demo/Other',
      'demo/other%20',
      'demo/oth%65r',
      'demo/*',
      'demo/{other}',
      'demo/..',
      '*/*',
    ]) {
      expect(await target.request({ target: `/${tenant}/ws` })).toMatchObject({
        status: 404,
        body: { code: 'NOT_FOUND' },
      })
    }
  })
})
