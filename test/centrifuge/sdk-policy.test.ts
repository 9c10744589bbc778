// Changes of the tenant's policy apply to clients that are already connected.
import { describe, expect, test } from 'vitest'
import {
  collect,
  connectedAs,
  dataOf,
  centrifugeUrl,
  gatewayFor,
  next,
  sdkAt,
  sdkOf,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { allow, allOperations, deny, generousLimits, rule, tenantPolicy } from '../support/policies.js'

const staffOnly = rule('general', { grants: [allow(allOperations, [{ roles: ['staff'] }])] })

describe('refused', () => {
  test('a subscription is refused with 103 and the reason; the connection stays open', async () => {
    const gateway = await gatewayFor({ channels: [staffOnly] })
    const ann = await connectedAs(gateway, 'ann')
    const general = ann.newSubscription('general')
    const over = next(general, 'unsubscribed')
    general.subscribe()
    expect(await over).toMatchObject({
      code: 103,
      reason:
        'PERMISSION_DENIED: Rule "general" grants Subscribe on "general" only to users with role "staff".',
    })
    expect(ann.state).toBe('connected')
  })

  test.each([
    ['publish', 'Publish'],
    ['history', 'History'],
    ['presence', 'Presence'],
    ['presenceStats', 'Presence'],
  ] as const)('%s without the right is 103', async (method, operation) => {
    const gateway = await gatewayFor({ channels: [rule('general', { grants: [allow(['Subscribe'])] })] })
    const ann = await connectedAs(gateway, 'ann')
    const request =
      method === 'publish'
        ? ann.publish('general', 1)
        : method === 'history'
          ? ann.history('general')
          : ann[method]('general')
    await expect(request).rejects.toEqual({
      code: 103,
      message: `PERMISSION_DENIED: Rule "general" covers "general", but grants ${operation} to no one.`,
      temporary: false,
    })
  })
})

describe('rules change', () => {
  test('a client without the permission is unsubscribed with 2103 and the reason, and receives nothing more', async () => {
    const gateway = await gatewayFor({ channels: [rule('general'), rule('lobby')] })
    const ann = await connectedAs(gateway, 'ann')
    const staff = await connectedAs(gateway, 'bob', {
      getToken: () => gateway.token('bob', { claims: { roles: ['staff'] } }),
    })
    const general = await subscribed(ann, 'general')
    const atAnn = dataOf(general)
    const over = next(general, 'unsubscribed')
    gateway.catalog.put(tenantPolicy({ channels: [staffOnly, rule('lobby')] }))
    expect(await over).toMatchObject({
      code: 2103,
      reason: 'Rule "general" grants Subscribe on "general" only to users with role "staff".',
    })
    await staff.publish('general', 'secret')
    await ann.publish('lobby', 'still connected')
    expect(atAnn.waiting).toEqual([])
  })

  test('a deny ends a subscription that a grant still allows', async () => {
    const gateway = await gatewayFor()
    const general = await subscribed(await connectedAs(gateway, 'ann'), 'general')
    const over = next(general, 'unsubscribed')
    gateway.catalog.put(
      tenantPolicy({
        channels: [
          rule('general'),
          rule('*', { name: 'banned', grants: [deny(['Subscribe'], [{ users: ['ann'] }])] }),
        ],
      }),
    )
    expect((await over).reason).toContain('Rule "banned" denies Subscribe')
  })

  test('a subscription that is still allowed is not affected', async () => {
    const gateway = await gatewayFor({ channels: [rule('general'), rule('lobby')] })
    const general = await subscribed(await connectedAs(gateway, 'ann'), 'general')
    const atAnn = dataOf(general)
    const bob = await connectedAs(gateway, 'bob')
    const states = collect(general, 'state')
    gateway.catalog.put(tenantPolicy({ channels: [rule('general')] }))
    await bob.publish('general', 'x')
    expect(await atAnn.next()).toBe('x')
    expect(states.waiting).toEqual([])
  })

  test('a new permission can be used at once', async () => {
    const gateway = await gatewayFor({ channels: [] })
    const ann = await connectedAs(gateway, 'ann')
    await expect(ann.publish('general', 1)).rejects.toMatchObject({ code: 103 })
    gateway.catalog.put(tenantPolicy({ channels: [rule('general')] }))
    await ann.publish('general', 1)
  })

  test('guests no longer allowed: 3507 for guests, no effect on users', async () => {
    const guests = [{ authenticated: true as const }, { anonymous: true as const }]
    const gateway = await gatewayFor({
      channels: [rule('general', { grants: [allow(['History'], guests)] })],
    })
    const guest = sdkAt(centrifugeUrl(gateway), {})
    guest.connect()
    await guest.ready(5000)
    const ann = await connectedAs(gateway, 'ann')
    const over = next(guest, 'disconnected')
    gateway.catalog.put(tenantPolicy({ channels: [rule('general')] }))
    expect(await over).toMatchObject({ code: 3507, reason: expect.stringContaining('token') as string })
    await ann.history('general')
  })
})

describe('the tenant', () => {
  test('suspended: closes all clients with 3507, and they do not reconnect', async () => {
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann')
    const over = next(ann, 'disconnected')
    gateway.catalog.put(tenantPolicy({ suspended: true }))
    expect(await over).toEqual({ code: 3507, reason: 'permission denied: the tenant is suspended' })
  })

  test('suspended: refuses new clients, with the reason', async () => {
    const gateway = await gatewayFor({ suspended: true })
    const ann = sdkOf(gateway, 'ann')
    const over = next(ann, 'disconnected')
    ann.connect()
    expect(await over).toMatchObject({
      code: 3507,
      reason: expect.stringContaining('demo/acme is suspended') as string,
    })
  })

  test('resumed: accepts clients again', async () => {
    const gateway = await gatewayFor({ suspended: true })
    gateway.catalog.put(tenantPolicy())
    expect((await connectedAs(gateway, 'ann')).state).toBe('connected')
  })

  test('removed: closes all clients with 3503, and the endpoint returns 404', async () => {
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann')
    const over = next(ann, 'disconnected')
    gateway.catalog.remove('demo/acme')
    expect(await over).toEqual({ code: 3503, reason: 'force disconnect: the tenant was removed' })
    const answer = await fetch(`${gateway.http}/demo/acme/connection/websocket`)
    expect([answer.status, await answer.json()]).toEqual([
      404,
      expect.objectContaining({ code: 'NOT_FOUND' }),
    ])
  })

  test('replaced by another of the same name: nothing is inherited', async () => {
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann')
    await ann.publish('general', 'of the old one')
    const over = next(ann, 'disconnected')
    gateway.catalog.put(tenantPolicy({ tenantId: 'another' }))
    expect((await over).code).toBe(3503)
    const back = await connectedAs(gateway, 'ann')
    expect(await back.history('general', { limit: 10 })).toMatchObject({ publications: [], offset: 0 })
  })

  test('a lowered limit keeps connections, unless the plan has ShedNewest: 3504', async () => {
    const limits = { ...generousLimits, connections: { ...generousLimits.connections, max: 1 } }
    const gateway = await gatewayFor()
    const ann = await connectedAs(gateway, 'ann')
    const bob = await connectedAs(gateway, 'bob')
    gateway.catalog.put(tenantPolicy({ limits }))
    await Promise.all([ann.history('general'), bob.history('general')])
    const over = next(bob, 'disconnected')
    gateway.catalog.put(tenantPolicy({ limits, preemption: 'ShedNewest' }))
    expect(await over).toMatchObject({ code: 3504 })
    await ann.history('general')
  })
})
