// Subscription tokens: the tenant's backend lets one user into one channel, for a time.
import { describe, expect, test } from 'vitest'
import type { Centrifuge } from 'centrifuge'
import { MovableClock } from '../support/clock.js'
import {
  collect,
  connectedAs,
  dataOf,
  gatewayFor,
  hastySubscription,
  next,
  subscribed,
} from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { allow, deny, rule, tenantPolicy } from '../support/policies.js'
import { Arrivals } from '../support/waiting.js'

/** Nobody may listen to boards by rule. */
const channels = [
  rule('board:*', { grants: [allow(['Publish', 'History', 'Presence'])] }),
  rule('board:closed', { grants: [deny(['Subscribe'])] }),
]

interface Bearer {
  user?: string
  channel?: string
  expiresInS?: number
}

function ticket(gateway: TestGateway, { user = 'ann', channel = 'board:1', expiresInS }: Bearer = {}) {
  return gateway.token(user, { claims: { channel }, ...(expiresInS !== undefined && { expiresInS }) })
}

function subscriptionOf(client: Centrifuge, channel: string, getToken: () => Promise<string>) {
  return client.newSubscription(channel, { getToken, ...hastySubscription })
}

test('a token lets in where no rule does', async () => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  const board = await subscribed(ann, 'board:1', { getToken: () => ticket(gateway) })
  const atAnn = dataOf(board)
  await ann.publish('board:1', 'x')
  expect(await atAnn.next()).toBe('x')
})

test('a token lets in where no rule covers the channel at all', async () => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  await subscribed(ann, 'nowhere', { getToken: () => ticket(gateway, { channel: 'nowhere' }) })
  await expect(ann.publish('nowhere', 1)).rejects.toMatchObject({ code: 103 })
})

test('without one it is 103', async () => {
  const gateway = await gatewayFor({ channels })
  const board = (await connectedAs(gateway, 'ann')).newSubscription('board:1')
  const over = next(board, 'unsubscribed')
  board.subscribe()
  expect((await over).code).toBe(103)
})

test('a deny wins over the token', async () => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  const closed = subscriptionOf(ann, 'board:closed', () => ticket(gateway, { channel: 'board:closed' }))
  const over = next(closed, 'unsubscribed')
  closed.subscribe()
  expect(await over).toMatchObject({
    code: 103,
    reason: expect.stringContaining('denies Subscribe') as string,
  })
})

test.each<[string, Bearer, string]>([
  ['user', { user: 'bob' }, 'is for another user'],
  ['channel', { channel: 'board:2' }, 'is for another channel'],
])('a token for another %s ends the connection for good: 3500', async (_what, bearer, words) => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  const over = next(ann, 'disconnected')
  subscriptionOf(ann, 'board:1', () => ticket(gateway, bearer)).subscribe()
  expect(await over).toEqual({ code: 3500, reason: expect.stringContaining(words) as string })
})

test.each([
  ['that is none', async () => 'not.a.token'],
  ['made for connecting', (gateway: TestGateway) => gateway.token('ann')],
])('a token %s is 103; the connection lives', async (_what, token) => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  const board = subscriptionOf(ann, 'board:1', () => token(gateway))
  const over = next(board, 'unsubscribed')
  board.subscribe()
  expect(await over).toMatchObject({
    code: 103,
    reason: expect.stringMatching(/^TOKEN_INVALID: /) as string,
  })
  expect(ann.state).toBe('connected')
})

test('an expired token is 109: the client asks for another and is in', async () => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  const lives = [-10, 3600]
  const board = subscriptionOf(ann, 'board:1', () => ticket(gateway, { expiresInS: lives.shift() ?? 3600 }))
  const problem = next(board, 'error')
  const entered = next(board, 'subscribed')
  board.subscribe()
  expect((await problem).error.code).toBe(109)
  await entered
  expect(lives).toEqual([])
})

describe('while subscribed', () => {
  test('the client refreshes before the end, and the subscription stays', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({ channels }, { clock })
    const ann = await connectedAs(gateway, 'ann')
    const asked = new Arrivals<Promise<string>>('getToken')
    const lives = [1, 3600]
    const board = await subscribed(ann, 'board:1', {
      getToken: () => {
        const token = ticket(gateway, { expiresInS: lives.shift() ?? 3600 })
        asked.push(token)
        return token
      },
    })
    const left = collect(board, 'subscribing')
    await Promise.all(await asked.take(2))
    // The refresh goes out before the second of these.
    await ann.history('board:1')
    await ann.history('board:1')
    clock.move(600_000, gateway)
    await ann.history('board:1')
    expect([board.state, left.waiting]).toEqual(['subscribed', []])
  })

  test('a deny that comes later ends it: 2103', async () => {
    const gateway = await gatewayFor({ channels })
    const ann = await connectedAs(gateway, 'ann')
    const board = await subscribed(ann, 'board:1', { getToken: () => ticket(gateway) })
    const over = next(board, 'unsubscribed')
    gateway.catalog.put(
      tenantPolicy({ channels: [...channels, rule('board:1', { grants: [deny(['Subscribe'])] })] }),
    )
    expect((await over).code).toBe(2103)
  })

  test('other rules that change leave it alone', async () => {
    const gateway = await gatewayFor({ channels })
    const ann = await connectedAs(gateway, 'ann')
    const board = await subscribed(ann, 'board:1', { getToken: () => ticket(gateway) })
    const states = collect(board, 'state')
    gateway.catalog.put(tenantPolicy({ channels: [] }))
    await expect(ann.history('board:1')).rejects.toMatchObject({ code: 103 })
    expect(states.waiting).toEqual([])
  })
})
