// Tests of the count of connections while Redis is unavailable, and after it is available again.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import {
  endLedgers,
  heldBy,
  connectionsIn,
  acquireMany,
  startLedger,
  startLedgers,
  type LedgerGateway,
} from '../support/redis-ledger.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let gateways: LedgerGateway[]

const wide = { max: 10_000, perUser: 10_000, guests: 10_000 }

beforeEach(async () => {
  redis = await startRedis()
  gateways = await startLedgers(3, `redis://127.0.0.1:${redis.port}`)
})
afterEach(async () => {
  await endLedgers()
  await redis.kill()
})
afterAll(() => endRedisProcesses())

async function reopened(): Promise<void> {
  for (const { link } of gateways) await link.ready(10_000)
}

const lost = (): Promise<unknown> =>
  until('the loss of all links', () => Promise.resolve(gateways.every(({ link }) => !link.current)))

test('each gateway admits up to its equal part, and each user up to the limit', async () => {
  await redis.kill()
  const limits = { max: 100, perUser: 1_000, guests: 10_000 }
  expect(await acquireMany(gateways, 600, { limits })).toBe(3 * 34)
  expect(gateways.map(({ lease }) => lease.held)).toEqual([34, 34, 34])
  const [one] = gateways
  expect(await one?.lease.acquire('user 0', { max: 1_000, perUser: 1, guests: 10_000 })).toMatchObject({
    limit: 'user',
  })
})

test('guests get their equal part at each gateway, and signed-in users the rest', async () => {
  const limits = { max: 300, perUser: 1_000, guests: 30 }
  await acquireMany(gateways, 12, { limits, user: (n) => `guest:${n}` })
  await redis.kill()
  expect(await acquireMany(gateways, 90, { limits, user: (n) => `guest:${n}` })).toBe(18)
  expect(gateways.map(({ lease }) => lease.guests)).toEqual([10, 10, 10])
  const [one] = gateways
  expect(await one?.lease.acquire('guest:x', limits)).toEqual({
    admitted: false,
    limit: 'guests',
    used: 10,
    share: 10,
  })
  expect(await acquireMany(gateways, 600, { limits })).toBe(270)
})

test('the first admission waits a second for Redis, and later ones do not wait', async () => {
  await redis.kill()
  await lost()
  const [one] = gateways
  const startMs = performance.now()
  expect(await one?.lease.acquire('ann', wide)).toEqual({ admitted: true })
  const firstMs = performance.now() - startMs
  expect(await one?.lease.acquire('ann', wide)).toEqual({ admitted: true })
  const secondMs = performance.now() - startMs - firstMs
  expect(firstMs).toBeGreaterThan(900)
  expect(firstMs).toBeLessThan(5_000)
  // A second wait would take a second.
  expect(secondMs).toBeLessThan(900)
})

test('an admission does not wait longer for a Redis that does not answer', async () => {
  const [one] = gateways
  redis.stop()
  try {
    const startMs = performance.now()
    expect(await one?.lease.acquire('ann', wide)).toEqual({ admitted: true })
    expect(performance.now() - startMs).toBeLessThan(5_000)
  } finally {
    redis.cont()
  }
  await reopened()
  await until('the connection is counted once', async () => {
    await one?.ledger.sync()
    return String(await connectionsIn(redis)) === '1'
  })
})

test('a connection that Redis reserves too late is released', async () => {
  const [one] = gateways
  const narrow = { max: 3, perUser: 3, guests: 10_000 }
  await one?.lease.acquire('ann', narrow)
  redis.stop()
  try {
    // The gateway's part of the limit of three is one, while Redis would still admit two.
    expect(await one?.lease.acquire('bob', narrow)).toMatchObject({ admitted: false, share: 1 })
  } finally {
    redis.cont()
  }
  await until('the connection is counted once', async () => String(await connectionsIn(redis)) === '1')
  expect(await gateways[1]?.lease.check('bob', { max: 9, perUser: 1, guests: 10_000 })).toEqual({
    admitted: true,
  })
})

