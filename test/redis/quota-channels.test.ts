// Tests of the channels of several gateways, which are counted in a real Redis.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaseKey, quotasTag } from '../../src/redis/keys.js'
import type { ChannelLimits } from '../../src/quota/ledger.js'
import { redisKinds, startRedisOf } from '../support/redis-cluster.js'
import { endLedgers, startLedgers, TestChannels, type LedgerGateway } from '../support/redis-ledger.js'
import { endRedisProcesses, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let url = ''
let gateways: LedgerGateway[]
let all: TestChannels[]

const wide = { max: 1_000, subscribers: 1_000 }

async function start(
  count: number,
  limits: Partial<ChannelLimits>,
  options: Parameters<typeof startLedgers>[2] = {},
): Promise<[TestChannels, TestChannels, TestChannels]> {
  gateways = await startLedgers(count, url, options)
  all = gateways.map((gateway) => new TestChannels(gateway, { ...wide, ...limits }))
  return all as [TestChannels, TestChannels, TestChannels]
}

const synced = async (): Promise<void> => {
  for (const { ledger } of gateways) await ledger.sync()
}

/** Resolves with how many subscriptions were admitted. */
async function subscribeMany(count: number, channel: (n: number) => string): Promise<number> {
  const answers = await Promise.all(
    Array.from({ length: count }, async (_, n) => all[n % all.length]?.subscribe(channel(n))),
  )
  return answers.filter((limit) => limit === undefined).length
}

afterEach(() => endLedgers())
afterAll(() => endRedisProcesses())

describe.each(redisKinds)('on %s', (kind) => {
  beforeAll(async () => {
    ;({ redis, url } = await startRedisOf(kind, quotasTag))
  })
  beforeEach(async () => {
    await redis.cli('FLUSHALL')
  })

  test('of a thousand different channels at three gateways, exactly as many are admitted as the limit allows', async () => {
    const [one] = await start(3, { max: 100 })
    expect(await subscribeMany(1_000, (n) => `room:${n}`)).toBe(100)
    expect(one.usedByAll).toBe(100)
  })

  test('a channel that another gateway uses counts once and is never refused', async () => {
    const [one, two] = await start(2, { max: 2 })
    expect(await one.subscribe('a')).toBeUndefined()
    expect(await two.subscribe('b')).toBeUndefined()
    expect([await one.subscribe('c'), await two.publish('d', 60_000)]).toEqual(['max', 'max'])
    expect([await one.subscribe('b'), await two.publish('a', 60_000)]).toEqual([undefined, undefined])
    expect([one.usedByAll, two.usedByAll]).toEqual([2, 2])
  })

  test('a channel counts until no gateway uses it', async () => {
    const [one, two] = await start(2, { max: 1 })
    for (const channels of [one, two]) expect(await channels.subscribe('a')).toBeUndefined()
    one.leave('a')
    await synced()
    expect(await one.subscribe('b')).toBe('max')
    two.leave('a')
    await synced()
    expect(await one.subscribe('b')).toBeUndefined()
  })

  test('the channels of a killed gateway count for a limited time, but not those that others use too', async () => {
    const [one, two] = await start(2, { max: 2 }, { timing: { connectionsTtlMs: 4_000, refreshMs: 100 } })
    for (const channel of ['a', 'b']) await one.subscribe(channel)
    await two.subscribe('b')
    await gateways[0]?.kill()
    gateways = gateways.slice(1)
    expect(await two.subscribe('c')).toBe('max')
    await until('the channel of the killed gateway does not count', async () => {
      await synced()
      return (await two.subscribe('c')) === undefined
    })
    expect(await two.subscribe('d')).toBe('max')
  })

  test('a channel with history counts without subscribers, also after its gateway was killed', async () => {
    const [one, two] = await start(2, { max: 1 }, { timing: { connectionsTtlMs: 500, refreshMs: 100 } })
    expect(await one.publish('past', 60_000)).toBeUndefined()
    await synced()
    await gateways[0]?.kill()
    gateways = gateways.slice(1)
    await until('the gateway does not count', async () => {
      const key = leaseKey('t1', 'holders')
      return (await redis.cli('EVAL', "return redis.call('EXISTS', KEYS[1])", '1', key)) === '0'
    })
    expect(await two.subscribe('b')).toBe('max')
    expect(await two.subscribe('past')).toBeUndefined()
    two.leave('past')
    await synced()
    expect(await two.subscribe('b')).toBe('max')
  })

  test('a channel is free when its history has expired', async () => {
    const [one, two] = await start(2, { max: 1 })
    expect(await one.publish('past', 300)).toBeUndefined()
    expect(await two.subscribe('b')).toBe('max')
    await until('the channel is free', async () => {
      await synced()
      return (await two.subscribe('b')) === undefined
    })
  })

  test('a channel has at most a twentieth more subscribers than its limit, whatever comes at once', async () => {
    await start(3, { subscribers: 200 })
    for (let round = 0; round < 5; round += 1) await subscribeMany(30, () => 'talk')
    const admitted = 150 + (await subscribeMany(300, () => 'talk'))
    expect(admitted).toBeGreaterThanOrEqual(200)
    expect(admitted).toBeLessThanOrEqual(210)
    for (const channels of all) expect(await channels.subscribe('talk')).toBe('subscribers')
    all[0]?.leave('talk')
    for (let left = 0; left < 15; left += 1) all[1]?.leave('talk')
    await synced()
    expect(await all[2]?.subscribe('talk')).toBeUndefined()
  })

  test('a small limit of subscribers is exact', async () => {
    await start(3, { subscribers: 7 })
    expect(await subscribeMany(60, () => 'talk')).toBe(7)
  })

  test('subscribers of a channel that this gateway uses do not wait for Redis', async () => {
    const [one] = await start(1, {})
    expect(one.waits('talk')).toBe(true)
    await one.subscribe('talk')
    expect(one.waits('talk')).toBe(false)
  })

  test('what is not enforced is counted', async () => {
    const [one, two] = await start(2, { max: 1 })
    await one.subscribe('a')
    await one.subscribeAnyway('b')
    await synced()
    expect([await two.subscribe('c'), await two.subscribe('b')]).toEqual(['max', undefined])
    expect(two.usedByAll).toBe(2)
  })

  test('publications of a channel are admitted in their order', async () => {
    const [one] = await start(1, {})
    const order: number[] = []
    const publishes = Array.from({ length: 50 }, async (_, n) => {
      // They arrive while requests of earlier ones are under way.
      await new Promise((resolve) => setTimeout(resolve, n / 10))
      await one.publish('past', 60_000)
      order.push(n)
    })
    await Promise.all(publishes)
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  })

  test('tenants are counted apart, and nothing is left of a tenant that has left', async () => {
    const [one] = await start(1, { max: 1 })
    const [gateway] = gateways
    if (!gateway) throw new Error('no gateway')
    const other = new TestChannels(gateway, { max: 1, subscribers: 1 }, 't2')
    expect([await one.subscribe('a'), await other.subscribe('b')]).toEqual([undefined, undefined])
    one.leave('a')
    other.leave('b')
    await synced()
    for (const tenant of ['t1', 't2'])
      for (const key of ['channels', 'holders'])
        expect(await redis.cli('EXISTS', leaseKey(tenant, key))).toBe('0')
  })
})

describe('while Redis is unavailable', () => {
  beforeEach(async () => {
    ;({ redis, url } = await startRedisOf('one Redis', quotasTag))
  })

  test('a gateway decides by what it knew, and its channels are counted again afterwards', async () => {
    const [one, two] = await start(2, { max: 3 })
    for (const channel of ['a', 'b']) await one.subscribe(channel)
    await two.subscribe('a')
    await synced()
    await redis.kill()
    await until('the loss of the links', () => Promise.resolve(gateways.every(({ link }) => !link.current)))
    expect([await two.subscribe('a'), await two.subscribe('c'), await two.subscribe('d')]).toEqual([
      undefined,
      undefined,
      'max',
    ])
    await redis.restart()
    for (const { link } of gateways) await link.ready(10_000)
    await until('all channels count again', async () => {
      await synced()
      return one.usedByAll === 3 && two.usedByAll === 3
    })
    expect([await one.subscribe('c'), await one.subscribe('e')]).toEqual([undefined, 'max'])
  })
})
