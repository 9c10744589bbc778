// Large rooms: the number of members instead of their names, at both endpoints.
import { expect, test } from 'vitest'
import { connectedAs, gatewayFor, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, joined } from '../support/chat-client.js'
import { generousLimits } from '../support/policies.js'

test('above announceMax, members receive at most one count a second, and names below it', async () => {
  const gateway = await gatewayFor({}, { limits: { announceMax: 2 } })
  const ann = await chatAs(gateway, 'ann')
  await joined(ann, 'general')
  const bob = await chatAs(gateway, 'bob')
  await joined(bob, 'general')
  expect(await ann.next('user_joined', ({ user_id }) => user_id === 'bob')).toMatchObject({ room: 'general' })
  for (let n = 0; n < 10; n += 1) {
    const user = await chatAs(gateway, `user-${n}`)
    await joined(user, 'general')
  }
  const counts: unknown[] = []
  for (let last: unknown; last !== 12; counts.push(last))
    last = (await ann.next('member_count', ({ room }) => room === 'general'))['clients']
  expect(counts.length).toBeLessThan(10)
})

test('a Centrifuge client of a large room gets no joins, and presence_stats counts everybody', async () => {
  const gateway = await gatewayFor({}, { limits: { announceMax: 2 } })
  const subscription = await subscribed(await connectedAs(gateway, 'ann'), 'general', { joinLeave: true })
  const joins: string[] = []
  subscription.on('join', ({ info }) => void joins.push(info.user))
  for (const user of ['bob', 'eve', 'mia', 'zoe'])
    await subscribed(await connectedAs(gateway, user), 'general')
  const { numClients, numUsers } = await subscription.presenceStats()
  expect([numClients, numUsers]).toEqual([5, 5])
  expect(joins).not.toContain('zoe')
})

test('joins are charged like deliveries, and name nobody while the deliveries are in debt', async () => {
  const limits = { ...generousLimits, messages: { ...generousLimits.messages, fanoutPerSecond: 1 } }
  const gateway = await gatewayFor({ limits })
  const ann = await chatAs(gateway, 'ann')
  await joined(ann, 'general')
  for (const user of ['bob', 'eve', 'mia', 'zoe', 'kim']) await joined(await chatAs(gateway, user), 'general')
  expect(await ann.next('member_count', ({ room }) => room === 'general')).toHaveProperty('clients')
  const refused = await ann.ask({ type: 'room_message', room: 'general', content: 1 })
  expect(refused).toMatchObject({ message: expect.stringContaining('1 deliveries per second') as string })
})