test('stale counts of this gateway in Redis are replaced when the link opens again', async () => {
  const [one, two] = gateways
  await one?.lease.acquire('ann', wide)
  const [users = ''] = (await redis.cli('KEYS', '*lease:users*')).split('\n')
  await redis.cli('HSET', users, 'dan', '1')
  expect(await two?.lease.check('dan', { max: 9, perUser: 1, guests: 10_000 })).toMatchObject({
    limit: 'user',
  })
  await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal')
  await until('the counts are written again', async () => {
    await two?.link.ready(1_000)
    return (await two?.lease.check('dan', { max: 9, perUser: 1, guests: 10_000 }))?.admitted
  })
  expect(await two?.lease.check('ann', { max: 9, perUser: 1, guests: 10_000 })).toMatchObject({
    limit: 'user',
  })
})

test('a refusal states that this gateway’s share is used up', async () => {
  await redis.kill()
  const [one] = gateways
  const limits = { max: 4, perUser: 1, guests: 10_000 }
  for (const user of ['ann', 'bob']) await one?.lease.acquire(user, limits)
  expect(await one?.lease.acquire('eve', limits)).toEqual({
    admitted: false,
    limit: 'tenant',
    used: 2,
    share: 2,
  })
  expect(await one?.lease.check('eve', limits)).toEqual({
    admitted: false,
    limit: 'tenant',
    used: 2,
    share: 2,
  })
  expect(await one?.lease.acquire('ann', { max: 9, perUser: 1, guests: 10_000 })).toEqual({
    admitted: false,
    limit: 'user',
    used: 1,
  })
})

test('a Redis that restarts empty gets all counts again, including the changes meanwhile', async () => {
  await acquireMany(gateways, 1_800, { limits: wide })
  await redis.kill()
  await lost()
  const [one] = gateways
  for (let n = 0; n < 300; n += 3) one?.lease.release(`user ${n}`)
  one?.lease.reserve('mia')
  await redis.start()
  await reopened()
  await until('all counts are written', async () => String(await connectionsIn(redis)) === '501,600,600')
  // The last of many users are written a little later than the total.
  const isCounted = async (user: string): Promise<boolean> =>
    !(await gateways[1]?.lease.check(user, { max: 9_999, perUser: 1, guests: 10_000 }))?.admitted
  await until('the last users are written', () => isCounted('user 1797'))
  expect(await Promise.all(['mia', 'user 0', 'user 1798'].map(isCounted))).toEqual([true, false, true])
})

test('right after Redis restarted empty, no gateway admits more than its equal part', async () => {
  const limits = { max: 90, perUser: 90, guests: 10_000 }
  await acquireMany(gateways, 90, { limits })
  await redis.kill()
  await lost()
  await redis.start()
  const trying = gateways.map(async ({ lease, link }) => {
    await link.ready(10_000)
    for (let n = 0; n < 50; n += 1) await lease.acquire(`late ${n}`, limits)
  })
  await Promise.all(trying)
  expect(heldBy(gateways)).toBe(90)
})

test('connections released while Redis was unavailable are free afterwards', async () => {
  const [one, two] = gateways
  const narrow = { max: 1, perUser: 1, guests: 10_000 }
  await one?.lease.acquire('ann', narrow)
  await redis.kill()
  await lost()
  one?.lease.release('ann')
  await redis.start()
  await reopened()
  await until('the connection is free', async () => (await two?.lease.acquire('bob', narrow))?.admitted)
  await sleep(50)
  expect(await connectionsIn(redis)).toEqual([1])
})

test('a gateway decides locally for a tenant that was never counted in Redis', async () => {
  const url = `redis://127.0.0.1:${redis.port}`
  const gateway = await startLedger(url)
  await redis.kill()
  expect(await gateway.open('t9').acquire('ann', { max: 1, perUser: 1, guests: 10_000 })).toEqual({
    admitted: true,
  })
})
