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
  test('are encoded once for each codec, and subscribers share the frame', async () => {
    const fixture = new HubFixture()
    const readers = [
      await fixture.live(fixture.chat),
      await fixture.live(fixture.chat),
      await fixture.live(fixture.centrifuge),
      await fixture.live(fixture.centrifuge),
    ]
    await fixture.publish()
    expect([fixture.chat.encoded, fixture.centrifuge.encoded]).toEqual([1, 1])
    const [a, b, c, d] = readers.map(({ frames }) => frames[0])
    expect([a === b, c === d, a === c]).toEqual([true, true, false])
  })

  test('are encoded as a delta once for all subscribers with the same base', async () => {
    const fixture = new HubFixture()
    const [ann, bob] = [
      await fixture.live(fixture.centrifuge, { delta: true }),
      await fixture.live(fixture.centrifuge, { delta: true }),
    ]
    await fixture.publish(JSON.stringify('x'.repeat(100)))
    const cid = await fixture.live(fixture.centrifuge, { delta: true })
    await fixture.publish(JSON.stringify(`${'x'.repeat(100)}y`))
    // The full data for ann and bob, then a delta for both, and the full data for cid.
    expect(fixture.centrifuge.encoded).toBe(3)
    expect(ann.frames[1]).toBe(bob.frames[1])
    const [full, delta] = [cid.frames[0], ann.frames[1]].map((frame) =>
      Buffer.from(frame?.payload ?? []).toString(),
    )
    expect(full).toContain('"data":"\\"xxx')
    expect(delta).toContain('"delta":true')
  })

  test('go to subscribers whose filter matches, and equal filters are evaluated once', async () => {
    const fixture = new HubFixture()
    const goals = (): TagsFilter => filterOf({ key: 'kind', cmp: 'eq', val: 'goal' })
    const filters = [goals(), goals(), filterOf({ key: 'kind', cmp: 'eq', val: 'foul' })]
    const spies = filters.map((filter) => vi.spyOn(filter, 'matches'))
    const all = await fixture.live(fixture.centrifuge)
    const some = []
    for (const filter of filters) some.push(await fixture.live(fixture.centrifuge, { filter }))
    await fixture.publish('1', new Map([['kind', 'goal']]))
    await fixture.publish('2')
    expect(some.map(({ frames }) => frames.length)).toEqual([1, 1, 0])
    expect(all.frames).toHaveLength(2)
    expect(new Set([all, ...some].map(({ frames }) => frames[0])).size).toBe(2)
    expect(fixture.centrifuge.encoded).toBe(2)
    expect(spies.map(({ mock }) => mock.calls.length)).toEqual([2, 0, 2])
    expect(fixture.tenant.quota.counters.deliveriesTotal).toBe(4)
  })

  test('are charged for the evaluated filters, whether they match or not', async () => {
    const fixture = new HubFixture()
    const charged = vi.spyOn(fixture.tenant.quota.rates, 'chargeDeliveries')
    const goal = { key: 'kind', cmp: 'eq', val: 'goal' }
    const filters = [goal, goal, { op: 'not', nodes: [{ op: 'not', nodes: [goal] }] }].map(filterOf)
    for (const filter of filters) await fixture.live(fixture.centrifuge, { filter })
    await fixture.publish('1')
    await fixture.publish('2', new Map([['kind', 'goal']]))
    expect(charged.mock.calls).toEqual([
      [0, 4],
      [3, 4],
    ])
  })

  test('that a filter holds back still advance the position', async () => {
    const fixture = new HubFixture()
    const { frames, subscription } = await fixture.live(fixture.centrifuge, {
      filter: filterOf({ key: 'kind', cmp: 'ex' }),
    })
    await fixture.publish('1')
    const [publication] = (await fixture.broker.history(ref, { limit: 1 })).publications
    if (!publication) throw new Error('the publication is missing')
    expect(frames).toEqual([])
    expect(subscription.accepts(publication)).toBe(false)
  })

  test('are not encoded when no subscription is live', async () => {
    const fixture = new HubFixture()
    const { subscription } = fixture.subscriber()
    await fixture.hub.add(subscription)
    await fixture.publish()
    expect(fixture.chat.encoded).toBe(0)
    expect(subscription.collected()).toHaveLength(1)
  })

  test('are charged to the tenant once per delivery', async () => {
    const fixture = new HubFixture()
    await fixture.live()
    await fixture.live()
    await fixture.publish()
    expect(fixture.tenant.quota.counters.deliveriesTotal).toBe(2)
  })

  test('do not reach a subscription that was removed', async () => {
    const fixture = new HubFixture()
    const { frames, subscription } = await fixture.live()
    fixture.hub.remove(subscription)
    await fixture.publish()
    expect(frames).toEqual([])
  })
})

describe('announcements', () => {
  const join: Announcement = { kind: 'join', info, userEdge: true }

  test('reach the subscriptions that asked for them, encoded once', async () => {
    const fixture = new HubFixture()
    const [one, two] = [await fixture.live(), await fixture.live()]
    const other = await fixture.live(fixture.chat, { joinLeave: false })
    await fixture.broker.announce(ref, join)
    expect([one, two, other].map(({ frames }) => frames.length)).toEqual([1, 1, 0])
    expect(fixture.chat.encoded).toBe(1)
  })

  test('do not reach a subscription that is not live yet', async () => {
    const fixture = new HubFixture()
    const { frames, subscription } = fixture.subscriber()
    await fixture.hub.add(subscription)
    await fixture.broker.announce(ref, join)
    expect(frames).toEqual([])
  })

  test('that a codec does not encode are not sent to its clients', async () => {
    const fixture = new HubFixture()
    const chat = await fixture.live(fixture.chat)
    const sdk = await fixture.live(fixture.centrifuge)
    await fixture.broker.announce(ref, { ...join, userEdge: false })
    expect([chat.frames.length, sdk.frames.length]).toEqual([0, 1])
  })
})

