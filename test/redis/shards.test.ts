// Tests of the broker and presence while partitions move between the masters of a real Cluster.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Announcement, ChannelRef, Publication } from '../../src/broker/broker.js'
import { partitionCount, partitionOf, partitionSlots, generationKey } from '../../src/redis/keys.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { openTestBroker, type TestRedisBroker } from '../support/redis-gateway.js'
import { openTestPresence } from '../support/redis-presence.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

const history = { size: 10_000, ttlMs: 3_600_000 }
const generationOf = (offset: number) => Math.floor(offset / 2 ** 32)
const textOf = ({ data }: Publication) => Buffer.from(data).toString()
const slotOfChannel = (ref: ChannelRef) => partitionSlots[partitionOf(ref)] ?? 0

class RecordingListener {
  readonly publications: Publication[] = []
  readonly announced: Announcement[] = []
  lost = 0

  texts(): string[] {
    return this.publications.map(textOf)
  }

  onPublication(_: ChannelRef, publication: Publication): void {
    this.publications.push(publication)
  }

  onAnnouncement(_: ChannelRef, announcement: Announcement): void {
    this.announced.push(announcement)
  }

  onContinuityLost(): void {
    this.lost += 1
  }
}

const send = (to: TestRedisBroker, ref: ChannelRef, text: string) =>
  to.broker.publish(ref, { data: Buffer.from(text) }, { history })
const publishEphemeral = (to: TestRedisBroker, ref: ChannelRef, text: string) =>
  to.broker.publish(ref, { data: Buffer.from(text) }, {})

afterAll(() => endRedisProcesses())

describe('a generation record', () => {
  const ref = { tenantId: 't1', channel: 'room:1' }
  const key = generationKey(partitionOf(ref))

  test('of another master is replaced by the next generation, and those of other partitions are not', async () => {
    const redis = await startRedis()
    await redis.cli('HSET', key, 'generation', '3', 'replid', 'another', 'store', 'abc')
    const one = openTestBroker(`redis://127.0.0.1:${redis.port}`)
    try {
      const { position } = await send(one, ref, 'one')
      expect(generationOf(position?.offset ?? 0)).toBe(4)
      const other = await send(one, { tenantId: 't1', channel: 'room:2' }, 'two')
      expect(other.position?.offset).toBe(1)
      expect(await redis.cli('KEYS', 'parley:*:generation')).toContain(key)
      expect((await redis.cli('KEYS', 'parley:*:generation')).split('\n')).toHaveLength(partitionCount)
    } finally {
      await one.close()
    }
  })

  test('that was lost is raised above the generations in its streams; epoch and history stay', async () => {
    const redis = await startRedis()
    await redis.cli('HSET', key, 'generation', '3', 'replid', 'another', 'store', 'abc')
    const one = openTestBroker(`redis://127.0.0.1:${redis.port}`)
    try {
      const first = await send(one, ref, 'one')
      await redis.cli('DEL', key)
      await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
      const second = await until('a publish', () => send(one, ref, 'two'))
      expect(second.position?.epoch).toBe(first.position?.epoch)
      expect(generationOf(second.position?.offset ?? 0)).toBe(5)
      const page = await one.broker.history(ref, { limit: 10, since: first.position })
      expect({ ...page, publications: page.publications.map(textOf) }).toMatchObject({
        publications: ['two'],
        continuous: true,
      })
    } finally {
      await one.close()
    }
  })
})

test(
  'topics that a master rejects while its Cluster is down are subscribed when it is up',
  { timeout: 60_000 },
  async () => {
    const config = ['cluster-allow-pubsubshard-when-down no']
    const cluster = await startRedisCluster({ replicasPerMaster: 0, config })
    const one = openTestBroker(cluster.url)
    try {
      const listener = new RecordingListener()
      one.broker.listen(listener)
      const ref = { tenantId: 't1', channel: 'room:1' }
      await one.broker.subscribe(ref)
      const master = await cluster.masterOf(slotOfChannel(ref))
      await master.kill()
      // The master accepts connections immediately and reports the Cluster as down for two seconds.
      await master.start()
      await cluster.settled()
      await until('a message', async () => {
        await publishEphemeral(one, ref, 'ephemeral')
        return listener.publications.length > 0
      })
      expect(listener.texts()).toContain('ephemeral')
    } finally {
      await one.close()
    }
  },
)

