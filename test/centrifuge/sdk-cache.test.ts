// A channel where only the latest state counts: who comes back gets that, however much was missed.
import { expect, test } from 'vitest'
import { annBehindProxy, dataOf, next, subscribed } from '../support/centrifuge-sdk.js'
import { rule } from '../support/policies.js'

const history = { size: 10, ttlMs: 3_600_000, newestOnly: true } as const
const channels = [rule('score', { history })]
const recoverable = { recoverable: true }

test('after a cut the newest comes, and what follows it', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const score = await subscribed(ann, 'score', recoverable)
  const atAnn = dataOf(score)
  await bob.publish('score', 1)
  await atAnn.next()
  const again = next(score, 'subscribed')
  proxy.refuse()
  // More than history keeps.
  for (let n = 2; n <= 20; n += 1) await bob.publish('score', n)
  proxy.refuse(false)
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
  await bob.publish('score', 21)
  expect(await atAnn.take(2)).toEqual([20, 21])
})

test('who has the newest gets nothing again', async () => {
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

test('who stood in another stream stands before the newest of this one', async () => {
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

test('who comes for the first time and asks gets the newest too', async () => {
  const { ann, bob } = await annBehindProxy({ channels })
  for (const n of [1, 2, 3]) await bob.publish('score', n)
  const score = ann.newSubscription('score', { since: { offset: 0, epoch: '' } })
  const atAnn = dataOf(score)
  score.subscribe()
  expect(await atAnn.next()).toBe(3)
})
