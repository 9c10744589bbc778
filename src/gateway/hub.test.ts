import { afterEach, describe, expect, test } from 'vitest'
import { ManualClock } from '../auth/auth.testing.js'
import type { Announcement, ChannelRef, ClientInfo, Publication } from '../broker/broker.js'
import { MemoryBroker, MemoryBrokerData } from '../broker/memory.js'
import { Metrics } from '../metrics.js'
import { centrifugeJson } from '../protocol/centrifuge-json.js'
import { chatCodec } from '../protocol/chat.js'
import type { Codec } from '../protocol/commands.js'
import type { Session } from '../session/session.js'
import { policyOf, silentLog } from '../session/session.testing.js'
import { Subscription } from '../session/subscription.js'
import { TenantState } from '../session/tenant-state.js'
import type { Frame } from '../session/transport.js'
import { TimerWheel } from '../time.js'
import { Hub } from './hub.js'

const ref: ChannelRef = { tenantId: 't1', channel: 'general' }
const info: ClientInfo = { user: 'ann', client: 'c' }
const top = { epoch: 'e', offset: 9 }

/** Counts its encodings, and else is the codec it is made of. */
function counting(codec: Codec): Codec & { encoded: number } {
  const counted = {
    ...codec,
    encoded: 0,
    publication(channel: string, publication: Publication) {
      counted.encoded += 1
      return codec.publication(channel, publication)
    },
    announcement(channel: string, announcement: Announcement) {
      counted.encoded += 1
      return codec.announcement(channel, announcement)
    },
  }
  return counted
}

/** Remembers who came and went; fails as often as it is told. */
class WatchedBroker extends MemoryBroker {
  readonly calls: string[] = []
  failures = 0

  override async subscribe(to: ChannelRef): Promise<void> {
    this.calls.push(`subscribe ${to.channel}`)
    if (this.failures > 0) {
      this.failures -= 1
      throw new Error('Redis is away')
    }
    return super.subscribe(to)
  }

  override async unsubscribe(from: ChannelRef): Promise<void> {
    this.calls.push(`unsubscribe ${from.channel}`)
    return super.unsubscribe(from)
  }
}

const brokers: WatchedBroker[] = []
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
})

class World {
  readonly clock = new ManualClock()
  readonly wheel = new TimerWheel({ clock: this.clock })
  readonly broker = new WatchedBroker(new MemoryBrokerData({ clock: this.clock }))
  readonly tenant = new TenantState(policyOf(), {
    clock: this.clock,
    log: silentLog,
    allowPrivateJwks: false,
  })
  readonly chat = counting(chatCodec)
  readonly centrifuge = counting(centrifugeJson)
  readonly hub: Hub
  #sessions = 0

  constructor() {
    const nothing = {
      connections: 0,
      subscriptions: 0,
      channels: 0,
      tenants: 0,
      manifestProblems: 0,
      ready: true,
      draining: false,
    }
    this.hub = new Hub({
      broker: this.broker,
      clock: this.clock,
      wheel: this.wheel,
      log: silentLog,
      metrics: new Metrics({ gateway: () => nothing, tenants: () => [] }, { process: false }),
      lingerMs: 5_000,
    })
    this.broker.listen(this.hub)
    brokers.push(this.broker)
  }

  /** Not added to the hub yet; what its session is sent is in `frames`. */
  subscriber(codec: Codec = this.chat, options: Partial<ConstructorParameters<typeof Subscription>[2]> = {}) {
    this.#sessions += 1
    const frames: Frame[] = []
    const ended: number[] = []
    const session = {
      id: `s${this.#sessions}`,
      codec,
      tenant: this.tenant,
      identity: { info },
      push: (frame: Frame) => void frames.push(frame),
      endSubscription: (_subscription: Subscription, { code }: { code: number }) => void ended.push(code),
    } as unknown as Session
    const subscription = new Subscription(session, ref, {
      positioned: true,
      joinLeave: true,
      present: false,
      byToken: false,
      ...options,
    })
    return { ended, frames, subscription }
  }

  async live(codec: Codec = this.chat, options: Partial<ConstructorParameters<typeof Subscription>[2]> = {}) {
    const subscriber = this.subscriber(codec, options)
    await this.hub.add(subscriber.subscription)
    subscriber.subscription.goLive(undefined)
    return subscriber
  }

  async publish(text = '1'): Promise<void> {
    await this.broker.publish(ref, { data: Buffer.from(text) }, { history: { size: 10, ttlMs: 60_000 } })
  }

