// Clients that do not refresh their token, or refresh it wrongly. The tests advance the clock.
import { describe, expect, test } from 'vitest'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { MovableClock } from '../support/clock.js'
import { rawAt, type RawCentrifugeClient } from '../support/frames.js'
import type { TestGateway } from '../support/gateway.js'
import { tenantPolicy } from '../support/policies.js'
import { mintToken } from '../../src/auth/mint.js'
import { defaultSessionLimits } from '../../src/session/context.js'
import type { Issuer } from '../../src/tenant/policy.js'

const { expiredCloseDelayMs } = defaultSessionLimits

async function annFor(expiresInS: number) {
  const clock = new MovableClock()
  const gateway = await gatewayFor({}, { clock })
  const ann = await rawAt(gateway)
  const token = await gateway.token('ann', { expiresInS })
  const reply = await ann.ask(1, { connect: { token } })
  return { clock, gateway, ann, reply }
}

const ticket = (gateway: TestGateway, expiresInS: number, channel = 'general') =>
  gateway.token('ann', { expiresInS, claims: { channel } })

describe('a connection', () => {
  test('gets its time to live, and is closed 25 s after the expiry: 3005', async () => {
    const { clock, gateway, ann, reply } = await annFor(60)
    expect(reply).toMatchObject({ connect: { expires: true, ttl: 60 } })
    clock.move(60_000 + expiredCloseDelayMs - 2000, gateway)
    await ann.ask(2, { history: { channel: 'general' } })
    clock.move(3000, gateway)
    expect(await ann.closed()).toEqual({ code: 3005, reason: 'connection expired' })
  })

  test('that refreshes gets the new time to live and its client id', async () => {
    const { clock, gateway, ann, reply } = await annFor(60)
    const { client } = (reply as { connect: { client: string } }).connect
    const token = await gateway.token('ann', { expiresInS: 600 })
    expect(await ann.ask(2, { refresh: { token } })).toEqual({
      id: 2,
      refresh: { client, version: 'parley', expires: true, ttl: 600 },
    })
    clock.move(300_000, gateway)
    await ann.ask(3, { history: { channel: 'general' } })
  })

  test('that refreshes with an expired token: 3005', async () => {
    const { gateway, ann } = await annFor(60)
    ann.send({ id: 2, refresh: { token: await gateway.token('ann', { expiresInS: -10 }) } })
    expect((await ann.closed()).code).toBe(3005)
  })

  test.each([
    ['with a malformed token', 'not.a.token'],
    ['with a token of another user', undefined],
  ])('that refreshes %s: 3500', async (_what, token) => {
    const { gateway, ann } = await annFor(60)
    ann.send({ id: 2, refresh: { token: token ?? (await gateway.token('bob')) } })
    expect((await ann.closed()).code).toBe(3500)
  })
})

