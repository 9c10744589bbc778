// What the Redis broker stores: no key for a read, no entry beyond its rule, counts that fit, and a reserve
// of memory. Each test has a Redis of its own.
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ChannelRef, PublishOptions } from '../../src/broker/broker.js'
import type { HistoryPolicies, HistoryRule } from '../../src/broker/storage.js'
import { channelTopic, partitionOf, storedBytesKey, streamKey, sweepKey } from '../../src/redis/keys.js'
import { systemClock } from '../../src/time.js'
import { RecordingListener } from '../../src/broker/listener.testing.js'
import { endRedisProcesses, startRedis, startSentinelTrio, until } from '../support/redis-processes.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import { openTestPresence } from '../support/redis-presence.js'
import { openTestBroker, type TestBrokerOptions, type TestRedisBroker } from '../support/redis-gateway.js'

afterAll(() => endRedisProcesses())

const acme = (channel: string): ChannelRef => ({ tenantId: 'acme', channel })
const general = acme('general')
const wide: HistoryRule = { size: 100, ttlMs: 3_600_000 }
const deadline = { deadlineMs: 60_000, everyMs: 100 }

function open(url: string, options: TestBrokerOptions = {}): TestRedisBroker {
  const opened = openTestBroker(url, options)
  onTestFinished(() => opened.close())
  return opened
}

/** A gateway's policies with one rule, for a tenant that reads its sums every second. */
function governed(rule: HistoryRule | null | undefined, tenants = ['acme']): HistoryPolicies {
  return {
    historyOf: () => rule,
    tenants: () => tenants.map((tenantId) => ({ tenantId, storedBytesMax: 1e6, publishBytesPerSecond: 1e9 })),
  }
}

function publish(
  { broker }: TestRedisBroker,
  data: string,
  { ref = general, ...options }: PublishOptions & { ref?: ChannelRef } = { history: wide },
) {
  return broker.publish(ref, { data: Buffer.from(JSON.stringify(data)) }, { history: wide, ...options })
}

type Cli = (...words: string[]) => Promise<string>

/** Redis's own counts: bytes of the tenant in the partition of the channel. */
async function countedBytes(cli: Cli, { channel, tenantId }: ChannelRef): Promise<number> {
  return Number(await cli('HGET', storedBytesKey(tenantId, partitionOf({ channel, tenantId })), ''))
}

async function keysOf(cli: Cli): Promise<string[]> {
  const keys = (await cli('KEYS', 'parley:*')).split('\n').filter((key) => key !== '')
  return keys.filter((key) => !/:(generation|listed|fence:\S+)$/.test(key)).toSorted()
}

/** The number of entries in all given streams. */
const sumOfLengths = `local sum = 0
for _, key in ipairs(KEYS) do sum = sum + redis.call('XLEN', key) end
return sum`

describe('reads', () => {
  test('create no key: histories, subscriptions, recoveries and presence of made-up channels', async () => {
    const redis = await startRedis()
    const cli: Cli = (...words) => redis.cli(...words)
    const url = `redis://127.0.0.1:${redis.port}`
    const opened = open(url)
    const { presence, close } = openTestPresence(url)
    onTestFinished(close)
    opened.broker.listen(new RecordingListener(10_000))
    await publish(opened, 'one', { ref: acme('real') })
    const before = await keysOf(cli)
    for (let n = 0; n < 50; n += 1) {
      const ref = acme(`made-up-${n}`)
      await opened.broker.subscribe(ref)
      const { top } = await opened.broker.history(ref, { limit: 10 })
      await opened.broker.history(ref, { limit: 10, since: { epoch: 'other', offset: n } })
      await opened.broker.history(ref, { limit: 10, since: top })
      await opened.broker.history(ref, { limit: 10, reverse: true })
      await opened.broker.removeHistory(ref)
      await presence.members(ref, { limit: 10 })
      await presence.stats(ref)
      await presence.remove(ref, `session-${n}`)
    }
    expect(await keysOf(cli)).toEqual(before)
  })

  test('of a channel without publications give one epoch at every gateway, also after a reconnect', async () => {
    const redis = await startRedis()
    const url = `redis://127.0.0.1:${redis.port}`
    const [one, other] = [open(url), open(url)]
    const { top } = await one.broker.history(general, { limit: 0 })
    expect((await other.broker.history(general, { limit: 0 })).top).toEqual(top)
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    expect((await other.broker.history(general, { limit: 0 })).top).toEqual(top)
    await publish(one, 'first')
    expect(await other.broker.history(general, { limit: 10, since: top })).toMatchObject({
      continuous: true,
      publications: [{ offset: 1 }],
    })
  })

  test('after Redis was emptied, a position before the first publication is not continued', async () => {
    const redis = await startRedis()
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const { top } = await opened.broker.history(general, { limit: 0 })
    await publish(opened, 'lost')
    await redis.cli('FLUSHALL')
    for (const word of ['a', 'b', 'c']) await publish(opened, word)
    const page = await opened.broker.history(general, { limit: 10, since: { epoch: top.epoch, offset: 1 } })
    expect(page).toMatchObject({ continuous: false, publications: [] })
  })

  test('a stream that was deleted by hand is not continued', async () => {
    const redis = await startRedis()
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const { top } = await opened.broker.history(general, { limit: 0 })
    await publish(opened, 'lost')
    await redis.cli('DEL', streamKey(general))
    for (const word of ['a', 'b']) await publish(opened, word)
    const page = await opened.broker.history(general, { limit: 10, since: { epoch: top.epoch, offset: 1 } })
    expect(page.continuous).toBe(false)
  })
})

