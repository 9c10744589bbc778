// Tokens end: a client fetches another in time, and knows when there is none to be had.
import { describe, expect, test } from 'vitest'
import { MovableClock } from '../support/clock.js'
import { centrifugeUrl } from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { onlySession } from '../support/ends.js'
import { allow, rule } from '../support/policies.js'
import { until } from '../support/redis-processes.js'
import { everywhere, type BrokerKind } from './brokers.js'
import type { SdkClient } from './clients.js'
import { Driver } from './driver.js'

/** Nobody may listen to boards by rule. */
const channels = [rule('general'), rule('board:*', { grants: [allow(['Publish', 'History', 'Presence'])] })]

const farOffMs = 600_000

function ticket(gateway: TestGateway, { user = 'ann', channel = 'board:1', expiresInS = 3600 } = {}) {
  return gateway.token(user, { claims: { channel }, expiresInS })
}

async function annAt(client: SdkClient, gateway: TestGateway): Promise<Driver> {
  return Driver.start(client).connected(centrifugeUrl(gateway), { token: await gateway.token('ann') })
}

describe.each(everywhere)('$name on $broker', (client) => {
  describe('of the connection', () => {
    test('before it ends the client fetches another, and stays', async () => {
      const clock = new MovableClock()
      const { here } = await client.start({ channels }, { clock })
      const lives = [1, 3600]
      const ann = Driver.start(client)
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { expiresInS: lives.shift() ?? 3600 }),
      })
      expect(await ann.next('connecting')).toMatchObject({ code: 0 })
      const endMs = clock.epochMs() + farOffMs
      await until('the refresh', () => (onlySession(here).identity.expiresAtMs ?? 0) > endMs)
      expect(lives).toEqual([])
      clock.move(farOffMs, here)
      await ann.history('general')
      expect([ann.waiting('connecting'), ann.waiting('disconnected')]).toEqual([[], []])
    })

    test('one that has ended is told as 109: the client fetches another, and is in', async () => {
      const { here } = await client.start({ channels })
      const lives = [-10, 3600]
      const ann = Driver.start(client)
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { expiresInS: lives.shift() ?? 3600 }),
      })
      expect((await ann.next('error')).code).toBe(109)
      expect(lives).toEqual([])
    })

    test('when no other comes in time it is 3005, and the client is back with another', async () => {
      const clock = new MovableClock()
      const { here } = await client.start({ channels }, { clock })
      const lives = [60, 3600]
      const ann = Driver.start(client)
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { expiresInS: lives.shift() ?? 3600 }),
      })
      clock.move(farOffMs, here)
      expect(await ann.next('connecting', ({ code }) => code !== 0)).toMatchObject({ code: 3005 })
      await ann.next('connected')
    })

    test.each([
      ['that is none', async () => 'not.a.token'],
      ['for a channel', (gateway: TestGateway) => ticket(gateway)],
    ])('one %s is refused for good: 3500', async (_what, token) => {
      const { here } = await client.start({ channels })
      const ann = Driver.start(client)
      await ann.connect(centrifugeUrl(here), { token: await token(here) })
      expect(await ann.next('disconnected')).toMatchObject({
        code: 3500,
        reason: expect.stringMatching(/^invalid token: /) as string,
      })
    })

    test('none where guests may do nothing is final: 3501', async () => {
      const { here } = await client.start({ channels })
      const stranger = Driver.start(client)
      await stranger.connect(centrifugeUrl(here))
      expect((await stranger.next('disconnected')).code).toBe(3501)
    })
  })

  describe('of a subscription', () => {
    test('lets in where no rule does', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await ann.subscribed('board:1', { token: await ticket(here) })
      await ann.publish('board:1', 'x')
      expect(await ann.data(1)).toEqual(['x'])
    })

    test('before it ends the client fetches another, and stays', async () => {
      const clock = new MovableClock()
      const { here } = await client.start({ channels }, { clock })
      const lives = [1, 3600]
      const ann = await annAt(client, here)
      const expiry = () => [...onlySession(here).subscriptions.values()][0]?.expiry
      let expiryBefore = expiry()
      await ann.subscribed('board:1', {
        getToken: () => {
          expiryBefore = expiry()
          return ticket(here, { expiresInS: lives.shift() ?? 3600 })
        },
      })
      expect(await ann.next('subscribing')).toMatchObject({ code: 0 })
      expect((await ann.next('tokenWanted')).channel).toBe('board:1')
      await ann.next('tokenWanted')
      await until('the refresh', () => expiry() !== expiryBefore)
      clock.move(farOffMs, here)
      await ann.publish('board:1', 'x')
      expect(await ann.data(1)).toEqual(['x'])
      expect(ann.waiting('subscribing')).toEqual([])
    })

    test('one that is none is 103, and the connection lives', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await ann.subscribe('board:1', { token: 'not.a.token' })
      expect(await ann.next('unsubscribed')).toMatchObject({
        code: 103,
        reason: expect.stringMatching(/^TOKEN_INVALID: /) as string,
      })
      await ann.subscribed('general')
    })

    test('one of another user ends the connection for good: 3500', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await ann.subscribe('board:1', { token: await ticket(here, { user: 'bob' }) })
      expect((await ann.next('disconnected')).code).toBe(3500)
    })
  })
})

/** The token of `ann`'s first try to subscribe has ended. */
async function lateAnn(client: SdkClient & BrokerKind) {
  const { here } = await client.start({ channels })
  const lives = [-10, 3600]
  const ann = await annAt(client, here)
  await ann.subscribe('board:1', { getToken: () => ticket(here, { expiresInS: lives.shift() ?? 3600 }) })
  expect((await ann.next('error')).code).toBe(109)
  return ann
}

const comesAgain = ({ lacks }: SdkClient): boolean => !lacks.includes('again after 109')

describe.each(everywhere.filter(comesAgain))('$name on $broker', (client) => {
  test('a token for a channel that has ended is told as 109: the client fetches another, and is in', async () => {
    const ann = await lateAnn(client)
    expect((await ann.next('subscribed')).channel).toBe('board:1')
  })
})

describe.each(everywhere.filter((client) => !comesAgain(client)))('$name on $broker', (client) => {
  test('a token for a channel that has ended is told as 109: subscribing again fetches another', async () => {
    const ann = await lateAnn(client)
    expect((await ann.next('unsubscribed')).code).toBe(109)
    await ann.subscribed('board:1')
  })
})
