// Misused idempotency keys: each key identifies one message of one user in one room of one tenant, however
// often it is sent.
import { beforeEach, describe, expect, test } from 'vitest'
import { rule, tenantPolicy } from '../support/policies.js'
import type { Json, RawClient } from '../support/raw-client.js'
import { text } from '../support/raw-frames.js'
import { expectSentence, targetGateway } from '../support/raw-gateway.js'

const channels = [rule('lobby'), rule('dm:{user}'), rule('dm:*'), rule('one'), rule('two')]
const target = targetGateway([tenantPolicy({ channels }), tenantPolicy({ name: 'other', channels })])

let alice: RawClient
let key: string
let round = 0
beforeEach(async () => {
  alice = await target.chat('alice')
  key = `key-${(round += 1)}`
})

async function publish(client: RawClient, fields: Readonly<Record<string, unknown>>): Promise<Json> {
  client.send({ type: 'room_message', room: 'one', content: 'first', key, id: 'p', ...fields })
  return client.json(({ id }) => id === 'p')
}

async function contentsOf(client: RawClient, room: string): Promise<unknown[]> {
  client.send({ type: 'history', room, id: 'h' })
  const { messages } = await client.json(({ event }) => event === 'history')
  return messages.map(({ content }: Json) => content)
}

describe('the same key', () => {
  test('with the same content is acknowledged again and stored once', async () => {
    const first = await publish(alice, {})
    expect(first).toMatchObject({ event: 'ack' })
    expect(await publish(alice, {})).toEqual(first)
    expect(await publish(await target.chat('alice'), {})).toEqual(first)
    expect((await contentsOf(alice, 'one')).filter((content) => content === 'first')).toHaveLength(1)
  })

  test.each([
    ['other content', 'second'],
    ['another JSON type of the same text', { text: 'first' }],
    ['a number instead of a text', 1],
    ['null', null],
  ])('with %s: IDEMPOTENCY_MISMATCH, whose message shows neither content', async (_what, content) => {
    await publish(alice, { content: 'a secret that was sent before' })
    const answer = await publish(alice, { content })
    expect(answer).toMatchObject({ event: 'error', code: 'IDEMPOTENCY_MISMATCH' })
    expectSentence(answer['message'])
    expect(JSON.stringify(answer)).not.toContain('secret')
  })

  test('with differently written equal JSON is other content: bytes are compared', async () => {
    alice.write(text(`{"type":"room_message","room":"one","content":[1],"key":"${key}","id":"p"}`))
    expect(await alice.json(({ id }) => id === 'p')).toMatchObject({ event: 'ack' })
    alice.write(text(`{"type":"room_message","room":"one","content":[1.0],"key":"${key}","id":"p"}`))
    expect(await alice.json(({ id }) => id === 'p')).toMatchObject({ code: 'IDEMPOTENCY_MISMATCH' })
  })

  test.each([
    ['in another room', async () => publish(alice, { room: 'two', content: `${key} elsewhere` }), 'two'],
    ['of another user', async () => publish(await target.chat('bob'), { content: `${key} of bob` }), 'one'],
  ])('%s is another message', async (_what, again, room) => {
    expect(await publish(alice, {})).toMatchObject({ event: 'ack' })
    expect(await again()).toMatchObject({ event: 'ack' })
    expect((await contentsOf(alice, room)).at(-1)).toMatch(new RegExp(`^${key} `))
  })

  test('in another tenant is another message, and the reply mentions no other tenant', async () => {
    await publish(alice, {})
    const stranger = await target.chat('alice', 'demo/other')
    expect(await publish(stranger, { content: 'not the first' })).toMatchObject({ event: 'ack' })
    expect(await contentsOf(stranger, 'one')).toContain('not the first')
    expect(await contentsOf(alice, 'one')).not.toContain('not the first')
  })

  test('that imitates another user’s key with a line break is still the sender’s own', async () => {
    const bob = await target.chat('bob')
    await publish(bob, { content: 'of bob' })
    expect(await publish(alice, { key: `bob\n${key}` })).toMatchObject({ code: 'BAD_REQUEST' })
  })
})

describe('invalid keys', () => {
  test.each([
    ['empty', ''],
    ['of 129 characters', 'k'.repeat(129)],
    ['of 1 KB', 'k'.repeat(1_024)],
    ['with a line break', 'a\nb'],
    ['with CRLF and a Redis command', 'a\r\n*1\r\n$8\r\nFLUSHALL\r\n'],
    ['with NUL', 'a\u0000'],
    ['a lone surrogate', 'a\ud800'],
    ['a number', 7],
    ['a boolean', true],
    ['an array', ['a']],
    ['an object', { a: 1 }],
  ])('%s: BAD_REQUEST', async (_what, bad) => {
    const answer = await publish(alice, { key: bad })
    expect(answer).toMatchObject({ event: 'error', code: 'BAD_REQUEST' })
    expect(answer['message']).toContain('"key"')
    expectSentence(answer['message'])
  })

  test.each(['{slot}', '*', '__proto__', 'constructor', 'ключ', 'k'.repeat(128)])(
    '%s is a valid key',
    async (odd) => {
      const content = `by ${odd}`
      const first = await publish(alice, { key: odd, content })
      expect(first).toMatchObject({ event: 'ack' })
      expect(await publish(alice, { key: odd, content })).toEqual(first)
    },
  )
})

describe('a thousand concurrent publishes', () => {
  test('of one connection: one message and a thousand acknowledgements', async () => {
    const frames = Array.from({ length: 1_000 }, (_, id) =>
      text(JSON.stringify({ type: 'room_message', room: 'two', content: `${key} once`, key, id })),
    )
    alice.write(...frames)
    const offsets = new Set<number>()
    for (let id = 0; id < 1_000; id += 1) {
      const answer = await alice.json((message) => message['id'] === id)
      expect(answer['event']).toBe('ack')
      offsets.add(answer['offset'])
    }
    expect(offsets.size).toBe(1)
    expect((await contentsOf(alice, 'two')).filter((content) => content === `${key} once`)).toHaveLength(1)
  })

  test('of fifty connections, with two contents: one content wins, and the other publishes are refused', async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => target.chat('alice')))
    const answers = await Promise.all(
      clients.flatMap((client, index) => [publish(client, { content: `${key} ${index % 2}` })]),
    )
    const winners = answers.filter(({ event }) => event === 'ack')
    const losers = answers.filter(({ code }) => code === 'IDEMPOTENCY_MISMATCH')
    expect([winners.length, losers.length]).toEqual([25, 25])
    expect(new Set(winners.map(({ offset }) => offset)).size).toBe(1)
  })
})