describe('what is stored', () => {
  test.each([
    [2, 2],
    [9, 9],
    [50, 55],
    [700, 750],
  ])('with size %i there are at most %i entries', async (size, entriesMax) => {
    const redis = await startRedis()
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const history = { size, ttlMs: 3_600_000 }
    let most = 0
    for (let round = 0; round < 12; round += 1) {
      await Promise.all(Array.from({ length: 99 }, (_, n) => publish(opened, `${round} ${n}`, { history })))
      most = Math.max(most, Number(await redis.cli('XLEN', streamKey(general))))
    }
    expect(most).toBeLessThanOrEqual(entriesMax)
    expect(most).toBeGreaterThanOrEqual(size)
  })

  test('idle channels are emptied after the time to live, and keep their position', async () => {
    const redis = await startRedis()
    const url = `redis://127.0.0.1:${redis.port}`
    const publisher = openTestBroker(url)
    const history = { size: 20, ttlMs: 2_000 }
    const refs = Array.from({ length: 300 }, (_, n) => acme(`idle-${n}`))
    await Promise.all(refs.map((ref) => publish(publisher, 'secret', { ref, history })))
    const { position } = await publish(publisher, 'secret', { ref: acme('idle-0'), history })
    // The gateway that stored them dies; another one sweeps.
    await publisher.close()
    const other = open(url)
    await until(
      'empty streams',
      async () => {
        const keys = refs.map(streamKey)
        return (await redis.cli('EVAL', sumOfLengths, String(keys.length), ...keys)) === '0'
      },
      deadline,
    )
    expect(await redis.cli('EXISTS', ...refs.map(streamKey))).toBe('300')
    const next = await publish(other, 'next', { ref: acme('idle-0'), history })
    expect(next.position).toEqual({ epoch: position?.epoch, offset: 3 })
  })

  test('the expiry and the place in the sweep are renewed once, and for another time to live', async () => {
    const redis = await startRedis()
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const expiriesSet = async () =>
      Number(/cmdstat_expire:calls=(\d+)/.exec(await redis.cli('INFO', 'commandstats'))?.[1] ?? 0)
    const dueMs = async () =>
      Number(await redis.cli('ZSCORE', sweepKey(partitionOf(general)), 'acme general'))
    await publish(opened, 'first')
    const [before, due] = [await expiriesSet(), await dueMs()]
    for (const key of ['a', 'b', 'c']) await publish(opened, key, { idempotencyKey: key })
    await publish(opened, 'without a key')
    expect([await expiriesSet(), await dueMs()]).toEqual([before, due])
    await publish(opened, 'd', { idempotencyKey: 'd', history: { ...wide, ttlMs: 1_800_000 } })
    expect(await expiriesSet()).toBe(before + 1)
    expect(await dueMs()).toBeLessThan(due - 1_000_000)
  })

  test('a channel whose rule keeps no history any more is emptied', async () => {
    const redis = await startRedis()
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    opened.broker.storage.govern(governed(wide))
    await publish(opened, 'one')
    opened.broker.storage.govern(governed(null))
    opened.broker.storage.rulesChanged('acme')
    const emptied = async () => (await redis.cli('XLEN', streamKey(general))) === '0'
    expect(await until('an empty stream', emptied, deadline)).toBe(true)
  })

  test('streams of earlier versions are counted and swept', async () => {
    const redis = await startRedis()
    const cli: Cli = (...words) => redis.cli(...words)
    const old = acme('old')
    const envelope = `{"t":${Date.now() - 5_000},"x":1000}\n"${'x'.repeat(1_000)}"`
    await cli('XADD', streamKey(old), '0-*', 'e', envelope)
    await cli('XADD', streamKey(acme('kept')), '0-*', 'e', `{"t":${Date.now()},"x":3600000}\n"old"`)
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    opened.broker.storage.govern(governed(wide))
    await until('an empty stream', async () => (await cli('XLEN', streamKey(old))) === '0', deadline)
    await until('a count', async () => (await countedBytes(cli, acme('kept'))) > 4_000, deadline)
    const sum = async () => (opened.broker.storage.storedBytes('acme') ?? 0) > 4_000
    expect(await until('a sum', sum, deadline)).toBe(true)
  })
})

