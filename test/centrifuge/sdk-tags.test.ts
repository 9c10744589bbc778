// The official client with a tags filter: it receives matching publications, live and after a cut, and its
// positions are correct.
import { expect, test } from 'vitest'
import type { FilterNode } from 'centrifuge'
import { apiKey, apiResult } from '../support/api-client.js'
import {
  collect,
  connected,
  connectedAs,
  dataOf,
  centrifugeUrl,
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
/** Matches goals, and shots that are nearly goals. */
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
  const ann = await connected(sdkAt(centrifugeUrl(proxy), { getToken: () => gateway.token('ann') }))
  return { gateway, proxy, ann }
}

async function happens(gateway: TestGateway, data: number, tags?: object): Promise<void> {
  await apiResult(gateway, 'publish', { channel: 'match', data, ...(tags && { tags }) })
}

test('live: matching publications arrive with their tags, others do not', async () => {
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

test('after a cut: the matching ones of the missed publications, then live ones', async () => {
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
  // The position before the goal is after the foul.
  expect(await again).toMatchObject({ recovered: true, streamPosition: { offset: 2 } })
  await happens(gateway, 5, { kind: 'goal' })
  expect(await heard.take(2)).toEqual([3, 5])
})

test('after a cut without matching publications: at the newest position', async () => {
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

test('on a channel where only the latest counts: the latest that matches', async () => {
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

test('another filter applies from the next subscribe on', async () => {
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

test('an invalid filter: 107, and the client does not retry', async () => {
  const { ann } = await match()
  const subscription = ann.newSubscription('match', { tagsFilter: { op: 'and', nodes: [] } })
  const over = next(subscription, 'unsubscribed')
  subscription.subscribe()
  expect(await over).toMatchObject({ code: 107, reason: expect.stringContaining('"and" has 0 nodes') })
})

test('together with deltas, which no official client requests: without deltas', async () => {
  const { gateway } = await match()
  const ann = await rawAs(gateway, 'ann')
  const reply = await ann.ask(2, { subscribe: { channel: 'match', tf: goals, delta: 'fossil' } })
  expect(reply['subscribe']).not.toHaveProperty('delta')
  await happens(gateway, 1, { kind: 'goal' })
  expect(await ann.object()).toMatchObject({ push: { pub: { data: 1 } } })
})
