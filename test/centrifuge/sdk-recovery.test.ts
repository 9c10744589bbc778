// Cut connections: missed publications are recovered, in order and once, or the client is notified that they
// are not.
import { expect, test } from 'vitest'
import type { Centrifuge, SubscribedContext } from 'centrifuge'
import { drain } from '../../src/gateway/fleet/drain.js'
import { MemoryBroker } from '../../src/broker/memory.js'
import {
  annBehindProxy,
  collect,
  connectedAs,
  dataOf,
  gatewayFor,
  next,
  subscribed,
} from '../support/centrifuge-sdk.js'
import type { TestGateway } from '../support/gateway.js'
import { rule } from '../support/policies.js'

const shortHistory = rule('short', { history: { size: 3, ttlMs: 3_600_000 } })
const noHistory = rule('fleeting', { history: null })
const recoverable = { recoverable: true }
const channels = [rule('general'), shortHistory, noHistory]

async function publishAll(client: Centrifuge, channel: string, items: readonly unknown[]): Promise<void> {
  for (const item of items) await client.publish(channel, item)
}

test('what was published during a cut comes first, in order, then live publications', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const general = await subscribed(ann, 'general', recoverable)
  const atAnn = dataOf(general)
  await bob.publish('general', 1)
  await atAnn.next()

  const again = next(general, 'subscribed')
  proxy.refuse()
  await publishAll(bob, 'general', [2, 3, 4])
  proxy.refuse(false)
  expect(await again).toMatchObject({
    wasRecovering: true,
    recovered: true,
    hasRecoveredPublications: true,
    recoverable: true,
    positioned: true,
  })
  await bob.publish('general', 5)
  expect(await atAnn.take(4)).toEqual([2, 3, 4, 5])
})

test('a cut without publications is recovered without publications', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const general = await subscribed(ann, 'general', recoverable)
  const atAnn = dataOf(general)
  await bob.publish('general', 1)
  await atAnn.next()
  const again = next(general, 'subscribed')
  proxy.cut()
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true, hasRecoveredPublications: false })
  await bob.publish('general', 2)
  expect(await atAnn.take(1)).toEqual([2])
})

test('several cuts during steady publishing: everything arrives once and in order', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const general = await subscribed(ann, 'general', recoverable)
  const atAnn = dataOf(general)
  const count = 200
  for (let n = 1; n <= count; n += 1) {
    if (n % 50 === 25) {
      const again = next(general, 'subscribed')
      proxy.cut()
      await publishAll(bob, 'general', [n])
      expect((await again).recovered).toBe(true)
    } else await bob.publish('general', n)
  }
  expect(await atAnn.take(count)).toEqual(Array.from({ length: count }, (_, index) => index + 1))
  expect(atAnn.waiting).toEqual([])
})

test('a connection that only stalled loses nothing', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const atAnn = dataOf(await subscribed(ann, 'general', recoverable))
  proxy.hold()
  await publishAll(bob, 'general', [1, 2, 3])
  expect(atAnn.waiting).toEqual([])
  proxy.resume()
  expect(await atAnn.take(3)).toEqual([1, 2, 3])
})

test('when history no longer reaches back, the subscription is not recovered and continues live', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const short = await subscribed(ann, 'short', recoverable)
  const atAnn = dataOf(short)
  await bob.publish('short', 1)
  await atAnn.next()
  const again = next(short, 'subscribed')
  proxy.refuse()
  await publishAll(bob, 'short', [2, 3, 4, 5, 6])
  proxy.refuse(false)
  expect(await again).toMatchObject({
    wasRecovering: true,
    recovered: false,
    hasRecoveredPublications: false,
    streamPosition: { offset: 6 },
  })
  await bob.publish('short', 7)
  expect(await atAnn.take(1)).toEqual([7])
})

test('more than one reply holds is not recovered', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const general = await subscribed(ann, 'general', recoverable)
  const again = next(general, 'subscribed')
  proxy.refuse()
  await Promise.all(Array.from({ length: 301 }, (_, n) => bob.publish('general', n)))
  proxy.refuse(false)
  expect(await again).toMatchObject({ wasRecovering: true, recovered: false })
})