describe('the broker’s subscription', () => {
  test('is shared by all subscriptions to the channel', async () => {
    const fixture = new HubFixture()
    await fixture.live()
    await fixture.live(fixture.centrifuge)
    expect(fixture.broker.calls).toEqual(['subscribe general'])
  })

  test('outlives the last subscriber by the linger time', async () => {
    const fixture = new HubFixture()
    const { subscription } = await fixture.live()
    fixture.hub.remove(subscription)
    fixture.pass(4_750)
    expect(fixture.broker.calls).toEqual(['subscribe general'])
    fixture.pass(500)
    expect(fixture.broker.calls).toEqual(['subscribe general', 'unsubscribe general'])
    expect(fixture.hub.channels).toBe(0)
  })

  test('stays when a client subscribes again within the linger time', async () => {
    const fixture = new HubFixture()
    const { subscription } = await fixture.live()
    fixture.hub.remove(subscription)
    fixture.pass(1_000)
    const again = await fixture.live()
    fixture.pass(10_000)
    await fixture.publish()
    expect(fixture.broker.calls).toEqual(['subscribe general'])
    expect(again.frames).toHaveLength(1)
  })

  test('is tried again by the next subscriber after a failure', async () => {
    const fixture = new HubFixture()
    fixture.broker.failures = 1
    await expect(fixture.hub.add(fixture.subscriber().subscription)).rejects.toThrow('Redis is unavailable')
    const { frames } = await fixture.live()
    await fixture.publish()
    expect(frames).toHaveLength(1)
  })

  test('leaves no state behind after a failure', async () => {
    const fixture = new HubFixture()
    fixture.broker.failures = 1
    const subscriptions = [fixture.subscriber().subscription, fixture.subscriber().subscription]
    const added = await Promise.allSettled(subscriptions.map((subscription) => fixture.hub.add(subscription)))
    for (const subscription of subscriptions) fixture.hub.remove(subscription)
    expect(added.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect([fixture.hub.channels, fixture.hub.subscriptions]).toEqual([0, 0])
  })

  test('is counted as a channel, and each local subscription as a subscription', async () => {
    const fixture = new HubFixture()
    const { subscription } = await fixture.live()
    await fixture.live()
    expect([fixture.hub.channels, fixture.hub.subscriptions]).toEqual([1, 2])
    fixture.hub.remove(subscription)
    fixture.hub.remove(subscription)
    expect([fixture.hub.channels, fixture.hub.subscriptions]).toEqual([1, 1])
  })
})

describe('lost continuity', () => {
  test('is pushed to chat clients, and the subscription continues from the new position', async () => {
    const fixture = new HubFixture()
    const { frames, subscription } = await fixture.live()
    fixture.hub.onContinuityLost(ref, top)
    expect(frames.map(({ payload }) => Buffer.from(payload).toString())).toEqual([
      '{"event":"joined","room":"general","recovered":false,"epoch":"e","offset":9}',
    ])
    const publication = { data: Buffer.from('1'), epoch: 'e', offset: 9, timeMs: 1 }
    expect(subscription.accepts(publication)).toBe(false)
    expect(subscription.accepts({ ...publication, offset: 10 })).toBe(true)
  })

  test('ends the subscription with 2500 when the codec has no push for it', async () => {
    const fixture = new HubFixture()
    const { ended, frames } = await fixture.live(fixture.centrifuge)
    fixture.hub.onContinuityLost(ref, top)
    expect([ended, frames]).toEqual([[2500], []])
  })

  test('does not affect subscriptions that track no position', async () => {
    const fixture = new HubFixture()
    const readers = [
      await fixture.live(fixture.chat, { positioned: false }),
      await fixture.live(fixture.centrifuge, { positioned: false }),
    ]
    fixture.hub.onContinuityLost(ref, top)
    expect(readers.flatMap(({ ended, frames }) => [...ended, ...frames])).toEqual([])
  })

  test('while nobody is subscribed does not hide a later loss, nor later publications', async () => {
    const fixture = new HubFixture()
    const { subscription } = await fixture.live()
    fixture.hub.remove(subscription)
    fixture.hub.onContinuityLost(ref, top)
    const { frames } = await fixture.live(fixture.chat, { positioned: false })
    const positioned = await fixture.live()
    await fixture.publish()
    fixture.hub.onContinuityLost(ref, top)
    expect(frames).toHaveLength(1)
    expect(positioned.frames.map(({ payload }) => Buffer.from(payload).toString())).toContainEqual(
      '{"event":"joined","room":"general","recovered":false,"epoch":"e","offset":9}',
    )
  })

  test('is remembered by a subscription that is still recovering', async () => {
    const fixture = new HubFixture()
    const { frames, subscription } = fixture.subscriber()
    await fixture.hub.add(subscription)
    fixture.hub.onContinuityLost(ref, top)
    expect([frames, subscription.lostUntil]).toEqual([[], top])
  })
})
