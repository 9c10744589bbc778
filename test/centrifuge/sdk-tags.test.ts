// The official client with a tags filter: it gets what fits, live and after a while away, and its positions hold.
import { expect, test } from 'vitest'
import type { FilterNode } from 'centrifuge'
import { apiKey, apiResult } from '../support/api-client.js'
import {
  collect,
  connected,
  connectedAs,
  dataOf,
  door,
  gatewayFor,
  next,
  proxyFor,
  sdkAt,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { rawAs } from '../support/frames.js'
import type { TestGateway } from '../support/gateway.js'
import { rule } from '../support/policies.js'

const goals: FilterNode = { key: 'kind', cmp: 'eq', val: 'goal' }
/** Goals, and shots that are nearly goals. */
const sights: FilterNode = {
  op: 'or',
  nodes: [
    goals,
    {
      op: 'and',
      nodes: [
        { key: 'kind', cmp: 'in', vals: ['shot', 'header'] },
        { op: 'not', nodes: [{ key: 'xg', cmp: 'lt', val: '0.8' }] },
      ],
    },
  ],
}

async function match(history: object = { size: 1000, ttlMs: 3_600_000 }) {
  const channels = [rule('match', { history: history as never })]
  const gateway = await gatewayFor({ channels, apiKeys: [apiKey()] })
  const proxy = await proxyFor(gateway)
  const ann = await connected(sdkAt(door(proxy), { getToken: () => gateway.token('ann') }))
  return { gateway, proxy, ann }
}

async function happens(gateway: TestGateway, data: number, tags?: object): Promise<void> {
  await apiResult(gateway, 'publish', { channel: 'match', data, ...(tags && { tags }) })
}

test('live: what fits comes, with its tags, and the rest does not', async () => {
  const { ann, gateway } = await match()
  const heard = collect(await subscribed(ann, 'match', { tagsFilter: sights }), 'publication')
  const bob = await connectedAs(gateway, 'bob')
  const atBob = dataOf(await subscribed(bob, 'match'))
  await happens(gateway, 1, { kind: 'foul' })
  await happens(gateway, 2, { kind: 'goal' })
  await happens(gateway, 3)
  await happens(gateway, 4, { kind: 'shot', xg: '0.25' })
  await happens(gateway, 5, { kind: 'header', xg: '0.80' })
  expect(await heard.take(2)).toMatchObject([
    { data: 2, offset: 2, tags: { kind: 'goal' } },
    { data: 5, offset: 5, tags: { kind: 'header', xg: '0.80' } },
  ])
  expect(await atBob.take(5)).toEqual([1, 2, 3, 4, 5])
})

test('after a cut: what fits of what was missed, and it goes on from there', async () => {
  const { ann, gateway, proxy } = await match()
  const subscription = await subscribed(ann, 'match', { tagsFilter: goals, recoverable: true })
  const heard = dataOf(subscription)
  await happens(gateway, 1, { kind: 'goal' })
  await heard.next()
  const again = next(subscription, 'subscribed')
  proxy.refuse()
  await happens(gateway, 2, { kind: 'foul' })
  await happens(gateway, 3, { kind: 'goal' })
  await happens(gateway, 4, { kind: 'foul' })
  proxy.refuse(false)
  // Where it stands before the goal: the foul is behind it.
  expect(await again).toMatchObject({ recovered: true, streamPosition: { offset: 2 } })
  await happens(gateway, 5, { kind: 'goal' })
  expect(await heard.take(2)).toEqual([3, 5])
})

test('after a cut in which nothing fits: it stands at the top', async () => {
  const { ann, gateway, proxy } = await match()
  const subscription = await subscribed(ann, 'match', { tagsFilter: goals, recoverable: true })
  const again = next(subscription, 'subscribed')
  proxy.refuse()
  for (const data of [1, 2]) await happens(gateway, data)
  proxy.refuse(false)
  expect(await again).toMatchObject({
    recovered: true,
    hasRecoveredPublications: false,
    streamPosition: { offset: 2 },
  })
})

test('where only the latest counts it is the latest that fits', async () => {
  const { ann, gateway } = await match({ size: 10, ttlMs: 3_600_000, newestOnly: true })
  for (const data of [1, 2, 3]) await happens(gateway, data, { kind: data === 3 ? 'foul' : 'goal' })
  const since = { offset: 0, epoch: '' }
  const filtered = ann.newSubscription('match', { tagsFilter: goals, since })
  const heard = dataOf(filtered)
  filtered.subscribe()
  expect(await heard.next()).toBe(2)
  const again = next(filtered, 'subscribed')
  filtered.unsubscribe()
  filtered.subscribe()
  expect(await again).toMatchObject({ recovered: true, hasRecoveredPublications: false })
})

test('another filter holds from the next subscribe on', async () => {
  const { ann, gateway } = await match()
  const subscription = await subscribed(ann, 'match', { tagsFilter: goals })
  const heard = dataOf(subscription)
  subscription.unsubscribe()
  subscription.setTagsFilter({ op: 'not', nodes: [goals] })
  subscription.subscribe()
  await subscription.ready()
  await happens(gateway, 1, { kind: 'goal' })
  await happens(gateway, 2)
  expect(await heard.next()).toBe(2)
})

test('one that is none: 107, for good', async () => {
  const { ann } = await match()
  const subscription = ann.newSubscription('match', { tagsFilter: { op: 'and', nodes: [] } })
  const over = next(subscription, 'unsubscribed')
  subscription.subscribe()
  expect(await over).toMatchObject({ code: 107, reason: expect.stringContaining('"and" has 0 nodes') })
})

test('with deltas too, which no client of theirs asks for: without deltas', async () => {
  const { gateway } = await match()
  const ann = await rawAs(gateway, 'ann')
  const reply = await ann.ask(2, { subscribe: { channel: 'match', tf: goals, delta: 'fossil' } })
  expect(reply['subscribe']).not.toHaveProperty('delta')
  await happens(gateway, 1, { kind: 'goal' })
  expect(await ann.object()).toMatchObject({ push: { pub: { data: 1 } } })
})
