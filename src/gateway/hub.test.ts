import { describe, expect, test, vi } from 'vitest'
import type { Announcement } from '../broker/broker.js'
import { parseTagsFilter, TagsFilter } from '../protocol/tags-filter.js'
import { info, ref, HubFixture } from './hub.testing.js'

function filterOf(value: object): TagsFilter {
  const filter = parseTagsFilter(value)
  if (!(filter instanceof TagsFilter)) throw filter
  return filter
}

const top = { epoch: 'e', offset: 9 }

describe('publications', () => {
  test('are encoded once for each language, and the frame is shared', async () => {
    const world = new HubFixture()
    const readers = [
      await world.live(world.chat),
      await world.live(world.chat),
      await world.live(world.centrifuge),
      await world.live(world.centrifuge),
    ]
    await world.publish()
    expect([world.chat.encoded, world.centrifuge.encoded]).toEqual([1, 1])
    const [a, b, c, d] = readers.map(({ frames }) => frames[0])
    expect([a === b, c === d, a === c]).toEqual([true, true, false])
  })

  test('as deltas are encoded once for all who have the same one before', async () => {
    const world = new HubFixture()
    const [ann, bob] = [
      await world.live(world.centrifuge, { delta: true }),
      await world.live(world.centrifuge, { delta: true }),
    ]
    await world.publish(JSON.stringify('x'.repeat(100)))
    const cid = await world.live(world.centrifuge, { delta: true })
    await world.publish(JSON.stringify(`${'x'.repeat(100)}y`))
    // Whole for ann and bob; then the delta for both, and for cid whole again.
    expect(world.centrifuge.encoded).toBe(3)
    expect(ann.frames[1]).toBe(bob.frames[1])
    const [whole, delta] = [cid.frames[0], ann.frames[1]].map((frame) =>
      Buffer.from(frame?.payload ?? []).toString(),
    )
    expect(whole).toContain('"data":"\\"xxx')
    expect(delta).toContain('"delta":true')
  })

  test('go to whom their tags fit, in one frame, and equal filters are asked once', async () => {
    const world = new HubFixture()
    const goals = (): TagsFilter => filterOf({ key: 'kind', cmp: 'eq', val: 'goal' })
    const filters = [goals(), goals(), filterOf({ key: 'kind', cmp: 'eq', val: 'foul' })]
    const asked = filters.map((filter) => vi.spyOn(filter, 'matches'))
    const all = await world.live(world.centrifuge)
    const some = []
    for (const filter of filters) some.push(await world.live(world.centrifuge, { filter }))
    await world.publish('1', new Map([['kind', 'goal']]))
    await world.publish('2')
    expect(some.map(({ frames }) => frames.length)).toEqual([1, 1, 0])
    expect(all.frames).toHaveLength(2)
    expect(new Set([all, ...some].map(({ frames }) => frames[0])).size).toBe(2)
    expect(world.centrifuge.encoded).toBe(2)
    expect(asked.map(({ mock }) => mock.calls.length)).toEqual([2, 0, 2])
    expect(world.tenant.deliveriesTotal).toBe(4)
  })

  test('are charged for the filters that they meet, whether they fit or not', async () => {
    const world = new HubFixture()
    const charged = vi.spyOn(world.tenant, 'chargeDeliveries')
    const goal = { key: 'kind', cmp: 'eq', val: 'goal' }
    const filters = [goal, goal, { op: 'not', nodes: [{ op: 'not', nodes: [goal] }] }].map(filterOf)
    for (const filter of filters) await world.live(world.centrifuge, { filter })
    await world.publish('1')
    await world.publish('2', new Map([['kind', 'goal']]))
    expect(charged.mock.calls).toEqual([
      [0, 4],
      [3, 4],
    ])
  })

  test('that a filter holds back move the position all the same', async () => {
    const world = new HubFixture()
    const { frames, subscription } = await world.live(world.centrifuge, {
      filter: filterOf({ key: 'kind', cmp: 'ex' }),
    })
    await world.publish('1')
    const [publication] = (await world.broker.history(ref, { limit: 1 })).publications
    if (!publication) throw new Error('one was published')
    expect(frames).toEqual([])
    expect(subscription.accepts(publication)).toBe(false)
  })

  test('are not encoded for nobody', async () => {
    const world = new HubFixture()
    const { subscription } = world.subscriber()
    await world.hub.add(subscription)
    await world.publish()
    expect(world.chat.encoded).toBe(0)
    expect(subscription.collected()).toHaveLength(1)
  })

  test('are charged to the tenant, one for each delivery', async () => {
    const world = new HubFixture()
    await world.live()
    await world.live()
    await world.publish()
    expect(world.tenant.deliveriesTotal).toBe(2)
  })

  test('reach nobody who has left', async () => {
    const world = new HubFixture()
    const { frames, subscription } = await world.live()
    world.hub.remove(subscription)
    await world.publish()
    expect(frames).toEqual([])
  })
})