describe('counts', () => {
  test('fit what Redis needs, for small and large publications, and never stay below it', async () => {
    const redis = await startRedis()
    const cli: Cli = (...words) => redis.cli(...words)
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    for (const bytes of [10, 300, 1_000, 5_000, 16_300, 60_000]) {
      const ref = acme(`sized-${bytes}`)
      for (let n = 0; n < 60; n += 1) await publish(opened, 'x'.repeat(bytes), { ref })
      const used = Number(await cli('MEMORY', 'USAGE', streamKey(ref), 'SAMPLES', '0'))
      const counted = Number(await cli('HGET', storedBytesKey('acme', partitionOf(ref)), ref.channel))
      expect(counted / used).toBeGreaterThan(0.85)
      expect(counted / used).toBeLessThan(1.75)
    }
  })

  test('are those of Redis when a short stream is trimmed, and near them when a long one is', async () => {
    const redis = await startRedis()
    const cli: Cli = (...words) => redis.cli(...words)
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    for (const size of [3, 40, 1_100]) {
      const ref = acme(`trimmed-${size}`)
      const texts = Array.from({ length: size * 2 }, () => 'x'.repeat(700))
      const history = { ...wide, size }
      await Promise.all(texts.map((text) => publish(opened, text, { ref, history })))
      for (let n = 0; n < 60; n += 1) await publish(opened, 'x'.repeat(700), { ref, history })
      const used = Number(await cli('MEMORY', 'USAGE', streamKey(ref), 'SAMPLES', '0'))
      const counted = Number(await cli('HGET', storedBytesKey('acme', partitionOf(ref)), ref.channel))
      expect(counted).toBeGreaterThan(used * 0.85)
      expect(counted).toBeLessThan((used + 500) * 1.5)
    }
  })

  test('heal after Redis was emptied, and after a stream was deleted by hand', async () => {
    const redis = await startRedis()
    const cli: Cli = (...words) => redis.cli(...words)
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const { storage } = opened.broker
    storage.govern(governed(wide))
    await publish(opened, 'x'.repeat(30_000))
    expect(storage.storedBytes('acme')).toBeGreaterThan(30_000)
    await cli('DEL', streamKey(general))
    await cli('ZADD', sweepKey(partitionOf(general)), '0', 'acme general')
    await until('a count without the stream', async () => (await countedBytes(cli, general)) === 0, deadline)
    await publish(opened, 'x'.repeat(30_000))
    await cli('FLUSHALL')
    expect(await until('no bytes', async () => storage.storedBytes('acme') === 0, deadline)).toBe(true)
  })

  test('are read again after the scripts of Redis were flushed, and forgotten for other tenants', async () => {
    const redis = await startRedis()
    const url = `redis://127.0.0.1:${redis.port}`
    const [one, other] = [open(url), open(url)]
    const { storage } = one.broker
    storage.govern(governed(wide, ['acme', 'other']))
    const sum = (tenantId: string) => storage.storedBytes(tenantId) ?? 0
    const foreign = { tenantId: 'other', channel: 'general' }
    await publish(other, 'x'.repeat(30_000))
    await publish(other, 'x'.repeat(30_000), { ref: foreign })
    await until('two sums', async () => sum('acme') > 30_000 && sum('other') > 30_000, deadline)
    await redis.cli('SCRIPT', 'FLUSH')
    await publish(other, 'x'.repeat(30_000), { ref: acme('more') })
    await until('a new sum', async () => sum('acme') > 60_000, deadline)
    storage.govern(governed(wide))
    expect(await until('one sum', async () => storage.storedBytes('other') === undefined, deadline)).toBe(
      true,
    )
    expect(sum('acme')).toBeGreaterThan(60_000)
  })

  test('a tenant that publishes through two gateways exceeds its quota by two seconds of its rate at most', async () => {
    const redis = await startRedis()
    const url = `redis://127.0.0.1:${redis.port}`
    const gateways = [open(url), open(url)]
    const [storedBytesMax, perSecond, bytes] = [2_000_000, 50, 16_000]
    const policies: HistoryPolicies = {
      historyOf: () => ({ size: 1_000, ttlMs: 3_600_000 }),
      tenants: () => [{ tenantId: 'acme', storedBytesMax, publishBytesPerSecond: perSecond * bytes }],
    }
    for (const { broker } of gateways) broker.storage.govern(policies)
    const text = 'x'.repeat(bytes)
    const start = performance.now()
    let stored = 0
    const isFull = ({ broker }: TestRedisBroker) =>
      (broker.storage.storedBytes('acme') ?? 0) >= storedBytesMax
    for (let n = 0; !gateways.every(isFull); n += 1) {
      if (n > 2_000) throw new Error('the quota was never reached')
      // Publishes at the rate of the tenant, evenly.
      const waitMs = start + (n * 1_000) / perSecond - performance.now()
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      const gateway = gateways[n % 2]
      if (!gateway || isFull(gateway)) continue
      await publish(gateway, text, {
        ref: acme(`channel-${n % 40}`),
        history: { size: 1_000, ttlMs: 3_600_000 },
      })
      stored += 1
    }
    const sum = Math.max(...gateways.map(({ broker }) => broker.storage.storedBytes('acme') ?? 0))
    expect(stored).toBeGreaterThan(50)
    expect(sum).toBeLessThan(storedBytesMax + 2 * perSecond * bytes * 1.25)
  })

  test('survive a failover: the new master has the counts of its streams', async () => {
    const trio = await startSentinelTrio()
    const opened = open(trio.url)
    opened.broker.storage.govern(governed(wide))
    for (let n = 0; n < 5; n += 1) await publish(opened, 'x'.repeat(10_000))
    const master = await trio.master()
    const before = await countedBytes((...words) => master.cli(...words), general)
    expect(before).toBeGreaterThan(50_000)
    await master.kill()
    const now = await until(
      'another master',
      async () => {
        const node = await trio.master().catch(() => undefined)
        return node !== undefined && node !== master && node
      },
      deadline,
    )
    expect(await countedBytes((...words) => now.cli(...words), general)).toBe(before)
    await publish(opened, 'x'.repeat(10_000))
    expect(opened.broker.storage.storedBytes('acme')).toBeGreaterThan(before + 10_000)
  })

  test('are summed over the shards of a Cluster, whose idle channels are swept too', async () => {
    const cluster = await startRedisCluster({ replicasPerMaster: 0 })
    const opened = open(cluster.url)
    const other = open(cluster.url)
    for (const { broker } of [opened, other]) broker.storage.govern(governed(undefined))
    const refs = Array.from({ length: 30 }, (_, n) => acme(`room-${n}`))
    const history = { size: 10, ttlMs: 3_000 }
    await Promise.all(refs.map((ref) => publish(opened, 'x'.repeat(10_000), { ref, history })))
    const sum = () => other.broker.storage.storedBytes('acme') ?? 0
    await until('the sum of all shards', async () => sum() > 300_000, deadline)
    expect(await until('no data', async () => sum() < 50_000, deadline)).toBe(true)
  })
})

