// Channels that the connection's token names: the official client is in them without asking, and back in them after a cut.
import { expect, test } from 'vitest'
import type { ServerPublicationContext, ServerSubscribedContext } from 'centrifuge'
import { CommandError } from '../../src/errors.js'
import { MemoryBroker, MemoryBrokerData } from '../../src/broker/memory.js'
import { unsubscribeCodes } from '../../src/protocol/codes.js'
import { systemClock } from '../../src/time.js'
import {
  collect,
  connected,
  connectedAs,
  door,
  gatewayFor,
  next,
  proxyFor,
  sdkAt,
  sdkOf,
} from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { allOperations, deny, generousLimits, rule, tenantPolicy } from '../support/policies.js'

const tokenFor = (gateway: TestGateway, claims: object) => () =>
  gateway.token('ann', { claims: { ...claims } })
const byToken = (gateway: TestGateway, claims: object) => ({ getToken: tokenFor(gateway, claims) })

test.each([
  ['channels', { channels: ['news', 'general'] }],
  ['subs', { subs: { news: {}, general: { info: { a: 1 } } }, channels: ['other'] }],
])('claim %s: subscribed with the connect, and publications come', async (_claim, claims) => {
  const gateway = await gatewayFor()
  const ann = sdkOf(gateway, 'ann', byToken(gateway, claims))
  const told = collect(ann, 'subscribed')
  const heard = collect(ann, 'publication')
  await connected(ann)
  const subscribed: ServerSubscribedContext[] = await told.take(2)
  expect(Object.fromEntries(subscribed.map(({ channel, recoverable }) => [channel, recoverable]))).toEqual({
    general: true,
    // No rule covers it: the token lets in, and history is nobody's there.
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
  const ann = sdkAt(door(proxy), byToken(gateway, { channels: ['general'] }))
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

test('what rules deny is left out; a deny that comes later ends it alone', async () => {
  const closed = rule('closed', { grants: [deny(['Subscribe'])] })
  const gateway = await gatewayFor({ channels: [rule('general'), closed] })
  const ann = sdkOf(gateway, 'ann', byToken(gateway, { channels: ['closed', 'no name', 'general'] }))
  const told = collect(ann, 'subscribed')
  await connected(ann)
  await ann.history('general', { limit: 0 })
  expect(told.waiting.map(({ channel }) => channel)).toEqual(['general'])
  const over = next(ann, 'unsubscribed')
  gateway.catalog.put(tenantPolicy({ channels: [rule('general', { grants: [deny(allOperations)] })] }))
  expect(await over).toEqual({ channel: 'general' })
  expect(ann.state).toBe('connected')
})

test('the client cannot take it for its own: 105', async () => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann', byToken(gateway, { channels: ['general'] }))
  const general = ann.newSubscription('general')
  const over = next(general, 'unsubscribed')
  general.subscribe()
  expect((await over).code).toBe(105)
})

test('more channels than a connection may have: 3505, for good', async () => {
  const channels = { ...generousLimits.channels, maxSubscriptionsPerConnection: 2 }
  const gateway = await gatewayFor({ limits: { ...generousLimits, channels } })
  const ann = sdkOf(gateway, 'ann', byToken(gateway, { channels: ['a', 'b', 'c'] }))
  const over = next(ann, 'disconnected')
  ann.connect()
  expect(await over).toEqual({ code: 3505, reason: 'channel limit: the token names 3 channels' })
})

test('a lost position ends the connection with 3010, and the client is back', async () => {
  const gateway = await gatewayFor()
  const ann = await connectedAs(gateway, 'ann', byToken(gateway, { channels: ['general'] }))
  const left = next(ann, 'connecting')
  const again = next(ann, 'subscribed')
  for (const session of gateway.gateway.context.sessions) {
    for (const subscription of session.subscriptions.values())
      session.endSubscription(subscription, unsubscribeCodes.insufficientState)
  }
  expect(await left).toEqual({ code: 3010, reason: 'insufficient state' })
  expect(await again).toMatchObject({ channel: 'general', recovered: true })
})

test('a new token with other channels: 3010, and the client is in those', async () => {
  const gateway = await gatewayFor()
  const claims = [{ channels: ['general'] }, { channels: ['lobby'] }, { channels: ['lobby'] }]
  // The first runs out at once, as the client sees it.
  const ann = sdkOf(gateway, 'ann', {
    getToken: () =>
      gateway.token('ann', { claims: claims.shift() ?? {}, expiresInS: claims.length === 2 ? 1 : 3600 }),
  })
  const told = collect(ann, 'subscribed')
  const left = collect(ann, 'connecting')
  ann.connect()
  await left.next()
  expect((await told.next()).channel).toBe('general')
  expect(await left.next()).toMatchObject({ code: 3010 })
  expect((await told.next()).channel).toBe('lobby')
})

test('the broker is away: 3004, and the client is in as soon as it is back', async () => {
  let failures = 2
  class AwayBroker extends MemoryBroker {
    override async subscribe(ref: Parameters<MemoryBroker['subscribe']>[0]): Promise<void> {
      if (ref.channel === 'general' && failures-- > 0)
        throw new CommandError('BROKER_UNAVAILABLE', 'Redis is away')
      return super.subscribe(ref)
    }
  }
  const broker = new AwayBroker(new MemoryBrokerData({ clock: systemClock }))
  const gateway = await gatewayFor({}, { broker })
  const ann = sdkOf(gateway, 'ann', byToken(gateway, { channels: ['general'] }))
  const told = next(ann, 'subscribed')
  await connected(ann)
  expect((await told).channel).toBe('general')
  const { values } = await gateway.gateway.metrics.closes.get()
  expect(values).toMatchObject([{ labels: { code: '3004' }, value: 2 }])
})
