// Expiring tokens: a client requests a new token in time, and stays disconnected without one.
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

/** No rule grants Subscribe on `board:*`. */
const channels = [rule('general'), rule('board:*', { grants: [allow(['Publish', 'History', 'Presence'])] })]

const longTimeMs = 600_000

function subscriptionToken(
  gateway: TestGateway,
  { user = 'ann', channel = 'board:1', expiresInS = 3600 } = {},
) {
  return gateway.token(user, { claims: { channel }, expiresInS })
}

async function annAt(client: SdkClient, gateway: TestGateway): Promise<Driver> {
  return Driver.start(client).connected(centrifugeUrl(gateway), { token: await gateway.token('ann') })
}

describe.each(everywhere)('$name on $broker', (client) => {
  describe('connection tokens', () => {
    test('the client requests a new token before the expiry, and stays', async () => {
      const clock = new MovableClock()
      const { here } = await client.start({ channels }, { clock })
      const lifetimesS = [1, 3600]
      const ann = Driver.start(client)
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { expiresInS: lifetimesS.shift() ?? 3600 }),
      })
      expect(await ann.next('connecting')).toMatchObject({ code: 0 })
      const endMs = clock.epochMs() + longTimeMs
      await until('the refresh', () => (onlySession(here).identity.expiresAtMs ?? 0) > endMs)
      expect(lifetimesS).toEqual([])
      clock.move(longTimeMs, here)
      await ann.history('general')
      expect([ann.waiting('connecting'), ann.waiting('disconnected')]).toEqual([[], []])
    })

    test('an expired token is error 109: the client requests a new one and connects', async () => {
      const { here } = await client.start({ channels })
      const lifetimesS = [-10, 3600]
      const ann = Driver.start(client)
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { expiresInS: lifetimesS.shift() ?? 3600 }),
      })
      expect((await ann.next('error')).code).toBe(109)
      expect(lifetimesS).toEqual([])
    })

    test('without a new token in time the connection closes with 3005, and the client reconnects with a new one', async () => {
      const clock = new MovableClock()
      const { here } = await client.start({ channels }, { clock })
      const lifetimesS = [60, 3600]
      const ann = Driver.start(client)
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { expiresInS: lifetimesS.shift() ?? 3600 }),
      })
      clock.move(longTimeMs, here)
      expect(await ann.next('connecting', ({ code }) => code !== 0)).toMatchObject({ code: 3005 })
      await ann.next('connected')
    })

    test.each([
      ['that is invalid', async () => 'not.a.token'],
      ['for a channel', (gateway: TestGateway) => subscriptionToken(gateway)],
    ])('a token %s is refused permanently with 3500', async (_what, token) => {
      const { here } = await client.start({ channels })
      const ann = Driver.start(client)
      await ann.connect(centrifugeUrl(here), { token: await token(here) })
      expect(await ann.next('disconnected')).toMatchObject({
        code: 3500,
        reason: expect.stringMatching(/^invalid token: /) as string,
      })
    })

    test('a revoked user is disconnected permanently with 3500', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await here.gateway.tenant('demo/acme')?.revocations.add({ user: 'ann' })
      const refusal = { code: 3500, reason: expect.stringContaining('revoked') as string }
      expect(await ann.next('disconnected')).toMatchObject(refusal)
      const again = Driver.start(client)
      await again.connect(centrifugeUrl(here), { token: await here.token('ann') })
      expect(await again.next('disconnected')).toMatchObject(refusal)
    })

    test('a revoked token closes with 3005, and the client reconnects with a new one', async () => {
      const { here } = await client.start({ channels })
      const ann = Driver.start(client)
      const ids = ['first', 'second']
      await ann.connected(centrifugeUrl(here), {
        getToken: () => here.token('ann', { claims: { jti: ids.shift() ?? 'too many' } }),
      })
      await here.gateway.tenant('demo/acme')?.revocations.add({ jti: 'first' })
      expect(await ann.next('connecting', ({ code }) => code !== 0)).toMatchObject({ code: 3005 })
      await ann.next('connected')
      expect(onlySession(here).identity.jti).toBe('second')
    })

    test('no token is refused permanently with 3501 when guests have no permissions', async () => {
      const { here } = await client.start({ channels })
      const guest = Driver.start(client)
      await guest.connect(centrifugeUrl(here))
      expect((await guest.next('disconnected')).code).toBe(3501)
    })
  })

  describe('subscription tokens', () => {
    test('a token grants a subscription that no rule grants', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await ann.subscribed('board:1', { token: await subscriptionToken(here) })
      await ann.publish('board:1', 'x')
      expect(await ann.data(1)).toEqual(['x'])
    })

    test('the client requests a new token before the expiry, and stays', async () => {
      const clock = new MovableClock()
      const { here } = await client.start({ channels }, { clock })
      const lifetimesS = [1, 3600]
      const ann = await annAt(client, here)
      const expiry = () => [...onlySession(here).subscriptions.values()][0]?.expiry
      let expiryBefore = expiry()
      await ann.subscribed('board:1', {
        getToken: () => {
          expiryBefore = expiry()
          return subscriptionToken(here, { expiresInS: lifetimesS.shift() ?? 3600 })
        },
      })
      expect(await ann.next('subscribing')).toMatchObject({ code: 0 })
      expect((await ann.next('tokenRequested')).channel).toBe('board:1')
      await ann.next('tokenRequested')
      await until('the refresh', () => expiry() !== expiryBefore)
      clock.move(longTimeMs, here)
      await ann.publish('board:1', 'x')
      expect(await ann.data(1)).toEqual(['x'])
      expect(ann.waiting('subscribing')).toEqual([])
    })

    test('an invalid token is error 103, and the client stays connected', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await ann.subscribe('board:1', { token: 'not.a.token' })
      expect(await ann.next('unsubscribed')).toMatchObject({
        code: 103,
        reason: expect.stringMatching(/^TOKEN_INVALID: /) as string,
      })
      await ann.subscribed('general')
    })

    test('a token of another user closes the connection permanently with 3500', async () => {
      const { here } = await client.start({ channels })
      const ann = await annAt(client, here)
      await ann.subscribe('board:1', { token: await subscriptionToken(here, { user: 'bob' }) })
      expect((await ann.next('disconnected')).code).toBe(3500)
    })
  })
})

/** Connects `ann`, whose first token for a subscription is expired. */
async function annWithExpiredToken(client: SdkClient & BrokerKind) {
  const { here } = await client.start({ channels })
  const lifetimesS = [-10, 3600]
  const ann = await annAt(client, here)
  await ann.subscribe('board:1', {
    getToken: () => subscriptionToken(here, { expiresInS: lifetimesS.shift() ?? 3600 }),
  })
  expect((await ann.next('error')).code).toBe(109)
  return ann
}

const retriesAfter109 = ({ lacks }: SdkClient): boolean => !lacks.includes('again after 109')

describe.each(everywhere.filter(retriesAfter109))('$name on $broker', (client) => {
  test('an expired subscription token is error 109: the client requests a new one and subscribes', async () => {
    const ann = await annWithExpiredToken(client)
    expect((await ann.next('subscribed')).channel).toBe('board:1')
  })
})

describe.each(everywhere.filter((client) => !retriesAfter109(client)))('$name on $broker', (client) => {
  test('an expired subscription token is error 109: a new subscription requests a new one', async () => {
    const ann = await annWithExpiredToken(client)
    expect((await ann.next('unsubscribed')).code).toBe(109)
    await ann.subscribed('board:1')
  })
})
