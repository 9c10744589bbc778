// Replies to commands with and without an id, and idempotency keys.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatClient } from '../support/chat-client.js'
import { rule } from '../support/policies.js'

/** The frames of the reply, as they arrived. */
async function answerTo(client: ChatClient, command: string, frames: number): Promise<string[]> {
  const before = client.texts.length
  client.send(command)
  await client.settle()
  return client.texts.slice(before, before + frames)
}

describe('ack', () => {
  test.each([
    ['a number', '7'],
    ['a text', '"seven"'],
    ['a number beyond 2^53', '90071992547409931'],
    ['a fraction as it was written', '1.50'],
    ['an escaped text as it was written', String.raw`"\u00e4"`],
  ])('has the id of its command: %s', async (_what, id) => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const [left, ack] = await answerTo(ann, `{"type":"leave_room","room":"general","id":${id}}`, 2)
    expect([left, ack]).toEqual([
      `{"event":"left","id":${id},"room":"general"}`,
      `{"event":"ack","id":${id}}`,
    ])
  })

  test('of a publish to a room has its position', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const { epoch } = await joined(ann, 'general')
    const ack = await ann.done({ type: 'room_message', room: 'general', content: 1 })
    expect(ack).toEqual({
      event: 'ack',
      id: ack.id,
      room: 'general',
      epoch,
      offset: 1,
      durability: 'accepted',
    })
  })

  test.each([
    { type: 'chat', content: 1 },
    { type: 'direct_message', target_user: 'bob', content: 1 },
  ])('of $type has no room', async (command) => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const ack = await ann.done(command)
    expect(ack).toMatchObject({ offset: 1, durability: 'accepted' })
    expect(ack).not.toHaveProperty('room')
  })

  test('of a publish to a room without history has no position', async () => {
    const gateway = await gatewayFor({ channels: [rule('general', { history: null })] })
    const ann = await chatAs(gateway, 'ann')
    const ack = await ann.done({ type: 'chat', room: 'general', content: 1 })
    expect(ack).toEqual({ event: 'ack', id: ack.id, room: 'general', durability: 'accepted' })
  })

  test('follows the results', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const frames = await answerTo(ann, '{"type":"join_room","room":"general","id":1}', 2)
    expect(frames.map((text) => (JSON.parse(text) as { event: string }).event)).toEqual(['joined', 'ack'])
  })
})

describe('without an id', () => {
  test.each([
    { type: 'chat', content: 1 },
    { type: 'chat', room: 'general', content: 1 },
    { type: 'room_message', room: 'general', content: 1 },
    { type: 'direct_message', target_user: 'bob', content: 1 },
    { type: 'pong' },
  ])('$type gets no reply', async (command) => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send(command)
    expect(await ann.settle()).toEqual([])
  })

  test.each([
    [{ type: 'join_room', room: 'general' }, ['joined', 'user_joined']],
    [{ type: 'leave_room', room: 'general' }, ['left']],
    [{ type: 'history', room: 'general' }, ['history']],
    [{ type: 'presence', room: 'general' }, ['presence']],
  ])('%j gets only its results', async (command, events) => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send(command)
    expect((await ann.settle()).map(({ event }) => event)).toEqual(events)
  })
})

describe('a key', () => {
  const message = { type: 'room_message', room: 'general', content: { n: 1 }, key: 'k1' }

  test('that is repeated is acknowledged with the first result, and delivered once', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    const first = await ann.done(message)
    const again = await ann.done(message)
    expect({ ...again, id: first.id }).toEqual(first)
    expect((await ann.settle()).filter(({ event }) => event === 'chat')).toHaveLength(1)
  })

  test('applies to all connections of one user', async () => {
    const gateway = await gatewayFor()
    const [phone, desk] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'ann')]
    const first = await phone.done(message)
    expect(await desk.done(message)).toMatchObject({ offset: first.offset })
  })

  test('with another content is IDEMPOTENCY_MISMATCH', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await ann.done(message)
    expect(await ann.ask({ ...message, content: { n: 2 } })).toMatchObject({
      event: 'error',
      code: 'IDEMPOTENCY_MISMATCH',
    })
  })

  test('may be used by two users', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    const acks = [await ann.done(message), await bob.done({ ...message, content: 'other' })]
    expect(acks.map(({ offset }) => offset)).toEqual([1, 2])
  })

  test('works for chat and direct_message, and without history', async () => {
    const gateway = await gatewayFor({
      channels: [rule('lobby', { history: null }), rule('dm:{user}', { history: null })],
    })
    const ann = await chatAs(gateway, 'ann')
    for (const command of [
      { type: 'chat', content: 1, echo: true, key: 'k' },
      { type: 'direct_message', target_user: 'ann', content: 1, key: 'k' },
    ]) {
      await ann.done(command)
      await ann.done(command)
    }
    expect((await ann.settle()).map(({ event }) => event)).toEqual(['chat', 'direct_message'])
  })
})