describe('a repeat with the same key', () => {
  test('announces the stored publication when its gateway died before it announced it', async () => {
    const redis = await startRedis()
    const url = `redis://127.0.0.1:${redis.port}`
    const [dying, repeating, subscribed] = [open(url), open(url), open(url)]
    const listener = new RecordingListener(10_000)
    subscribed.broker.listen(listener)
    await publish(dying, 'before')
    await subscribed.broker.subscribe(general)
    // Like a gateway that dies between the two: its messages are never sent.
    await redis.cli('ACL', 'SETUSER', 'default', '-publish')
    const first = await publish(dying, 'once', { idempotencyKey: 'k' })
    await dying.links.get('publisher')?.current?.client.quit()
    await dying.close()
    await redis.cli('ACL', 'SETUSER', 'default', '+publish')
    expect(listener.textsOn(general)).toEqual([])
    const startMs = performance.now()
    const again = await publish(repeating, 'once', { idempotencyKey: 'k' })
    expect(again).toEqual({ ...first, repeated: true })
    await listener.untilText(general, '"once"')
    // The comparison of every subscribed channel would find it after 20 s at the earliest.
    expect(performance.now() - startMs).toBeLessThan(15_000)
    const { publications } = await repeating.broker.history(general, { limit: 10 })
    expect(listener.on(general).at(-1)).toEqual(publications.at(-1))
  })
})