test('a channel without history has no positions and no recovery', async () => {
  const { ann, bob, proxy } = await annBehindProxy({ channels })
  const fleeting = ann.newSubscription('fleeting', { recoverable: true, positioned: true })
  const first = next(fleeting, 'subscribed')
  fleeting.subscribe()
  expect(await first).toMatchObject({ recoverable: false, positioned: false })
  const atAnn = dataOf(fleeting)
  const again = next(fleeting, 'subscribed')
  proxy.cut()
  expect(await again).toMatchObject({ wasRecovering: false, recovered: false })
  await bob.publish('fleeting', 'now')
  expect(await atAnn.next()).toBe('now')
})

test('the client resumes on another gateway of the same broker', async () => {
  const { gateway, ann, bob, proxy } = await annBehindProxy({ channels })
  const other = await otherGateway(gateway)
  const general = await subscribed(ann, 'general', recoverable)
  const atAnn = dataOf(general)
  const again = next(general, 'subscribed')
  proxy.refuse()
  await publishAll(bob, 'general', [1, 2])
  proxy.retarget(other.port)
  proxy.refuse(false)
  expect((await again).recovered).toBe(true)
  await bob.publish('general', 3)
  expect(await atAnn.take(3)).toEqual([1, 2, 3])
})

test('drain: 3001, and the client reconnects to another gateway, missing nothing', async () => {
  const { gateway, ann, bob, proxy } = await annBehindProxy({ channels })
  const other = await otherGateway(gateway)
  const general = await subscribed(ann, 'general', recoverable)
  const atAnn = dataOf(general)
  const left = next(ann, 'connecting')
  const again = next(general, 'subscribed')
  const bobAgain = collect(bob, 'connecting')
  proxy.retarget(other.port)
  gateway.gateway.startDraining()
  await drain(gateway.gateway.context, { windowMs: 0, sleep: async () => {} })
  expect(await left).toMatchObject({ code: 3001, reason: 'shutdown' })
  expect(await again).toMatchObject({ recovered: true })
  // Refused with 503 at its own gateway, bob keeps trying; the broker is fed from the other one.
  expect(await bobAgain.next()).toMatchObject({ code: 3001 })
  const carol = await connectedAs(other, 'carol')
  await carol.publish('general', 'after')
  expect(await atAnn.next()).toBe('after')
})

test('lost continuity: 2500, and the client subscribes again, with recovery', async () => {
  const { gateway, ann, bob } = await annBehindProxy({ channels })
  const general = await subscribed(ann, 'general', recoverable)
  const atAnn = dataOf(general)
  await bob.publish('general', 1)
  await atAnn.next()
  const lost = next(general, 'subscribing')
  const again: Promise<SubscribedContext> = next(general, 'subscribed')
  const ref = { tenantId: 'id-of-demo-acme', channel: 'general' }
  const { top } = gateway.brokerData.history(ref, { limit: 0 })
  gateway.gateway.hub.onContinuityLost(ref, top)
  expect(await lost).toMatchObject({ code: 2500, reason: 'insufficient state' })
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
  await bob.publish('general', 2)
  expect(await atAnn.take(1)).toEqual([2])
})

test('lost continuity does not affect a subscription without positions', async () => {
  const { gateway, ann, bob } = await annBehindProxy({ channels })
  const fleeting = await subscribed(ann, 'fleeting')
  const lost = collect(fleeting, 'subscribing')
  const atAnn = dataOf(fleeting)
  gateway.gateway.hub.onContinuityLost(
    { tenantId: 'id-of-demo-acme', channel: 'fleeting' },
    { epoch: 'e', offset: 9 },
  )
  await bob.publish('fleeting', 'still here')
  expect(await atAnn.next()).toBe('still here')
  expect(lost.waiting).toEqual([])
})

/** Shares the data of the broker, as two pods share Redis. */
function otherGateway({ brokerData }: TestGateway): Promise<TestGateway> {
  return gatewayFor({ channels }, { broker: new MemoryBroker(brokerData) })
}
