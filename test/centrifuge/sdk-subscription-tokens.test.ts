// Subscription tokens: the tenant's backend allows one user on one channel, for a limited time.
import { describe, expect, test } from 'vitest'
import type { Centrifuge } from 'centrifuge'
import { MovableClock } from '../support/clock.js'
import {
  collect,
  connectedAs,
  dataOf,
  gatewayFor,
  fastResubscribe,
  next,
  subscribed,
} from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { allow, deny, rule, tenantPolicy } from '../support/policies.js'
import { Arrivals } from '../support/waiting.js'

/** No rule allows subscriptions to boards. */
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
  return client.newSubscription(channel, { getToken, ...fastResubscribe })
}

test('a token allows what no rule allows', async () => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  const board = await subscribed(ann, 'board:1', { getToken: () => ticket(gateway) })
  const atAnn = dataOf(board)
  await ann.publish('board:1', 'x')
  expect(await atAnn.next()).toBe('x')
})

test('a token allows a channel that no rule matches', async () => {
  const gateway = await gatewayFor({ channels })
  const ann = await connectedAs(gateway, 'ann')
  await subscribed(ann, 'nowhere', { getToken: () => ticket(gateway, { channel: 'nowhere' }) })
  await expect(ann.publish('nowhere', 1)).rejects.toMatchObject({ code: 103 })
})

test('without a token: 103', async () => {
  const gateway = await gatewayFor({ channels })
  const board = (await connectedAs(gateway, 'ann')).newSubscription('board:1')
  const over = next(board, 'unsubscribed')
  board.subscribe()
  expect((await over).code).toBe(103)
})

test('a deny has precedence over the token', async () => {
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
])(
  'a token for another %s closes the connection with 3500, and the client does not reconnect',
  async (_what, bearer, words) => {
    const gateway = await gatewayFor({ channels })
    const ann = await connectedAs(gateway, 'ann')
    const over = next(ann, 'disconnected')
    subscriptionOf(ann, 'board:1', () => ticket(gateway, bearer)).subscribe()
    expect(await over).toEqual({ code: 3500, reason: expect.stringContaining(words) as string })
  },
)

test.each([
  ['that is malformed', async () => 'not.a.token'],
  ['made for connecting', (gateway: TestGateway) => gateway.token('ann')],
])('a token %s is 103; the connection stays open', async (_what, token) => {
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

test('an expired token is 109: the client gets another one and is subscribed', async () => {
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
  test('the client refreshes before the expiry, and the subscription continues', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({ channels }, { clock })
    const ann = await connectedAs(gateway, 'ann')
    const requests = new Arrivals<Promise<string>>('getToken')
    const lives = [1, 3600]
    const board = await subscribed(ann, 'board:1', {
      getToken: () => {
        const token = ticket(gateway, { expiresInS: lives.shift() ?? 3600 })
        requests.push(token)
        return token
      },
    })
    const left = collect(board, 'subscribing')
    await Promise.all(await requests.take(2))
    // The client refreshes before it sends the second of these.
    await ann.history('board:1')
    await ann.history('board:1')
    clock.move(600_000, gateway)
    await ann.history('board:1')
    expect([board.state, left.waiting]).toEqual(['subscribed', []])
  })

  test('a later deny ends the subscription: 2103', async () => {
    const gateway = await gatewayFor({ channels })
    const ann = await connectedAs(gateway, 'ann')
    const board = await subscribed(ann, 'board:1', { getToken: () => ticket(gateway) })
    const over = next(board, 'unsubscribed')
    gateway.catalog.put(
      tenantPolicy({ channels: [...channels, rule('board:1', { grants: [deny(['Subscribe'])] })] }),
    )
    expect((await over).code).toBe(2103)
  })

  test('changes of other rules do not affect it', async () => {
    const gateway = await gatewayFor({ channels })
    const ann = await connectedAs(gateway, 'ann')
    const board = await subscribed(ann, 'board:1', { getToken: () => ticket(gateway) })
    const states = collect(board, 'state')
    gateway.catalog.put(tenantPolicy({ channels: [] }))
    await expect(ann.history('board:1')).rejects.toMatchObject({ code: 103 })
    expect(states.waiting).toEqual([])
  })
})