describe('the clock of Redis', () => {
  const skewed = (byMs: number) => ({
    epochMs: () => systemClock.epochMs() + byMs,
    monotonicMs: () => systemClock.monotonicMs(),
  })

  test('stamps publications and decides about their expiry, whatever the clocks of gateways say', async () => {
    const redis = await startRedis()
    const url = `redis://127.0.0.1:${redis.port}`
    const ahead = open(url, { clock: skewed(3_600_000) })
    const behind = open(url, { clock: skewed(-3_600_000) })
    const listener = new RecordingListener(10_000)
    behind.broker.listen(listener)
    await behind.broker.subscribe(general)
    const history = { size: 10, ttlMs: 20_000 }
    for (const gateway of [ahead, behind]) {
      await publish(gateway, 'stored', { history })
      await publish(gateway, 'keyed', { history, idempotencyKey: 'k' + (gateway === ahead) })
      await gateway.broker.publish(general, { data: Buffer.from('"ephemeral"') }, {})
    }
    await listener.untilCount(general, 6)
    const nowMs = Date.now()
    for (const { timeMs } of listener.on(general)) expect(Math.abs(nowMs - timeMs)).toBeLessThan(15_000)
    for (const { broker } of [ahead, behind])
      expect((await broker.history(general, { limit: 10 })).publications).toHaveLength(4)
  })
})

describe('when Redis is almost full', () => {
  test('publications are refused, and what is left serves the control channel of the gateways', async () => {
    const redis = await startRedis()
    const cli: Cli = (...words) => redis.cli(...words)
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const { broker } = opened
    await publish(opened, 'one')
    const used = Number(/^used_memory:(\d+)/m.exec(await cli('INFO', 'memory'))?.[1])
    await cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
    await cli('CONFIG', 'SET', 'maxmemory', String(Math.round(used * 1.02)))
    await until('the reserve', async () => broker.storage.memory()?.reserved === true, deadline)
    await expect(publish(opened, 'two')).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      temporary: true,
    })
    await broker.publish(general, { data: Buffer.from('"ephemeral"') }, {})
    // Now Redis is over its limit: only scripts with the flag `allow-oom` run.
    await cli('CONFIG', 'SET', 'maxmemory', '1000000')
    expect(await cli('SET', 'x', 'y')).toContain('OOM')
    const control = { tenantId: '$gateways', channel: 'control' }
    for (const word of ['a', 'b']) await publish(opened, word, { ref: control })
    await publish(opened, 'keyed', { ref: control, idempotencyKey: 'k' })
    expect((await broker.history(control, { limit: 10 })).publications).toHaveLength(3)
    expect((await broker.history(general, { limit: 10 })).publications).toHaveLength(1)
    await broker.removeHistory(general)
    await cli('CONFIG', 'SET', 'maxmemory', '0')
    await until('the end of the reserve', async () => broker.storage.memory()?.reserved === false, deadline)
    await publish(opened, 'three')
  })

  test('a gateway can connect, and open its generations', async () => {
    const redis = await startRedis()
    await redis.cli('CONFIG', 'SET', 'maxmemory', '500000')
    const opened = open(`redis://127.0.0.1:${redis.port}`)
    const control = { tenantId: '$gateways', channel: 'control' }
    expect((await publish(opened, 'a', { ref: control })).position?.offset).toBe(1)
    expect(channelTopic(control)).toContain('$gateways')
  })
})
