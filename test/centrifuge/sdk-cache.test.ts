// A channel where only the latest state counts: a returning client gets it, however much it missed.
import { expect, test } from 'vitest'
import { annBehindProxy, dataOf, next, subscribed } from '../support/centrifuge-sdk.js'
import { rule } from '../support/policies.js'

const history = { size: 10, ttlMs: 3_600_000, newestOnly: true } as const
const channels = [rule('score', { history })]
const recoverable = { recoverable: true }

test('after a cut the client gets the newest, and what follows it', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const score = await subscribed(ann, 'score', recoverable)
  const atAnn = dataOf(score)
  await bob.publish('score', 1)
  await atAnn.next()
  const again = next(score, 'subscribed')
  proxy.refuse()
  // More publications than history keeps.
  for (let n = 2; n <= 20; n += 1) await bob.publish('score', n)
  proxy.refuse(false)
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
  await bob.publish('score', 21)
  expect(await atAnn.take(2)).toEqual([20, 21])
})

test('a client that has the newest gets nothing', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const score = await subscribed(ann, 'score', recoverable)
  const atAnn = dataOf(score)
  await bob.publish('score', 1)
  await atAnn.next()
  const again = next(score, 'subscribed')
  proxy.cut()
  expect(await again).toMatchObject({ recovered: true, hasRecoveredPublications: false })
  await bob.publish('score', 2)
  expect(await atAnn.next()).toBe(2)
})

test('a client with a position of another stream gets the newest of this one', async () => {
  const { ann, bob } = await annBehindProxy({ channels })
  for (const n of [1, 2, 3]) await bob.publish('score', n)
  const score = ann.newSubscription('score', { since: { offset: 900, epoch: 'of another time' } })
  const atAnn = dataOf(score)
  const came = next(score, 'subscribed')
  score.subscribe()
  const { streamPosition } = await came
  expect(streamPosition).toMatchObject({ offset: 2 })
  expect(await atAnn.next()).toBe(3)
})

test('a new client that asks for recovery gets the newest too', async () => {
  const { ann, bob } = await annBehindProxy({ channels })
  for (const n of [1, 2, 3]) await bob.publish('score', n)
  const score = ann.newSubscription('score', { since: { offset: 0, epoch: '' } })
  const atAnn = dataOf(score)
  score.subscribe()
  expect(await atAnn.next()).toBe(3)
})
