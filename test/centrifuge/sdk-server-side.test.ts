// Server-side subscriptions of the official client, by its connection token or by the backend.
import { describe, expect, test } from 'vitest'
import type { ServerPublicationContext, ServerSubscribedContext } from 'centrifuge'
import { CommandError } from '../../src/errors.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { unsubscribeCodes } from '../../src/protocol/codes.js'
import { systemClock } from '../../src/time.js'
import {
  collect,
  connected,
  connectedAs,
  centrifugeUrl,
  gatewayFor,
  next,
  proxyFor,
  sdkAt,
  sdkOf,
} from '../support/centrifuge-sdk.js'
import { apiKey, apiResult } from '../support/api-client.js'
import type { TestGateway } from '../support/gateway.js'
import { allOperations, deny, generousLimits, rule, tenantPolicy } from '../support/policies.js'

const tokenFor = (gateway: TestGateway, claims: object) => () =>
  gateway.token('ann', { claims: { ...claims } })
const byToken = (gateway: TestGateway, claims: object) => ({ getToken: tokenFor(gateway, claims) })

test.each([
  ['channels', { channels: ['news', 'general'] }],
  ['subs', { subs: { news: {}, general: { info: { a: 1 } } }, channels: ['other'] }],
])('claim %s: subscribed with the connect reply, and publications arrive', async (_claim, claims) => {
  const gateway = await gatewayFor()
  const ann = sdkOf(gateway, 'ann', byToken(gateway, claims))
  const received = collect(ann, 'subscribed')
  const heard = collect(ann, 'publication')
  await connected(ann)
  const subscribed: ServerSubscribedContext[] = await received.take(2)
  expect(Object.fromEntries(subscribed.map(({ channel, recoverable }) => [channel, recoverable]))).toEqual({
    general: true,
    // No rule covers the channel: the token allows it, and it has no history.
    news: false,
  })
  const bob = await connectedAs(gateway, 'bob')
  await bob.publish('general', { hello: 1 })
  expect(await heard.next()).toMatchObject({ channel: 'general', data: { hello: 1 }, offset: 1 })
  const { clients } = await bob.presence('general')
  expect(Object.values(clients).map(({ user }) => user)).toEqual(['ann'])
})

test('what was missed during a cut comes first, once and in order', async () => {
  const gateway = await gatewayFor()
  const proxy = await proxyFor(gateway)
  const ann = sdkAt(centrifugeUrl(proxy), byToken(gateway, { channels: ['general'] }))
  const heard = collect(ann, 'publication')
  await connected(ann)
  const bob = await connectedAs(gateway, 'bob')
  await bob.publish('general', 1)
  await heard.next()
  const again = next(ann, 'subscribed')
  proxy.refuse()
  for (const data of [2, 3]) await bob.publish('general', data)
  proxy.refuse(false)
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
  await bob.publish('general', 4)
  const publications: ServerPublicationContext[] = await heard.take(3)
  expect(publications.map(({ data }) => data as unknown)).toEqual([2, 3, 4])
})

test('a channel that rules deny is left out; a later deny ends only that subscription', async () => {
  const closed = rule('closed', { grants: [deny(['Subscribe'])] })
  const gateway = await gatewayFor({ channels: [rule('general'), closed] })
  const ann = sdkOf(gateway, 'ann', byToken(gateway, { channels: ['closed', 'no name', 'general'] }))
  const received = collect(ann, 'subscribed')
  await connected(ann)
  await ann.history('general', { limit: 0 })
  expect(received.waiting.map(({ channel }) => channel)).toEqual(['general'])
  const over = next(ann, 'unsubscribed')
  gateway.catalog.put(tenantPolicy({ channels: [rule('general', { grants: [deny(allOperations)] })] }))
  expect(await over).toEqual({ channel: 'general' })
  expect(ann.state).toBe('connected')
})

test('the client cannot subscribe to the channel itself: 105', async () => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann', byToken(gateway, { channels: ['general'] }))
  const general = ann.newSubscription('general')
  const over = next(general, 'unsubscribed')
  general.subscribe()
  expect((await over).code).toBe(105)
})

test('more channels than a connection may have: 3505, and the client does not reconnect', async () => {
  const channels = { ...generousLimits.channels, maxSubscriptionsPerConnection: 2 }
  const gateway = await gatewayFor({ limits: { ...generousLimits, channels } })
  const ann = sdkOf(gateway, 'ann', byToken(gateway, { channels: ['a', 'b', 'c'] }))
  const over = next(ann, 'disconnected')
  ann.connect()
  expect(await over).toEqual({ code: 3505, reason: 'channel limit: the token names 3 channels' })
})

test('a lost position closes the connection with 3010, and the client reconnects', async () => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann', byToken(gateway, { channels: ['general'] }))
  const left = next(ann, 'connecting')
  const again = next(ann, 'subscribed')
  for (const session of gateway.gateway.tenant('demo/acme')?.sessions ?? []) {
    for (const subscription of session.subscriptions.values())
      session.endSubscription(subscription, unsubscribeCodes.insufficientState)
  }
  expect(await left).toEqual({ code: 3010, reason: 'insufficient state' })
  expect(await again).toMatchObject({ channel: 'general', recovered: true })
})

