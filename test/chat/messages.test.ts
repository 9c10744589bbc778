// The recipients of chat, room_message and direct_message.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, ChatClient, chatUrl, joined } from '../support/chat-client.js'
import { generousLimits } from '../support/policies.js'

async function room(...users: string[]): Promise<ChatClient[]> {
  const gateway = await gatewayFor()
  const clients = []
  for (const user of users) clients.push(await chatAs(gateway, user))
  for (const client of clients) await joined(client, 'general')
  for (const client of clients) await client.settle()
  return clients
}

describe('chat', () => {
  test('without a room reaches every client of the tenant except the sender', async () => {
    const gateway = await gatewayFor()
    const [ann, bob, eve] = [
      await chatAs(gateway, 'ann'),
      await chatAs(gateway, 'bob'),
      await chatAs(gateway, 'eve'),
    ]
    await ann.settle()
    await ann.done({ type: 'chat', content: 'hello' })
    expect(await bob.next('chat')).toMatchObject({ from: 'ann', content: 'hello' })
    expect(await eve.next('chat')).toMatchObject({ from: 'ann', content: 'hello' })
    expect(await ann.settle()).toEqual([])
  })

  test('to the lobby has no room', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    ann.send({ type: 'chat', content: 1 })
    expect(await bob.next('chat')).not.toHaveProperty('room')
  })

  test('reaches the sender’s other connections', async () => {
    const gateway = await gatewayFor()
    const [phone, desk] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'ann')]
    phone.send({ type: 'chat', content: 1 })
    expect(await desk.next('chat')).toMatchObject({ from: 'ann', content: 1 })
  })

  test('with a room reaches the clients in it, except the sender', async () => {
    const [ann, bob] = await room('ann', 'bob')
    await ann?.done({ type: 'chat', room: 'general', content: 'hi' })
    expect(await bob?.next('chat')).toMatchObject({ from: 'ann', room: 'general', content: 'hi' })
    expect(await ann?.settle()).toEqual([])
  })

  test('with a room does not reach clients outside it', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    await ann.done({ type: 'chat', room: 'general', content: 'hi' })
    expect(await bob.settle()).toEqual([])
  })

  test('with echo:true reaches the sender too', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send({ type: 'chat', content: 'hi', echo: true })
    expect(await ann.next('chat')).toMatchObject({ from: 'ann', content: 'hi' })
  })
})

describe('room_message', () => {
  test('reaches all clients in the room, the sender included', async () => {
    const [ann, bob] = await room('ann', 'bob')
    ann?.send({ type: 'room_message', room: 'general', content: 'hi' })
    for (const client of [ann, bob]) {
      expect(await client?.next('chat')).toMatchObject({ from: 'ann', room: 'general', content: 'hi' })
    }
  })

  test('with echo:false does not reach the sender', async () => {
    const [ann, bob] = await room('ann', 'bob')
    await ann?.done({ type: 'room_message', room: 'general', content: 'hi', echo: false })
    expect(await bob?.next('chat')).toMatchObject({ content: 'hi' })
    expect(await ann?.settle()).toEqual([])
  })

  test('does not reach a client that left', async () => {
    const [ann, bob] = await room('ann', 'bob')
    await bob?.done({ type: 'leave_room', room: 'general' })
    await bob?.settle()
    await ann?.done({ type: 'room_message', room: 'general', content: 'hi' })
    expect(await bob?.settle()).toEqual([])
  })

  test('arrives in the order of its sender', async () => {
    const [ann, bob] = await room('ann', 'bob')
    const numbers = Array.from({ length: 100 }, (_, n) => n)
    for (const content of numbers) ann?.send({ type: 'room_message', room: 'general', content })
    const got = []
    while (got.length < numbers.length) got.push((await bob?.next('chat'))?.content)
    expect(got).toEqual(numbers)
  })
})

describe('direct_message', () => {
  test('reaches every connection of the user', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const bobs = [await chatAs(gateway, 'bob'), await chatAs(gateway, 'bob')]
    ann.send({ type: 'direct_message', target_user: 'bob', content: 'psst' })
    for (const bob of bobs)
      expect(await bob.next('direct_message')).toMatchObject({ from: 'ann', content: 'psst' })
  })

  test('has no room', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    ann.send({ type: 'direct_message', target_user: 'ann', content: 'note' })
    expect(await ann.next('direct_message')).not.toHaveProperty('room')
  })

  test('reaches no other client, not even its sender', async () => {
    const gateway = await gatewayFor()
    const [ann, eve] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'eve')]
    await ann.settle()
    await ann.done({ type: 'direct_message', target_user: 'bob', content: 'psst' })
    expect([await ann.settle(), await eve.settle()]).toEqual([[], []])
  })

  test('to its own sender with echo:false reaches only the sender’s other connections', async () => {
    const gateway = await gatewayFor()
    const [phone, desk] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'ann')]
    await phone.done({ type: 'direct_message', target_user: 'ann', content: 'note', echo: false })
    expect(await desk.next('direct_message')).toMatchObject({ content: 'note' })
    expect(await phone.settle()).toEqual([])
  })
})

describe('a message', () => {
  test('has epoch, offset, time, and the name from the token', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann', { claims: { name: 'Ann Example' } })
    const before = Date.now()
    ann.send({ type: 'chat', content: 1, echo: true })
    const message = await ann.next('chat')
    expect(message).toMatchObject({
      epoch: expect.stringMatching(/./) as string,
      offset: 1,
      name: 'Ann Example',
    })
    expect(message.ts).toBeGreaterThanOrEqual(before)
    expect(message.ts).toBeLessThanOrEqual(Date.now())
  })
})

test('a client that cannot join the full lobby gets the error', async () => {
  const channels = { ...generousLimits.channels, maxSubscribersPerChannel: 1 }
  const gateway = await gatewayFor({ limits: { ...generousLimits, channels } })
  await chatAs(gateway, 'ann')
  const bob = await ChatClient.open(`${chatUrl(gateway)}?token=${await gateway.token('bob')}`)
  expect(await bob.next('error')).toMatchObject({
    code: 'SUBSCRIPTION_LIMIT',
    message: expect.stringContaining('"lobby": it has 1 of 1') as string,
  })
})
