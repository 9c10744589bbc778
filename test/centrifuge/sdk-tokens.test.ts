// Connection tokens: which are accepted, how they are refreshed, and after which refusals the client does not
// reconnect.
import { describe, expect, test } from 'vitest'
import { MovableClock } from '../support/clock.js'
import {
  collect,
  connected,
  connectedAs,
  centrifugeUrl,
  gatewayFor,
  next,
  sdkAt,
  sdkOf,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { allow, generousLimits, rule, tenantPolicy } from '../support/policies.js'
import { deadlineMs, Arrivals } from '../support/waiting.js'
import type { Issuer } from '../../src/tenant/policy.js'

function sharedIssuer(name: string, secret: string): Issuer {
  return {
    name,
    algorithms: ['HS256'],
    claims: { user: 'sub', name: 'name', roles: 'roles', info: 'info' },
    key: { type: 'SharedKey', secret: Buffer.from(secret).toString('base64'), sample: false },
  }
}

const oldKey = sharedIssuer('old', 'the old secret of at least thirty-two bytes')
const newKey = sharedIssuer('new', 'the new secret of at least thirty-two bytes')

describe('refresh', () => {
  test('the client fetches a new token before the old one expires, and stays connected', async () => {
    const clock = new MovableClock()
    const gateway = await gatewayFor({}, { clock })
    const requests = new Arrivals<Promise<string>>('getToken')
    const lives = [1, 3600]
    const ann = sdkOf(gateway, 'ann', {
      getToken: () => {
        const token = gateway.token('ann', { expiresInS: lives.shift() ?? 3600 })
        requests.push(token)
        return token
      },
    })
    const left = collect(ann, 'connecting')
    await connected(ann)
    await Promise.all(await requests.take(2))
    // The client refreshes before it sends the second of these.
    await ann.history('general')
    await ann.history('general')
    left.waiting.forEach(({ code }) => expect(code).toBe(0))
    const before = left.waiting.length
    clock.move(600_000, gateway)
    await ann.history('general')
    expect([ann.state, left.waiting.length]).toEqual(['connected', before])
  })

  test('a new token of another user is final: 3500', async () => {
    const gateway = await gatewayFor({}, { clock: new MovableClock() })
    const users = ['ann', 'mallory']
    const ann = sdkOf(gateway, 'ann', {
      getToken: () => gateway.token(users.shift() ?? '', { expiresInS: 1 }),
    })
    const over = next(ann, 'disconnected')
    await connected(ann)
    expect(await over).toEqual({ code: 3500, reason: expect.stringContaining('another user') as string })
  })

  test('permissions of the new token apply at once', async () => {
    const gateway = await gatewayFor(
      { channels: [rule('staff', { grants: [allow(['Subscribe'], [{ roles: ['staff'] }])] })] },
      { clock: new MovableClock() },
    )
    const refreshes = new Arrivals<(token: Promise<string>) => void>('a refresh')
    const staffToken = await gateway.token('ann', { expiresInS: 1, claims: { roles: ['staff'] } })
    const ann = sdkOf(gateway, 'ann', {
      token: staffToken,
      getToken: () => new Promise((resolve) => refreshes.push(resolve)),
    })
    await connected(ann)
    const staff = await subscribed(ann, 'staff')
    const over = next(staff, 'unsubscribed')
    const refresh = await refreshes.next()
    refresh(gateway.token('ann', { claims: { roles: ['visitor'] } }))
    expect(await over).toMatchObject({
      code: 2103,
      reason: 'Rule "staff" grants Subscribe on "staff" only to users with role "staff".',
    })
    expect(ann.state).toBe('connected')
  })
})

describe('at connect', () => {
  test('an expired token is answered 109; the client gets another one and connects', async () => {
    const gateway = await gatewayFor()
    let tokenRequests = 0
    const ann = sdkOf(gateway, 'ann', {
      token: await gateway.token('ann', { expiresInS: -10 }),
      getToken: () => {
        tokenRequests += 1
        return gateway.token('ann')
      },
    })
    const problem = next(ann, 'error')
    await connected(ann)
    expect((await problem).error).toMatchObject({ code: 109 })
    expect(tokenRequests).toBe(1)
  })

  test('a malformed token is final: 3500', async () => {
    const gateway = await gatewayFor()
    const ann = sdkAt(centrifugeUrl(gateway), { token: 'not.a.token' })
    const over = next(ann, 'disconnected')
    ann.connect()
    expect(await over).toMatchObject({
      code: 3500,
      reason: expect.stringMatching(/^invalid token: /) as string,
    })
  })

  test('a token of another tenant is final: 3500', async () => {
    const gateway = await gatewayFor([tenantPolicy(), tenantPolicy({ name: 'globex', issuers: [newKey] })])
    const ann = sdkAt(centrifugeUrl(gateway), {
      token: await gateway.token('ann', { tenant: 'demo/globex' }),
    })
    const over = next(ann, 'disconnected')
    ann.connect()
    expect(await over).toMatchObject({ code: 3500 })
  })

  test('a subscription token does not connect: 3500', async () => {
    const gateway = await gatewayFor()
    const ann = sdkAt(centrifugeUrl(gateway), {
      token: await gateway.token('ann', { claims: { channel: 'general' } }),
    })
    const over = next(ann, 'disconnected')
    ann.connect()
    expect(await over).toMatchObject({ code: 3500 })
  })

  test('no token where guests are not allowed is final: 3501', async () => {
    const gateway = await gatewayFor()
    const stranger = sdkAt(centrifugeUrl(gateway), {})
    const over = next(stranger, 'disconnected')
    stranger.connect()
    expect(await over).toMatchObject({
      code: 3501,
      reason: 'bad request: The tenant demo/acme does not admit guests; connect with the token of a user',
    })
  })
})

describe('a key is removed', () => {
  const both = tenantPolicy({ issuers: [oldKey, newKey] })
  const newOnly = tenantPolicy({ issuers: [newKey] })

  test('3005: a client whose token it signed fetches a new token and reconnects', async () => {
    const gateway = await gatewayFor([both])
    const general = await subscribed(await connectedAs(gateway, 'ann'), 'general', { recoverable: true })
    const left = next(general, 'subscribing')
    const again = next(general, 'subscribed')
    gateway.catalog.put(newOnly)
    expect((await left).reason).toMatch(/transport closed|key/)
    expect(await again).toMatchObject({ recovered: true })
  })

  test('a client whose token another key signed stays', async () => {
    const gateway = await gatewayFor([newOnly])
    const ann = await connectedAs(gateway, 'ann')
    const left = collect(ann, 'connecting')
    gateway.catalog.put(both)
    gateway.catalog.put(newOnly)
    await ann.history('general')
    expect(left.waiting).toEqual([])
  })
})

describe('limits', () => {
  const one = { ...generousLimits, connections: { ...generousLimits.connections, max: 1 } }
  const onePerUser = { ...generousLimits, connections: { ...generousLimits.connections, perUser: 1 } }

  test('one connection too many of the tenant is final: 3504', async () => {
    const gateway = await gatewayFor({ limits: one })
    await connectedAs(gateway, 'ann')
    const bob = sdkOf(gateway, 'bob')
    const over = next(bob, 'disconnected')
    bob.connect()
    expect(await over).toEqual({
      code: 3504,
      reason: 'connection limit: Cannot connect: 1 of 1 connections of the tenant are used',
    })
  })

  test('one connection too many of a user is final for that user only', async () => {
    const gateway = await gatewayFor({ limits: onePerUser })
    await connectedAs(gateway, 'ann')
    const again = sdkOf(gateway, 'ann')
    const over = next(again, 'disconnected')
    again.connect()
    expect(await over).toEqual({
      code: 3504,
      reason: 'connection limit: Cannot connect: 1 of 1 connections of this user are used',
    })
    await connectedAs(gateway, 'bob')
  })

  test('a connection is free again when its client has left', async () => {
    const gateway = await gatewayFor({ limits: one })
    const ann = await connectedAs(gateway, 'ann')
    await subscribed(ann, 'general')
    // For the server the client has left when it answers the close.
    const { sessions } = gateway.gateway.context
    ann.disconnect()
    await expect.poll(() => sessions.size, { timeout: deadlineMs }).toBe(0)
    await connectedAs(gateway, 'bob')
  })
})