describe('a Cluster without replicas', () => {
  let cluster: RedisCluster
  let first: RedisProcess
  let second: RedisProcess
  let one: TestRedisBroker
  let two: TestRedisBroker
  let listener: RecordingListener
  let channels = 0
  let ref: ChannelRef

  beforeAll(async () => {
    cluster = await startRedisCluster({ replicasPerMaster: 0 })
  })

  beforeEach(async () => {
    const [a, b] = await cluster.masters()
    if (!a || !b) throw new Error('the Cluster has fewer than two masters')
    ;[first, second] = [a, b]
    ;[one, two] = [openTestBroker(cluster.url), openTestBroker(cluster.url)]
    await until('the maps', () => [one, two].every(({ shards }) => shards.shards.length === 3))
    listener = new RecordingListener()
    two.broker.listen(listener)
    channels += 1
    ref = { tenantId: 't1', channel: `room:${channels}` }
    await cluster.moveSlots([slotOfChannel(ref)], first)
  })

  afterEach(async () => {
    await Promise.all([one.close(), two.close()])
  })

  const move = (to: RedisProcess, refs: readonly ChannelRef[] = [ref]) =>
    cluster.moveSlots(new Set(refs.map(slotOfChannel)), to)

  test('rejects the durability `replicated`', async () => {
    const published = one.broker.publish(
      ref,
      { data: Buffer.from('x') },
      { history, durability: 'replicated' },
    )
    await expect(published).rejects.toMatchObject({ code: 'DURABILITY_UNAVAILABLE' })
    expect(await send(one, ref, 'x')).toMatchObject({ durability: 'accepted' })
  })

  test('a channel that moves continues in the next generation of the same epoch without a gap', async () => {
    await two.broker.subscribe(ref)
    const before = await send(one, ref, 'before')
    await move(second)
    const after = await send(one, ref, 'after')
    expect(after.position?.epoch).toBe(before.position?.epoch)
    expect(generationOf(after.position?.offset ?? 0)).toBe(generationOf(before.position?.offset ?? 0) + 1)
    await until('both', () => listener.texts().join(' ') === 'before after')
    const page = await two.broker.history(ref, { limit: 10, since: before.position })
    expect(page).toMatchObject({ continuous: true, top: after.position })
    expect(listener.lost).toBe(0)
  })

  test('a move discards no connection', async () => {
    await send(one, ref, 'before')
    // The publish needs only one of the links; the others may still connect for the first time.
    await until('all connections', () => [...one.links.values()].every((link) => link.current))
    const connections = [...one.links.values()].map((link) => link.current)
    await move(second)
    await send(one, ref, 'after')
    expect([...one.links.values()].map((link) => link.current)).toEqual(connections)
  })

  test('the publications of one gateway keep their order while the channel moves there and back', async () => {
    await two.broker.subscribe(ref)
    const moving = move(second).then(() => move(first))
    const moved = new AbortController()
    const ended = moving.finally(() => moved.abort())
    const sent: string[] = []
    const acknowledged: Promise<unknown>[] = []
    while (!moved.signal.aborted || sent.length < 100) {
      for (let n = 0; n < 5; n += 1) {
        sent.push(String(sent.length))
        acknowledged.push(send(one, ref, sent.at(-1) ?? ''))
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await ended
    await Promise.all(acknowledged)
    await until('all', () => listener.publications.length >= sent.length)
    expect(listener.texts()).toEqual(sent)
  })

  test('a channel without history, its announcements and its idempotency keys move with it', async () => {
    await two.broker.subscribe(ref)
    await move(second)
    await until('a message from the new master', async () => {
      await publishEphemeral(one, ref, 'ephemeral')
      return listener.texts().includes('ephemeral')
    })
    const info = { user: 'ann', client: 'c1' }
    await one.broker.announce(ref, { kind: 'join', info, userEdge: true })
    await until('the announcement', () => listener.announced.length === 1)
    const keyed = () =>
      one.broker.publish(ref, { data: Buffer.from('once') }, { history, idempotencyKey: 'k' })
    const { position } = await keyed()
    await move(first)
    expect(await keyed()).toMatchObject({ position, repeated: true })
  })

  test('publications on a thousand channels in many slots are received from the master that the slots moved to', async () => {
    const many = Array.from({ length: 1_000 }, (_, n) => ({
      tenantId: 't2',
      channel: `many:${channels}:${n}`,
    }))
    await Promise.all(many.map((channel) => two.broker.subscribe(channel)))
    const some = many.filter((channel) => slotOfChannel(channel) < 2_000)
    await move(second, some)
    const topics = async () => {
      const listed = await second.cli('PUBSUB', 'SHARDCHANNELS', `parley:*:t2:live:many:${channels}:*`)
      return some.every(({ channel }) =>
        listed.split('\n').some((topic) => topic.endsWith(`:live:${channel}`)),
      )
    }
    await until('all subscriptions', topics, { deadlineMs: 20_000 })
    await Promise.all(some.map((channel, n) => send(one, channel, String(n))))
    await until('all messages', () => listener.publications.length === some.length)
    expect(listener.lost).toBe(0)
    await move(first, some)
  })

  test('during an unfinished move other channels continue, and this one is rejected with nothing stored', async () => {
    const impatient = openTestBroker(cluster.url, { limits: { queueMs: 500 } })
    try {
      await send(impatient, ref, 'before')
      await cluster.moveSlots([slotOfChannel(ref)], second, { stopAt: 'announced' })
      // The stream is still on the old master; a new stream would have to begin on the new one.
      await send(impatient, ref, 'still there')
      const fresh = { tenantId: 't1', channel: `fresh:${channels}` }
      const neighbour = Array.from({ length: 10_000 }, (_, n) => ({
        ...fresh,
        channel: `${fresh.channel}:${n}`,
      })).find((channel) => slotOfChannel(channel) === slotOfChannel(ref))
      if (!neighbour) throw new Error('no channel shares the slot')
      await expect(send(impatient, neighbour, 'no')).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' })
      await send(impatient, fresh, 'other slot')
      await move(second)
      await send(impatient, neighbour, 'yes')
      const page = await impatient.broker.history(neighbour, { limit: 10 })
      expect(page.publications.map(textOf)).toEqual(['yes'])
    } finally {
      await impatient.close()
    }
  })

  test('a shard without partitions passes its waiting requests on to the others', async () => {
    const isFirst = (name = '') => name.endsWith(`:${first.port}`)
    await until('the map', () => isFirst(one.shards.holderOf(partitionOf(ref))?.name))
    const all = partitionSlots.filter((_, partition) => isFirst(one.shards.holderOf(partition)?.name))
    await two.broker.subscribe(ref)
    await send(one, ref, 'before')
    await cluster.moveSlots(all, second)
    await send(one, ref, 'after')
    await until('both', () => listener.texts().join(' ') === 'before after')
    await until('the end of its connections', () =>
      [...one.links].every(([name, link]) => !isFirst(name) || !link.current),
    )
    await cluster.moveSlots(all, first)
    await send(one, ref, 'back')
    await until('all', () => listener.texts().join(' ') === 'before after back')
    expect(listener.lost).toBe(0)
  })

  test('presence moves with its channel; an entry removed after a refresh stays removed', async () => {
    const presence = openTestPresence(cluster.url)
    try {
      const info = { user: 'ann', client: 'c1' }
      const many = new Map(Array.from({ length: 300 }, (_, n) => [`s${n}`, info]))
      await presence.presence.add(ref, 'stays', info)
      const moving = move(second)
      let rounds = 0
      const moved = new AbortController()
      const ended = moving.finally(() => moved.abort())
      while (!moved.signal.aborted || rounds < 3) {
        const refreshed = presence.presence.refresh(ref, many)
        await Promise.all([...many.keys()].map((id) => presence.presence.remove(ref, id)))
        await refreshed
        expect(await presence.presence.stats(ref)).toEqual({ clients: 1, users: 1 })
        rounds += 1
      }
      await ended
      expect([...(await presence.presence.members(ref, { limit: 10 })).members.keys()]).toEqual(['stays'])
    } finally {
      await presence.close()
    }
  })
})