test('a new token with other channels: 3010, and the client reconnects to those', async () => {
  const gateway = await gatewayFor()
  const claims = [{ channels: ['general'] }, { channels: ['lobby'] }, { channels: ['lobby'] }]
  // For the client, the first token expires at once.
  const ann = sdkOf(gateway, 'ann', {
    getToken: () =>
      gateway.token('ann', { claims: claims.shift() ?? {}, expiresInS: claims.length === 2 ? 1 : 3600 }),
  })
  const received = collect(ann, 'subscribed')
  const left = collect(ann, 'connecting')
  ann.connect()
  await left.next()
  expect((await received.next()).channel).toBe('general')
  expect(await left.next()).toMatchObject({ code: 3010 })
  expect((await received.next()).channel).toBe('lobby')
})

test('broker unavailable: 3004, and the client connects when the broker is available again', async () => {
  let failures = 2
  class UnavailableBroker extends MemoryBroker {
    override async subscribe(ref: Parameters<MemoryBroker['subscribe']>[0]): Promise<void> {
      if (ref.channel === 'general' && failures-- > 0)
        throw new CommandError('BROKER_UNAVAILABLE', 'Redis is unavailable')
      return super.subscribe(ref)
    }
  }
  const broker = new UnavailableBroker(new MemoryBrokerData({ clock: systemClock }))
  const gateway = await gatewayFor({}, { broker })
  const ann = sdkOf(gateway, 'ann', byToken(gateway, { channels: ['general'] }))
  const received = next(ann, 'subscribed')
  await connected(ann)
  expect((await received).channel).toBe('general')
  const { values } = await gateway.gateway.metrics.closes.get()
  expect(values).toMatchObject([{ labels: { code: '3004' }, value: 2 }])
})

describe('by the server API', () => {
  const policy = { apiKeys: [apiKey()] }
  const request = { user: 'ann', channel: 'general' }

  test('subscribes with the data of the backend; publications arrive and continue', async () => {
    const gateway = await gatewayFor(policy)
    const [ann, bob] = [await connectedAs(gateway, 'ann'), await connectedAs(gateway, 'bob')]
    const received = next(ann, 'subscribed')
    const heard = collect(ann, 'publication')
    await bob.publish('general', 1)
    await apiResult(gateway, 'subscribe', {
      ...request,
      b64data: Buffer.from('{"a":1.50}').toString('base64'),
    })
    expect(await received).toMatchObject({
      channel: 'general',
      positioned: true,
      recoverable: true,
      streamPosition: { offset: 1 },
      data: { a: 1.5 },
    })
    await bob.publish('general', 2)
    expect(await heard.next()).toMatchObject({ channel: 'general', data: 2, offset: 2 })
    const { clients } = await bob.presence('general')
    expect(Object.values(clients).map(({ user }) => user)).toEqual(['ann'])
  })

  test('publications since a position follow the push', async () => {
    const gateway = await gatewayFor(policy)
    const [ann, bob] = [await connectedAs(gateway, 'ann'), await connectedAs(gateway, 'bob')]
    const heard = collect(ann, 'publication')
    for (const data of [1, 2, 3]) await bob.publish('general', data)
    const received = next(ann, 'subscribed')
    await apiResult(gateway, 'subscribe', { ...request, recover_since: { offset: 1 } })
    expect(await received).toMatchObject({ streamPosition: { offset: 1 } })
    await bob.publish('general', 4)
    expect((await heard.take(3)).map(({ data }): unknown => data)).toEqual([2, 3, 4])
  })

  test('the backend or a rule ends the subscription; the connection stays open', async () => {
    const gateway = await gatewayFor({ ...policy, channels: [rule('general'), rule('lobby')] })
    const ann = await connectedAs(gateway, 'ann')
    const received = collect(ann, 'subscribed')
    const over = collect(ann, 'unsubscribed')
    await apiResult(gateway, 'subscribe', request)
    await apiResult(gateway, 'subscribe', { ...request, channel: 'lobby' })
    await received.take(2)
    await apiResult(gateway, 'unsubscribe', request)
    expect(await over.next()).toEqual({ channel: 'general' })
    const shut = rule('lobby', { grants: [deny(['Subscribe'])] })
    gateway.catalog.put(tenantPolicy({ ...policy, channels: [shut] }))
    expect(await over.next()).toEqual({ channel: 'lobby' })
    expect(ann.state).toBe('connected')
  })

  test('accepts as many channels as a connection may have', async () => {
    const channels = { ...generousLimits.channels, maxSubscriptionsPerConnection: 1 }
    const gateway = await gatewayFor({ ...policy, limits: { ...generousLimits, channels } })
    const ann = await connectedAs(gateway, 'ann')
    const received = collect(ann, 'subscribed')
    await apiResult(gateway, 'subscribe', request)
    await received.next()
    await apiResult(gateway, 'subscribe', { ...request, channel: 'lobby' })
    await apiResult(gateway, 'unsubscribe', request)
    await apiResult(gateway, 'subscribe', { ...request, channel: 'news' })
    expect((await received.next()).channel).toBe('news')
  })

  test('a lost position closes the connection with 3010', async () => {
    const gateway = await gatewayFor(policy)
    const ann = await connectedAs(gateway, 'ann')
    const received = next(ann, 'subscribed')
    await apiResult(gateway, 'subscribe', request)
    await received
    const left = next(ann, 'connecting')
    const ref = { tenantId: tenantPolicy().tenantId, channel: 'general' }
    gateway.gateway.hub.onContinuityLost(ref, { epoch: 'e', offset: 7 })
    expect(await left).toEqual({ code: 3010, reason: 'insufficient state' })
  })
})