describe('a subscription', () => {
  async function subscribedFor(expiresInS: number) {
    const { clock, gateway, ann } = await annFor(86_400)
    const token = await ticket(gateway, expiresInS)
    const reply = await ann.ask(2, { subscribe: { channel: 'general', token } })
    return { clock, gateway, ann, reply }
  }
  const refresh = (ann: RawCentrifugeClient, token: string) =>
    ann.ask(3, { sub_refresh: { channel: 'general', token } })

  test('gets its time to live, and is ended 25 s after the expiry: 2501', async () => {
    const { clock, gateway, ann, reply } = await subscribedFor(60)
    expect(reply).toMatchObject({ subscribe: { expires: true, ttl: 60 } })
    clock.move(60_000 + expiredCloseDelayMs + 1000, gateway)
    expect(await ann.line()).toBe(
      '{"push":{"channel":"general","unsubscribe":{"code":2501,"reason":"subscription expired"}}}',
    )
    expect(await ann.ask(4, { presence_stats: { channel: 'general' } })).toMatchObject({
      presence_stats: { num_clients: 0 },
    })
  })

  test('that is refreshed continues', async () => {
    const { clock, gateway, ann } = await subscribedFor(60)
    expect(await refresh(ann, await ticket(gateway, 600))).toEqual({
      id: 3,
      sub_refresh: { expires: true, ttl: 600 },
    })
    clock.move(300_000, gateway)
    ann.send({ id: 4, publish: { channel: 'general', data: 'x' } })
    expect(await ann.object()).toHaveProperty('push.pub')
  })

  test('refreshed with an expired token changes nothing and closes: 3006', async () => {
    const { gateway, ann } = await subscribedFor(60)
    ann.send({ id: 3, sub_refresh: { channel: 'general', token: await ticket(gateway, -10) } })
    expect((await ann.closed()).code).toBe(3006)
  })

  test('refreshed with a token for another channel: 3500', async () => {
    const { gateway, ann } = await subscribedFor(60)
    ann.send({ id: 3, sub_refresh: { channel: 'general', token: await ticket(gateway, 60, 'lobby') } })
    expect((await ann.closed()).code).toBe(3500)
  })

  test('refreshed with a malformed token: 103, and the old expiry stays', async () => {
    const { clock, gateway, ann } = await subscribedFor(60)
    expect(await refresh(ann, 'not.a.token')).toMatchObject({ error: { code: 103 } })
    clock.move(60_000 + expiredCloseDelayMs + 1000, gateway)
    expect(await ann.object()).toMatchObject({ push: { unsubscribe: { code: 2501 } } })
  })

  test('with a token bound to another connection: 3500', async () => {
    const { gateway, ann } = await annFor(60)
    const token = await gateway.token('ann', { claims: { channel: 'general', client: 'another' } })
    ann.send({ id: 2, subscribe: { channel: 'general', token } })
    expect((await ann.closed()).code).toBe(3500)
  })
})

describe('a key that was removed', () => {
  const [issuer] = tenantPolicy().issuers
  const without = tenantPolicy({ issuers: [] })

  test('no longer authenticates: its tokens are answered like expired ones, 109', async () => {
    const { gateway } = await annFor(60)
    const token = await gateway.token('bob')
    gateway.catalog.put(without)
    const bob = await rawAt(gateway)
    expect(await bob.ask(1, { connect: { token } })).toEqual({
      id: 1,
      error: {
        code: 109,
        message: 'TOKEN_EXPIRED: The token was signed by a key that this tenant has removed: get a new one',
      },
    })
  })

  test('no longer authorizes subscriptions: 109', async () => {
    const other = {
      ...issuer,
      name: 'other',
      key: { ...issuer?.key, secret: btoa('x'.repeat(64)) },
    } as Issuer
    const { gateway, ann } = await annFor(60)
    const both = tenantPolicy({ issuers: issuer ? [issuer, other] : [] })
    const token = await mintToken(other, {
      user: 'ann',
      claims: { channel: 'general' },
      expiresInS: 60,
      nowMs: Date.now(),
    })
    gateway.catalog.put(both)
    gateway.catalog.put(tenantPolicy())
    expect(await ann.ask(2, { subscribe: { channel: 'general', token } })).toMatchObject({
      error: { code: 109 },
    })
  })

  test('and added again authenticates again', async () => {
    const { gateway } = await annFor(60)
    const token = await gateway.token('bob')
    gateway.catalog.put(without)
    gateway.catalog.put(tenantPolicy())
    const bob = await rawAt(gateway)
    expect(await bob.ask(1, { connect: { token } })).toHaveProperty('connect')
  })

  test('is unknown after a day: 3500', async () => {
    const { clock, gateway } = await annFor(60)
    const token = await gateway.token('bob', { expiresInS: 1_000_000 })
    gateway.catalog.put(without)
    clock.move(86_400_001, gateway)
    const bob = await rawAt(gateway)
    bob.send({ id: 1, connect: { token } })
    expect((await bob.closed()).code).toBe(3500)
  })
})
