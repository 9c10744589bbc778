// Tests of the connections of several gateways, which are counted in a real Redis.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { chatAs, chatUrl, leave, plainGet, refusedUpgrade } from '../support/chat-client.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { generousLimits, tenantPolicy } from '../support/policies.js'
import {
  endLedgers,
  heldBy,
  connectionsIn,
  acquireMany,
  startLedger,
  startLedgers,
  type LedgerGateway,
} from '../support/redis-ledger.js'
import { redisKinds, startRedisOf } from '../support/redis-cluster.js'
import { endRedisProcesses, until, type RedisProcess } from '../support/redis-processes.js'
import { leaseKey, quotasTag } from '../../src/redis/keys.js'
import { ledgerContract } from '../../src/quota/ledger.contract.js'

let redis: RedisProcess
let url = ''

beforeEach(async () => {
  await redis.cli('FLUSHALL')
})
afterEach(() => endLedgers())
afterAll(() => endRedisProcesses())

const wide = { max: 10_000, perUser: 10_000, guests: 10_000 }

describe.each(redisKinds)('on %s', (kind) => {
  beforeAll(async () => {
    ;({ redis, url } = await startRedisOf(kind, quotasTag))
  })

  ledgerContract('RedisLedger', () => startLedger(url))

  describe('connections', () => {
    test('of a thousand concurrent requests at three gateways, exactly as many are admitted as the limit allows', async () => {
      const gateways = await startLedgers(3, url)
      expect(await acquireMany(gateways, 1_000, { limits: { max: 333, perUser: 1, guests: 10_000 } })).toBe(
        333,
      )
      expect(heldBy(gateways)).toBe(333)
    })

    test('of a thousand concurrent requests of one user, exactly as many are admitted as a user may have', async () => {
      const gateways = await startLedgers(3, url)
      const limits = { max: 1_000, perUser: 10, guests: 10_000 }
      expect(await acquireMany(gateways, 1_000, { limits, user: () => 'ann' })).toBe(10)
    })

    test('of a thousand concurrent guests at three gateways, exactly as many are admitted as their share', async () => {
      const gateways = await startLedgers(3, url)
      const limits = { max: 600, perUser: 1, guests: 200 }
      const user = (n: number): string => (n % 2 === 0 ? `guest:${n}` : `user ${n}`)
      expect(await acquireMany(gateways, 1_000, { limits, user })).toBe(600)
      expect(gateways.reduce((sum, { lease }) => sum + lease.guests, 0)).toBe(200)
    })

    test('of guests are free when they leave, and when their gateway is killed', async () => {
      const timing = { connectionsTtlMs: 8_000, refreshMs: 100 }
      const limits = { max: 100, perUser: 1, guests: 4 }
      const [one, two] = await startLedgers(2, url, { timing })
      const guests = ['guest:a', 'guest:b', 'guest:c', 'guest:d']
      for (const guest of guests) await one?.lease.acquire(guest, limits)
      expect(await two?.lease.acquire('guest:x', limits)).toMatchObject({ limit: 'guests', used: 4 })
      one?.lease.release('guest:a')
      await one?.ledger.sync()
      expect(await two?.lease.acquire('guest:x', limits)).toEqual({ admitted: true })
      expect(await two?.lease.acquire('guest:y', limits)).toMatchObject({ limit: 'guests', used: 4 })
      await one?.kill()
      await until('the guests of the killed gateway are free', async () => {
        await two?.ledger.sync()
        return (await two?.lease.acquire('guest:y', limits))?.admitted
      })
      await until('they are removed', async () => {
        await two?.ledger.sync()
        return (await redis.cli('HLEN', leaseKey('t1', 'guests'))) === '1'
      })
      for (const guest of ['guest:x', 'guest:y']) two?.lease.release(guest)
      await two?.ledger.sync()
      expect(await redis.cli('EXISTS', leaseKey('t1', 'guests'))).toBe('0')
    })

    test('of guests at a gateway of an earlier version, which counts no guests, count as connections', async () => {
      const [one] = await startLedgers(1, url)
      const expiry = Date.now() + 60_000
      await redis.cli('HSET', leaseKey('t1', 'connections'), 'earlier', `${expiry} 3`)
      const limits = { max: 5, perUser: 1, guests: 2 }
      expect(await one?.lease.acquire('guest:a', limits)).toEqual({ admitted: true })
      expect(await one?.lease.acquire('guest:b', limits)).toEqual({ admitted: true })
      expect(await one?.lease.acquire('ann', limits)).toMatchObject({ limit: 'tenant', used: 5 })
    })

    test('concurrent connects and disconnects never exceed the limit and leave nothing counted', async () => {
      const gateways = await startLedgers(3, url)
      const limits = { max: 40, perUser: 5, guests: 10_000 }
      let most = 0
      const guest = async (n: number): Promise<void> => {
        const lease = gateways[n % 3]?.lease
        for (let round = 0; round < 15; round += 1) {
          const user = `user ${(n * 7 + round) % 25}`
          if (!(await lease?.acquire(user, limits))?.admitted) continue
          most = Math.max(most, heldBy(gateways))
          await sleep(Math.random() * 4)
          lease?.release(user)
        }
      }
      await Promise.all(Array.from({ length: 90 }, (_, n) => guest(n)))
      expect(most).toBeLessThanOrEqual(40)
      expect(most).toBeGreaterThan(30)
      for (const { ledger } of gateways) await ledger.sync()
      expect(await connectionsIn(redis)).toEqual([])
      expect(await redis.cli('KEYS', '*lease:users*')).toBe('')
    })

    test('requests of one batch are decided in order, each by its own limits', async () => {
      const [one, two] = await startLedgers(2, url)
      await two?.lease.acquire('bob', wide)
      const acquire = (user: string, limits = { max: 4, perUser: 1, guests: 10_000 }) =>
        one?.lease.acquire(user, limits)
      const answers = [acquire('ann'), acquire('ann'), acquire('bob'), acquire('eve'), acquire('ann', wide)]
      expect(await Promise.all([...answers, acquire('joe'), acquire('joe', wide)])).toEqual([
        { admitted: true },
        { admitted: false, limit: 'user', used: 1 },
        { admitted: false, limit: 'user', used: 1 },
        { admitted: true },
        { admitted: true },
        { admitted: false, limit: 'tenant', used: 4 },
        { admitted: true },
      ])
    })

    test('a refusal states the number of connections in the cluster', async () => {
      const gateways = await startLedgers(2, url)
      const [one, two] = gateways
      await one?.lease.acquire('ann', wide)
      await one?.lease.acquire('ann', wide)
      await two?.lease.acquire('bob', wide)
      expect(await two?.lease.acquire('eve', { max: 3, perUser: 9, guests: 10_000 })).toEqual({
        admitted: false,
        limit: 'tenant',
        used: 3,
      })
      expect(await two?.lease.acquire('ann', { max: 9, perUser: 2, guests: 10_000 })).toEqual({
        admitted: false,
        limit: 'user',
        used: 2,
      })
      expect(await two?.lease.check('ann', { max: 9, perUser: 2, guests: 10_000 })).toMatchObject({ used: 2 })
      expect(two?.lease.heldByAll).toBe(3)
    })

    test('of a killed gateway are free after they have expired', async () => {
      // The time to live is long enough for a busy machine to send a request before the connections expire.
      const timing = { connectionsTtlMs: 8_000, refreshMs: 100 }
      const [one, two] = await startLedgers(2, url, { timing })
      await acquireMany([one as LedgerGateway], 5, { limits: wide })
      await one?.kill()
      expect(await two?.lease.acquire('mia', { max: 5, perUser: 1, guests: 10_000 })).toMatchObject({
        used: 5,
      })
      await until('its connections are free', async () => {
        await two?.ledger.sync()
        return (await two?.lease.acquire('user 0', { max: 5, perUser: 1, guests: 10_000 }))?.admitted
      })
      // The connections may have expired between the sync and the request; the next refresh removes them.
      await until('its connections are removed', async () => {
        await two?.ledger.sync()
        return (await connectionsIn(redis)).length === 1
      })
      expect(await connectionsIn(redis)).toEqual([1])
    })

    test('of a running gateway count as long as it refreshes them', async () => {
      const timing = { connectionsTtlMs: 8_000, refreshMs: 100 }
      const [one, two] = await startLedgers(2, url, { timing })
      await acquireMany([one as LedgerGateway], 5, { limits: wide })
      for (let turn = 0; turn < 8; turn += 1) {
        await sleep(1_200)
        await one?.ledger.sync()
      }
      expect(await two?.lease.acquire('mia', { max: 5, perUser: 1, guests: 10_000 })).toMatchObject({
        used: 5,
      })
      expect(await two?.lease.check('user 0', { max: 9, perUser: 1, guests: 10_000 })).toMatchObject({
        limit: 'user',
      })
    })

    test('that Redis counts wrongly are correct after the next refresh', async () => {
      const [one, two] = await startLedgers(2, url, { timing: { refreshMs: 0 } })
      await one?.lease.acquire('ann', wide)
      const [users = ''] = (await redis.cli('KEYS', '*lease:users*')).split('\n')
      await redis.cli('HSET', users, 'ann', '7')
      const connections = leaseKey('t1', 'connections')
      const [gateway = '', entry = ''] = (await redis.cli('HGETALL', connections)).split('\n')
      await redis.cli('HSET', connections, gateway, `${entry.split(' ')[0]} 9`)
      expect(await two?.lease.acquire('ann', { max: 9, perUser: 9, guests: 10_000 })).toMatchObject({
        used: 9,
      })
      await one?.ledger.sync()
      expect(await two?.lease.acquire('ann', { max: 2, perUser: 2, guests: 10_000 })).toEqual({
        admitted: true,
      })
    })

    test('that Redis has lost are counted again after the next refresh', async () => {
      const [one, two] = await startLedgers(2, url, { timing: { refreshMs: 0 } })
      await acquireMany([one as LedgerGateway], 1_700, { limits: wide })
      await redis.cli('FLUSHALL')
      await one?.ledger.sync()
      expect(await connectionsIn(redis)).toEqual([1_700])
      expect(await two?.lease.check('user 1699', { max: 9_999, perUser: 1, guests: 10_000 })).toMatchObject({
        limit: 'user',
      })
    })

    test('stay counted when a closed lease of the tenant is opened again', async () => {
      const gateway = await startLedger(url)
      await gateway.lease.acquire('ann', wide)
      gateway.lease.close()
      const again = gateway.open('t1')
      expect(await again.acquire('bob', { max: 1, perUser: 1, guests: 10_000 })).toMatchObject({ used: 1 })
      again.release('ann')
      expect(await again.acquire('bob', { max: 1, perUser: 1, guests: 10_000 })).toEqual({ admitted: true })
    })

    test('of a closed gateway are free immediately', async () => {
      const [one, two] = await startLedgers(2, url)
      await one?.lease.acquire('ann', wide)
      one?.lease.release('ann')
      await one?.close()
      expect(await two?.lease.acquire('bob', { max: 1, perUser: 1, guests: 10_000 })).toEqual({
        admitted: true,
      })
    })
  })

  test('two gateways share one quota: a connection refused at one is refused at the other', async () => {
    const policy = tenantPolicy({
      limits: {
        ...generousLimits,
        connections: { ...generousLimits.connections, max: 3, perUser: 2, guests: 10_000 },
      },
    })
    const ledgers = await startLedgers(2, url)
    const [one, two] = await Promise.all(ledgers.map(({ ledger }) => startGateway([policy], { ledger })))
    if (!one || !two) throw new Error('two were started')
    onTestFinished(async () => {
      await Promise.all([one.stop(), two.stop()])
    })
    const ann = await chatAs(one, 'ann')
    await chatAs(two, 'ann')
    expect(await refusedAt(one, 'ann')).toMatchObject({
      status: 429,
      body: { code: 'CONNECTION_LIMIT', message: 'Cannot connect: 2 of 2 connections of this user are used' },
    })
    await chatAs(two, 'bob')
    const full = {
      code: 'CONNECTION_LIMIT',
      message: 'Cannot connect: 3 of 3 connections of the tenant are used',
    }
    for (const gateway of [one, two]) {
      expect(await refusedAt(gateway, 'eve')).toMatchObject({ status: 429, body: full })
      const endpoint = `${gateway.http}/demo/acme/ws?token=${await gateway.token('eve')}`
      expect(await plainGet(endpoint)).toMatchObject({ status: 429, body: full })
    }
    await leave(ann, one)
    await until('the connection is free', async () => (await chatAs(two, 'eve')) !== undefined)
  })
})

const refusedAt = async (gateway: TestGateway, user: string) =>
  refusedUpgrade(`${chatUrl(gateway)}?token=${await gateway.token(user)}`)
