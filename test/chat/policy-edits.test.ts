// Edits of a tenant's policy while clients are connected, at both endpoints.
import { describe, expect, test } from 'vitest'
import type { Centrifuge } from 'centrifuge'
import { connectedAs, dataOf, gatewayFor, next, subscribed } from '../support/centrifuge-sdk.js'
import { chatAs, chatUrl, joined, refusedUpgrade, type ChatClient } from '../support/chat-client.js'
import { rawAt } from '../support/frames.js'
import type { TestGateway } from '../support/gateway.js'
import { allow, generousLimits, rule, tenantPolicy } from '../support/policies.js'
import type { Limits, TenantPolicy } from '../../src/tenant/policy.js'

const limited = <Group extends keyof Limits>(group: Group, changes: Partial<Limits[Group]>) => ({
  limits: { ...generousLimits, [group]: { ...generousLimits[group], ...changes } },
})

const edit = (gateway: TestGateway, policy: Partial<TenantPolicy>): void =>
  gateway.catalog.put(tenantPolicy(policy))

const refusedCode = async (gateway: TestGateway, user: string): Promise<unknown> =>
  (await refusedUpgrade(`${chatUrl(gateway)}?token=${await gateway.token(user)}`)).body

/** One client at each endpoint. */
async function two(): Promise<{ gateway: TestGateway; ann: ChatClient; bob: Centrifuge }> {
  const gateway = await gatewayFor()
  const ann = await chatAs(gateway, 'ann')
  return { gateway, ann, bob: await connectedAs(gateway, 'bob') }
}

describe('a subscription that is no longer allowed', () => {
  const withoutGeneral = {
    channels: [rule('lobby'), rule('dm:{user}'), rule('general', { grants: [allow(['Publish'])] })],
  }

  test('ends at the chat endpoint with left and the reason', async () => {
    const { gateway, ann } = await two()
    await joined(ann, 'general')
    edit(gateway, withoutGeneral)
    expect(await ann.next('left')).toEqual({
      event: 'left',
      room: 'general',
      code: 'PERMISSION_DENIED',
      message: expect.stringContaining('general') as string,
    })
  })

  test('ends at the Centrifuge endpoint with 2103 and the reason', async () => {
    const { gateway, bob } = await two()
    const general = await subscribed(bob, 'general')
    const received = next(general, 'unsubscribed')
    edit(gateway, withoutGeneral)
    expect(await received).toMatchObject({ code: 2103, reason: expect.stringContaining('general') as string })
  })

  test('receives no more joins and leaves without the permission for presence', async () => {
    const { gateway, ann } = await two()
    const other = await chatAs(gateway, 'other')
    await joined(ann, 'general')
    await ann.settle()
    const mayNotSee = rule('general', { grants: [allow(['Subscribe', 'Publish', 'History'])] })
    edit(gateway, { channels: [rule('lobby'), rule('dm:{user}'), mayNotSee] })
    await joined(other, 'general')
    await other.done({ type: 'chat', room: 'general', content: 1 })
    expect((await ann.settle()).map(({ event }) => event)).toEqual(['chat'])
  })

  test('receives no more publications', async () => {
    const { gateway, ann } = await two()
    const other = await chatAs(gateway, 'other')
    await joined(ann, 'general')
    edit(gateway, withoutGeneral)
    await ann.next('left')
    await ann.settle()
    await other.done({ type: 'chat', room: 'general', content: 1 })
    expect(await ann.settle()).toEqual([])
  })

  test('does not affect the connection and its other subscriptions', async () => {
    const { gateway, ann } = await two()
    const other = await chatAs(gateway, 'other')
    await joined(ann, 'general')
    edit(gateway, withoutGeneral)
    await ann.next('left')
    other.send({ type: 'chat', content: 'still here?' })
    expect(await ann.next('chat')).toMatchObject({ content: 'still here?' })
  })

  test('can be made again when it is allowed again', async () => {
    const { gateway, ann } = await two()
    await joined(ann, 'general')
    edit(gateway, withoutGeneral)
    await ann.next('left')
    edit(gateway, {})
    expect(await joined(ann, 'general')).toMatchObject({ recovered: true })
  })
})

test('an edit that allows the lobby subscribes connected clients to it', async () => {
  const channels = [rule('general'), rule('dm:{user}')]
  const gateway = await gatewayFor({ channels })
  const [ann, bob] = [await chatAs(gateway, 'ann'), await chatAs(gateway, 'bob')]
  edit(gateway, { channels: [rule('lobby'), ...channels] })
  await ann.next('user_connected', (event) => event.user_id === 'bob')
  await bob.done({ type: 'chat', content: 'at last' })
  expect(await ann.next('chat')).toMatchObject({ from: 'bob', content: 'at last' })
})

test('a lowered publish rate applies at once, at both endpoints', async () => {
  const { gateway, ann, bob } = await two()
  await ann.done({ type: 'chat', content: 1 })
  edit(gateway, limited('messages', { publishPerSecond: 0, publishBurst: 0 }))
  expect(await ann.ask({ type: 'chat', content: 2 })).toMatchObject({ code: 'QUOTA_EXCEEDED' })
  await expect(bob.publish('general', 3)).rejects.toMatchObject({ code: 111 })
})

test('a raised publish rate applies at once', async () => {
  const gateway = await gatewayFor(limited('messages', { publishPerSecond: 0, publishBurst: 0 }))
  const ann = await chatAs(gateway, 'ann')
  await ann.ask({ type: 'chat', content: 1 })
  edit(gateway, {})
  // The token bucket is larger, and fills at its new rate from now on.
  await expect
    .poll(async () => (await ann.ask({ type: 'chat', content: 2 })).event, { timeout: 10_000 })
    .toBe('ack')
})