describe('announcements', () => {
  const join: Announcement = { kind: 'join', info, userEdge: true }

  test('reach who asked for them, encoded once', async () => {
    const world = new HubFixture()
    const [one, two] = [await world.live(), await world.live()]
    const other = await world.live(world.chat, { joinLeave: false })
    await world.broker.announce(ref, join)
    expect([one, two, other].map(({ frames }) => frames.length)).toEqual([1, 1, 0])
    expect(world.chat.encoded).toBe(1)
  })

  test('do not reach who is not live yet', async () => {
    const world = new HubFixture()
    const { frames, subscription } = world.subscriber()
    await world.hub.add(subscription)
    await world.broker.announce(ref, join)
    expect(frames).toEqual([])
  })

  test('that a door does not tell are not sent there', async () => {
    const world = new HubFixture()
    const chat = await world.live(world.chat)
    const sdk = await world.live(world.centrifuge)
    await world.broker.announce(ref, { ...join, userEdge: false })
    expect([chat.frames.length, sdk.frames.length]).toEqual([0, 1])
  })
})

describe('the broker’s subscription', () => {
  test('is one, however many subscribe', async () => {
    const world = new HubFixture()
    await world.live()
    await world.live(world.centrifuge)
    expect(world.broker.calls).toEqual(['subscribe general'])
  })

  test('outlives the last subscriber by the linger', async () => {
    const world = new HubFixture()
    const { subscription } = await world.live()
    world.hub.remove(subscription)
    world.pass(4_750)
    expect(world.broker.calls).toEqual(['subscribe general'])
    world.pass(500)
    expect(world.broker.calls).toEqual(['subscribe general', 'unsubscribe general'])
    expect(world.hub.channels).toBe(0)
  })

  test('stays for who comes back within the linger', async () => {
    const world = new HubFixture()
    const { subscription } = await world.live()
    world.hub.remove(subscription)
    world.pass(1_000)
    const again = await world.live()
    world.pass(10_000)
    await world.publish()
    expect(world.broker.calls).toEqual(['subscribe general'])
    expect(again.frames).toHaveLength(1)
  })

  test('that failed is tried again by the next', async () => {
    const world = new HubFixture()
    world.broker.failures = 1
    await expect(world.hub.add(world.subscriber().subscription)).rejects.toThrow('Redis is away')
    const { frames } = await world.live()
    await world.publish()
    expect(frames).toHaveLength(1)
  })

  test('that failed leaves nothing behind', async () => {
    const world = new HubFixture()
    world.broker.failures = 1
    const subscriptions = [world.subscriber().subscription, world.subscriber().subscription]
    const added = await Promise.allSettled(subscriptions.map((subscription) => world.hub.add(subscription)))
    for (const subscription of subscriptions) world.hub.remove(subscription)
    expect(added.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect([world.hub.channels, world.hub.subscriptions]).toEqual([0, 0])
  })

  test('counts subscriptions and channels', async () => {
    const world = new HubFixture()
    const { subscription } = await world.live()
    await world.live()
    expect([world.hub.channels, world.hub.subscriptions]).toEqual([1, 2])
    world.hub.remove(subscription)
    world.hub.remove(subscription)
    expect([world.hub.channels, world.hub.subscriptions]).toEqual([1, 1])
  })
})

describe('continuity that is lost', () => {
  test('is said in the chat door’s words, and the subscription goes on from there', async () => {
    const world = new HubFixture()
    const { frames, subscription } = await world.live()
    world.hub.onContinuityLost(ref, top)
    expect(frames.map(({ payload }) => Buffer.from(payload).toString())).toEqual([
      '{"event":"joined","room":"general","recovered":false,"epoch":"e","offset":9}',
    ])
    const publication = { data: Buffer.from('1'), epoch: 'e', offset: 9, timeMs: 1 }
    expect(subscription.accepts(publication)).toBe(false)
    expect(subscription.accepts({ ...publication, offset: 10 })).toBe(true)
  })

  test('ends the subscription with 2500 where the door has no words for it', async () => {
    const world = new HubFixture()
    const { ended, frames } = await world.live(world.centrifuge)
    world.hub.onContinuityLost(ref, top)
    expect([ended, frames]).toEqual([[2500], []])
  })

  test('is no matter to who tracks no position', async () => {
    const world = new HubFixture()
    const readers = [
      await world.live(world.chat, { positioned: false }),
      await world.live(world.centrifuge, { positioned: false }),
    ]
    world.hub.onContinuityLost(ref, top)
    expect(readers.flatMap(({ ended, frames }) => [...ended, ...frames])).toEqual([])
  })

  test('is remembered by who is still catching up', async () => {
    const world = new HubFixture()
    const { frames, subscription } = world.subscriber()
    await world.hub.add(subscription)
    world.hub.onContinuityLost(ref, top)
    expect([frames, subscription.lostUntil]).toEqual([[], top])
  })
})