  pass(ms: number): void {
    this.clock.advance(ms)
    this.wheel.advance()
  }
}

describe('publications', () => {
  test('are encoded once for each language, and the frame is shared', async () => {
    const world = new World()
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

  test('are not encoded for nobody', async () => {
    const world = new World()
    const { subscription } = world.subscriber()
    await world.hub.add(subscription)
    await world.publish()
    expect(world.chat.encoded).toBe(0)
    expect(subscription.collected()).toHaveLength(1)
  })

  test('are charged to the tenant, one for each delivery', async () => {
    const world = new World()
    await world.live()
    await world.live()
    await world.publish()
    expect(world.tenant.deliveriesTotal).toBe(2)
  })

  test('reach nobody who has left', async () => {
    const world = new World()
    const { frames, subscription } = await world.live()
    world.hub.remove(subscription)
    await world.publish()
    expect(frames).toEqual([])
  })
})

describe('announcements', () => {
  const join: Announcement = { kind: 'join', info, userEdge: true }

  test('reach who asked for them, encoded once', async () => {
    const world = new World()
    const [one, two] = [await world.live(), await world.live()]
    const other = await world.live(world.chat, { joinLeave: false })
    await world.broker.announce(ref, join)
    expect([one, two, other].map(({ frames }) => frames.length)).toEqual([1, 1, 0])
    expect(world.chat.encoded).toBe(1)
  })

  test('do not reach who is not live yet', async () => {
    const world = new World()
    const { frames, subscription } = world.subscriber()
    await world.hub.add(subscription)
    await world.broker.announce(ref, join)
    expect(frames).toEqual([])
  })

  test('that a door does not tell are not sent there', async () => {
    const world = new World()
    const chat = await world.live(world.chat)
    const sdk = await world.live(world.centrifuge)
    await world.broker.announce(ref, { ...join, userEdge: false })
    expect([chat.frames.length, sdk.frames.length]).toEqual([0, 1])
  })
})

describe('the broker’s subscription', () => {
  test('is one, however many subscribe', async () => {
    const world = new World()
    await world.live()
    await world.live(world.centrifuge)
    expect(world.broker.calls).toEqual(['subscribe general'])
  })

  test('outlives the last subscriber by the linger', async () => {
    const world = new World()
    const { subscription } = await world.live()
    world.hub.remove(subscription)
    world.pass(4_750)
    expect(world.broker.calls).toEqual(['subscribe general'])
    world.pass(500)
    expect(world.broker.calls).toEqual(['subscribe general', 'unsubscribe general'])
    expect(world.hub.channels).toBe(0)
  })

  test('stays for who comes back within the linger', async () => {
    const world = new World()
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
    const world = new World()
    world.broker.failures = 1
    await expect(world.hub.add(world.subscriber().subscription)).rejects.toThrow('Redis is away')
    const { frames } = await world.live()
    await world.publish()
    expect(frames).toHaveLength(1)
  })

  test('that failed leaves nothing behind', async () => {
    const world = new World()
    world.broker.failures = 1
    const subscriptions = [world.subscriber().subscription, world.subscriber().subscription]
    const added = await Promise.allSettled(subscriptions.map((subscription) => world.hub.add(subscription)))
    for (const subscription of subscriptions) world.hub.remove(subscription)
    expect(added.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect([world.hub.channels, world.hub.subscriptions]).toEqual([0, 0])
  })

  test('counts subscriptions and channels', async () => {
    const world = new World()
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
    const world = new World()
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
    const world = new World()
    const { ended, frames } = await world.live(world.centrifuge)
    world.hub.onContinuityLost(ref, top)
    expect([ended, frames]).toEqual([[2500], []])
  })

  test('is no matter to who tracks no position', async () => {
    const world = new World()
    const readers = [
      await world.live(world.chat, { positioned: false }),
      await world.live(world.centrifuge, { positioned: false }),
    ]
    world.hub.onContinuityLost(ref, top)
    expect(readers.flatMap(({ ended, frames }) => [...ended, ...frames])).toEqual([])
  })

  test('is remembered by who is still catching up', async () => {
    const world = new World()
    const { frames, subscription } = world.subscriber()
    await world.hub.add(subscription)
    world.hub.onContinuityLost(ref, top)
    expect([frames, subscription.lostUntil]).toEqual([[], top])
  })
})