describe('a lowered connection limit', () => {
  test('keeps live connections and refuses new ones', async () => {
    const { gateway, ann, bob } = await two()
    edit(gateway, limited('connections', { max: 1 }))
    expect(await refusedCode(gateway, 'eve')).toMatchObject({ code: 'CONNECTION_LIMIT' })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
    expect(await bob.publish('general', 1)).toEqual({})
  })

  test('with ShedNewest closes the newest: 3504', async () => {
    const { gateway, ann, bob } = await two()
    const received = next(bob, 'disconnected')
    edit(gateway, { ...limited('connections', { max: 1 }), preemption: 'ShedNewest' })
    expect(await received).toMatchObject({ code: 3504 })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })

  test('with ShedIdle closes the longest idle: 3504', async () => {
    const { gateway, ann, bob } = await two()
    await ann.settle()
    await bob.publish('general', 1)
    edit(gateway, { ...limited('connections', { max: 1 }), preemption: 'ShedIdle' })
    expect(await ann.closed()).toMatchObject({ code: 3504 })
    expect(await bob.publish('general', 2)).toEqual({})
  })

  test('without enforcement closes no connection', async () => {
    const { gateway, ann } = await two()
    edit(gateway, {
      ...limited('connections', { max: 1 }),
      preemption: 'ShedNewest',
      enforcement: 'DryRun',
    })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
    expect(gateway.gateway.tenant('demo/acme')?.quota.connections).toBe(2)
  })
})

describe.each(['Warn', 'DryRun'] as const)('enforcement %s', (enforcement) => {
  test('accepts publishes over the rate, and counts them', async () => {
    const { gateway, ann, bob } = await two()
    edit(gateway, { ...limited('messages', { publishPerSecond: 0, publishBurst: 0 }), enforcement })
    expect(await ann.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
    expect(await bob.publish('general', 1)).toEqual({})
    expect(gateway.gateway.tenant('demo/acme')?.quota.counters.refusals.get('QUOTA_EXCEEDED')).toBe(2)
  })

  test('accepts connections over the limit, and counts them', async () => {
    const { gateway } = await two()
    edit(gateway, { ...limited('connections', { max: 1 }), enforcement })
    await chatAs(gateway, 'eve')
    await connectedAs(gateway, 'eve')
    expect(gateway.gateway.tenant('demo/acme')?.quota.counters.refusals.get('CONNECTION_LIMIT')).toBe(2)
  })
})

describe('suspending a tenant', () => {
  test('closes its connections with 3507 and the reason', async () => {
    const { gateway, ann, bob } = await two()
    const received = next(bob, 'disconnected')
    edit(gateway, { suspended: true })
    expect(await ann.closed()).toEqual({ code: 3507, reason: 'permission denied: the tenant is suspended' })
    expect(await received).toMatchObject({ code: 3507 })
  })

  test('keeps its data: resumed, history is there', async () => {
    const { gateway, ann } = await two()
    await ann.done({ type: 'chat', content: 'before' })
    edit(gateway, { suspended: true })
    await ann.closed()
    edit(gateway, {})
    const again = await chatAs(gateway, 'ann')
    again.send({ type: 'history', room: 'lobby' })
    expect((await again.next('history')).messages).toMatchObject([{ content: 'before' }])
  })

  test('does not affect other tenants', async () => {
    const gateway = await gatewayFor([tenantPolicy(), tenantPolicy({ name: 'globex' })])
    const hank = await chatAs(gateway, 'hank', { tenant: 'demo/globex' })
    edit(gateway, { suspended: true })
    expect(await hank.ask({ type: 'chat', content: 1 })).toMatchObject({ event: 'ack' })
  })
})

describe('a tenant recreated under its name', () => {
  const recreated = { tenantId: 'another-identity' }

  test('closes the connections of the old tenant: 3503', async () => {
    const { gateway, ann, bob } = await two()
    const received = next(bob, 'disconnected')
    edit(gateway, recreated)
    expect(await ann.closed()).toMatchObject({ code: 3503 })
    expect(await received).toMatchObject({ code: 3503 })
  })

  test('inherits no history', async () => {
    const { gateway, ann } = await two()
    await ann.done({ type: 'chat', content: 'of the old' })
    edit(gateway, recreated)
    const again = await chatAs(gateway, 'ann')
    again.send({ type: 'history', room: 'lobby' })
    expect((await again.next('history')).messages).toEqual([])
  })

  test('closes connections that have not authenticated yet', async () => {
    const { gateway } = await two()
    const stranger = await rawAt(gateway)
    edit(gateway, recreated)
    expect(await stranger.closed()).toMatchObject({ code: 3503 })
  })
})

test('the removal of a tenant closes its connections, and new ones get 404', async () => {
  const { gateway, ann } = await two()
  gateway.catalog.remove('demo/acme')
  expect(await ann.closed()).toMatchObject({ code: 3503 })
  expect((await refusedUpgrade(chatUrl(gateway))).status).toBe(404)
})

test('deliveries are counted for a tenant that is recreated within the linger time', async () => {
  const { gateway, ann } = await two()
  await joined(ann, 'general')
  const policy = gateway.catalog.get('demo/acme')
  if (!policy) throw new Error('no policy')
  gateway.catalog.remove('demo/acme')
  await ann.closed()
  gateway.catalog.put(policy)
  const bob = await connectedAs(gateway, 'bob')
  const heard = dataOf(await subscribed(bob, 'general'))
  await bob.publish('general', 1)
  await heard.next()
  expect(gateway.gateway.tenant('demo/acme')?.quota.counters.deliveriesTotal).toBe(1)
})
