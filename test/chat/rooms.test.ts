// Rooms: who is notified of joins and leaves, and presence.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined, leave } from '../support/chat-client.js'
import { rule } from '../support/policies.js'

describe('join_room and leave_room', () => {
  test('notify members with user_joined and user_left', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    await joined(ann, 'general')
    await joined(bob, 'general')
    const came = await ann.next('user_joined', ({ user_id }) => user_id === 'bob')
    await bob.done({ type: 'leave_room', room: 'general' })
    const went = await ann.next('user_left')
    expect([came, went]).toEqual([
      { event: 'user_joined', user_id: 'bob', room: 'general' },
      { event: 'user_left', user_id: 'bob', room: 'general' },
    ])
  })

  test('do not notify members of a user’s second connection', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    const [phone, desk] = [await chatAs(gateway, 'bob'), await chatAs(gateway, 'bob')]
    await joined(phone, 'general')
    await ann.settle()
    await joined(desk, 'general')
    await phone.done({ type: 'leave_room', room: 'general' })
    expect(await ann.settle()).toEqual([])
    await desk.done({ type: 'leave_room', room: 'general' })
    expect(await ann.next('user_left')).toMatchObject({ user_id: 'bob' })
  })

  test('a lost connection leaves its rooms', async () => {
    const gateway = await gatewayFor()
    const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
    await joined(ann, 'general')
    await joined(bob, 'general')
    bob.socket.terminate()
    expect(await ann.next('user_left')).toMatchObject({ user_id: 'bob', room: 'general' })
  })

  test('joining twice is refused', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    await joined(ann, 'general')
    expect(await ann.ask({ type: 'join_room', room: 'general' })).toMatchObject({
      code: 'ALREADY_SUBSCRIBED',
    })
  })

  test('a room that no rule grants is refused', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    expect(await ann.ask({ type: 'join_room', room: 'secret' })).toMatchObject({ code: 'PERMISSION_DENIED' })
  })
})

describe('user_connected and user_disconnected', () => {
  test('are sent for a user’s first and last connection only', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann')
    const phone = await chatAs(gateway, 'bob')
    const came = await ann.settle()
    const desk = await chatAs(gateway, 'bob')
    await leave(phone, gateway)
    const between = await ann.settle()
    await leave(desk, gateway)
    const went = await ann.next('user_disconnected')
    expect([came, between, went]).toEqual([
      [{ event: 'user_connected', user_id: 'bob' }],
      [],
      { event: 'user_disconnected', user_id: 'bob' },
    ])
  })

  test('are not sent for arrivals above announceMax', async () => {
    const gateway = await gatewayFor({}, { limits: { announceMax: 2 } })
    const ann = await chatAs(gateway, 'ann')
    await chatAs(gateway, 'bob')
    await ann.next('user_connected')
    await chatAs(gateway, 'eve')
    expect(await ann.settle()).toEqual([{ event: 'member_count', clients: 3 }])
  })

  test('are not sent for departures above announceMax', async () => {
    const gateway = await gatewayFor({}, { limits: { announceMax: 1 } })
    const [ann, bob, eve] = [
      await chatAs(gateway, 'ann'),
      await chatAs(gateway, 'bob'),
      await chatAs(gateway, 'eve'),
    ]
    await leave(eve, gateway)
    // Two clients remain, more than the limit of one; then one.
    await leave(bob, gateway)
    expect(await ann.next('user_disconnected')).toMatchObject({ user_id: 'bob' })
  })

  test('are not sent where the rule of the lobby has no joinLeave', async () => {
    const gateway = await gatewayFor({ channels: [rule('lobby', { joinLeave: false })] })
    const ann = await chatAs(gateway, 'ann')
    await chatAs(gateway, 'bob')
    expect(await ann.settle()).toEqual([])
  })
})

describe('presence', () => {
  test('lists the connections in the room, by user, client and name', async () => {
    const gateway = await gatewayFor()
    const ann = await chatAs(gateway, 'ann', { clientId: 'anns-desk', claims: { name: 'Ann' } })
    const bob = await chatAs(gateway, 'bob', { clientId: 'bobs-phone' })
    await joined(ann, 'general')
    await joined(bob, 'general')
    ann.send({ type: 'presence', room: 'general', id: 9 })
    expect(await ann.next('presence')).toEqual({
      event: 'presence',
      id: 9,
      room: 'general',
      members: [
        { user_id: 'ann', client_id: 'anns-desk', name: 'Ann' },
        { user_id: 'bob', client_id: 'bobs-phone' },
      ],
    })
  })

  test('of a room without presence is NOT_AVAILABLE', async () => {
    const gateway = await gatewayFor({ channels: [rule('general', { presence: false })] })
    const ann = await chatAs(gateway, 'ann')
    expect(await ann.ask({ type: 'presence', room: 'general' })).toMatchObject({ code: 'NOT_AVAILABLE' })
  })
})
