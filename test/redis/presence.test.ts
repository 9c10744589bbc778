// Tests of presence on a real Redis: the contract, and behaviour that needs a server and several gateways.
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { ClientInfo } from '../../src/broker/broker.js'
import type { CommandError } from '../../src/errors.js'
import { presenceContract, type OpenedPresences } from '../../src/presence/presence.contract.js'
import { presenceTtlMs } from '../../src/presence/presence.js'
import type { RedisPresenceOptions } from '../../src/presence/redis/presence.js'
import { presenceKeys } from '../../src/redis/keys.js'
import { neededGrants } from '../../src/redis/permissions.js'
import { startRedisCluster, type RedisCluster } from '../support/redis-cluster.js'
import { openTestPresence, type TestPresence } from '../support/redis-presence.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess

beforeAll(async () => {
  redis = await startRedis()
})

afterAll(async () => {
  await endRedisProcesses()
})

function startGateway(
  options: Partial<RedisPresenceOptions> = {},
  { port = redis.port, login = '' } = {},
): TestPresence {
  return openTestPresence(`redis://${login}127.0.0.1:${port}`, options)
}

/**
 * A script that lets time pass for the stored data. The clock of Redis cannot be moved, so the script moves
 * every expiry closer instead. It uses the stored layout, independently of the scripts under test.
 */
const age = String.raw`
local by = tonumber(ARGV[1])
for _, sessions in ipairs(redis.call('KEYS', 'parley:*:presence:* sessions')) do
  local prefix = string.match(sessions, '^(.*) sessions$')
  local records, order, users = prefix .. ' records', prefix .. ' order', prefix .. ' users'
  local left = redis.call('PTTL', sessions) - by
  for _, key in ipairs({sessions, users}) do
    local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #all, 2 do redis.call('ZADD', key, all[i + 1] - by, all[i]) end
  end
  for _, name in ipairs(redis.call('ZRANGE', order, 0, -1)) do
    local user, ends, session = string.match(name, '^([^\n]*)\n(%d+)\n(.*)$')
    redis.call('ZREM', order, name)
    redis.call('ZADD', order, 0, user .. '\n' .. string.format('%.0f', ends - by) .. '\n' .. session)
  end
  for _, key in ipairs({sessions, records, order, users}) do
    redis.call('PEXPIRE', key, left)
  end
end
return redis.status_reply('OK')`

async function letPass(ms: number, { links }: TestPresence): Promise<void> {
  for (const link of links) {
    const live = await link.ready(5_000)
    // The script ages every entry at once, which takes longer than the usual deadline on a busy machine.
    const aged = await live.run(live.client.pipeline().eval(age, 0, Math.round(ms)), { deadlineMs: 30_000 })
    expect(aged).toEqual(['OK'])
  }
}

async function open(url: string, masters: readonly RedisProcess[]): Promise<OpenedPresences> {
  await Promise.all(masters.map((master) => master.cli('FLUSHALL')))
  const [one, two] = [openTestPresence(url), openTestPresence(url)]
  return {
    presence: one.presence,
    peer: two.presence,
    advance: (ms) => letPass(ms, one),
    close: async () => void (await Promise.all([one.close(), two.close()])),
  }
}

describe('standalone', () => {
  presenceContract('RedisPresence', () => open(`redis://127.0.0.1:${redis.port}`, [redis]))
})

describe('Cluster', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startRedisCluster({ replicasPerMaster: 0 })
  })
  presenceContract('RedisPresence', async () => open(cluster.url, await cluster.masters()))
})

const ref = { tenantId: 't1', channel: 'room:1' }
const keys = Object.values(presenceKeys(ref))
const userInfo = (user: string): ClientInfo => ({ user, client: `client of ${user}` })
const many = (count: number, prefix = 's'): Map<string, ClientInfo> =>
  new Map(Array.from({ length: count }, (_, n) => [`${prefix}${n}`, userInfo(`u${n}`)]))

describe('RedisPresence', () => {
  let one: TestPresence
  let two: TestPresence

  beforeEach(async () => {
    await redis.cli('FLUSHALL')
    one = startGateway()
    two = startGateway()
  })

  afterEach(async () => {
    await Promise.all([one.close(), two.close()])
  })

  test('a killed gateway’s entries expire after their time to live, by the clock of Redis', async () => {
    const ttlMs = 3_000
    const killed = startGateway({ ttlMs })
    const living = startGateway({ ttlMs })
    onTestFinished(async () => living.close())
    await living.presence.add(ref, 's1', userInfo('u1'))
    const startMs = performance.now()
    await killed.presence.refresh(ref, many(300, 'killed'))
    await killed.kill()
    await until('the expiry', async () => {
      await living.presence.refresh(ref, new Map([['s1', userInfo('u1')]]))
      return (await living.presence.stats(ref)).clients === 1
    })
    const tookMs = performance.now() - startMs
    expect(tookMs).toBeGreaterThan(ttlMs * 0.5)
    // The limit is five times the expected time, for a busy machine.
    expect(tookMs).toBeLessThan(ttlMs * 5)
    expect(await living.presence.stats(ref)).toEqual({ clients: 1, users: 1 })
    expect(await living.presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
  })

  test('counts and user edges are correct while many expired entries are still stored', async () => {
    await one.presence.refresh(ref, many(2_000))
    await one.presence.refresh(
      ref,
      new Map(Array.from({ length: 500 }, (_, n) => [`a${n}`, userInfo('ann')])),
    )
    await letPass(presenceTtlMs * 0.5, one)
    await one.presence.refresh(ref, new Map([['last', userInfo('u7')]]))
    await letPass(presenceTtlMs * 0.5, one)
    expect(await two.presence.stats(ref)).toEqual({ clients: 1, users: 1 })
    expect([...(await two.presence.members(ref, { limit: 1_000 })).members.keys()]).toEqual(['last'])
    expect(await two.presence.remove(ref, 'a7')).toEqual({ userEdge: false, clients: 1 })
    expect(await two.presence.add(ref, 'b1', userInfo('ann'))).toEqual({ userEdge: true, clients: 2 })
    expect(await two.presence.remove(ref, 'b1')).toEqual({ userEdge: true, clients: 1 })
    expect(await two.presence.add(ref, 'b2', userInfo('u7'))).toEqual({ userEdge: false, clients: 2 })
  })

  test('each write sweeps a hundred expired entries, until no key holds any', async () => {
    await one.presence.refresh(ref, many(1_000))
    await letPass(presenceTtlMs * 0.5, one)
    await one.presence.add(ref, 'last', userInfo('ann'))
    await letPass(presenceTtlMs * 0.5, one)
    const sizes = async () =>
      redis.cli(
        'EVAL',
        "return {redis.call('ZCARD', KEYS[1]), redis.call('HLEN', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('ZCARD', KEYS[4])}",
        '4',
        ...keys,
      )
    const seen: string[] = []
    for (let writes = 0; writes < 11; writes += 1) {
      seen.push((await sizes()).replaceAll('\n', ' '))
      if (writes % 3 === 0) await two.presence.add(ref, 'last', userInfo('ann'))
      if (writes % 3 === 1) await two.presence.refresh(ref, new Map([['last', userInfo('ann')]]))
      if (writes % 3 === 2) await two.presence.remove(ref, 'missing')
    }
    const expected = Array.from({ length: 11 }, (_, n) => 1_001 - 100 * n)
    expect(seen).toEqual(expected.map((size) => `${size} ${size} ${size} ${size}`))
  })

  test('the keys of an empty channel are removed with its last entry, or expire after a crash', async () => {
    await one.presence.refresh(ref, many(150))
    for (const session of many(150).keys()) await one.presence.remove(ref, session)
    expect(await redis.cli('DBSIZE')).toBe('0')
    await one.presence.refresh(ref, many(150))
    const left = Number(await redis.cli('PTTL', keys[0] ?? ''))
    expect(left).toBeGreaterThan(presenceTtlMs - 5_000)
    await letPass(presenceTtlMs, one)
    expect(await redis.cli('DBSIZE')).toBe('0')
  })

  test('reading writes nothing', async () => {
    await one.presence.members(ref, { limit: 10 })
    await one.presence.stats(ref)
    expect(await redis.cli('DBSIZE')).toBe('0')
  })

  test('one read returns at most a thousand members, the most recently seen first', async () => {
    await one.presence.refresh(ref, many(1_200))
    await letPass(1_000, one)
    await two.presence.add(ref, 'newest', userInfo('ann'))
    const { members } = await two.presence.members(ref, { limit: 5_000 })
    expect(members.size).toBe(1_000)
    expect([...members.keys()][0]).toBe('newest')
    expect(await two.presence.stats(ref)).toEqual({ clients: 1_201, users: 1_201 })
  })

  test('a read ends at its bytes, and says so', async () => {
    const info = Buffer.from(JSON.stringify('"'.repeat(200)))
    const entries = new Map(Array.from({ length: 300 }, (_, n) => [`s${n}`, { ...userInfo(`u${n}`), info }]))
    await one.presence.refresh(ref, entries)
    const some = await two.presence.members(ref, { limit: 1_000, bytesMax: 50_000 })
    expect(some.isCut).toBe(true)
    expect(some.members.size).toBeGreaterThan(40)
    expect(some.members.size).toBeLessThan(130)
    const all = await two.presence.members(ref, { limit: 1_000, bytesMax: 1_000_000 })
    expect([all.isCut, all.members.size]).toEqual([false, 300])
  })

  test('an entry that is removed after refresh() was called stays removed', async () => {
    const refreshed = one.presence.refresh(ref, many(5_000))
    const removed = await Promise.all([...many(5_000).keys()].map((id) => one.presence.remove(ref, id)))
    await refreshed
    expect(removed.every(({ userEdge }) => userEdge)).toBe(true)
    expect(await redis.cli('DBSIZE')).toBe('0')
  })

  test('an entry with an expiry too far ahead, from another clock, is corrected by the next refresh', async () => {
    const entries = { s1: userInfo('ann'), s2: userInfo('ann'), s3: userInfo('bob') }
    await one.presence.refresh(ref, new Map(Object.entries(entries)))
    await letPass(-60_000, one)
    await one.presence.refresh(ref, new Map(Object.entries({ s1: entries.s1, s3: entries.s3 })))
    await letPass(presenceTtlMs * 0.5, one)
    await one.presence.add(ref, 's4', userInfo('cleo'))
    await letPass(presenceTtlMs * 0.5, one)
    expect([...(await two.presence.members(ref, { limit: 10 })).members.keys()]).toEqual(['s2', 's4'])
    expect(await two.presence.stats(ref)).toEqual({ clients: 2, users: 2 })
  })

  test('flushed scripts are loaded again', async () => {
    await one.presence.add(ref, 's1', userInfo('ann'))
    await redis.cli('SCRIPT', 'FLUSH')
    expect(await one.presence.add(ref, 's2', userInfo('ann'))).toEqual({ userEdge: false, clients: 2 })
  })

  test('the documented permissions suffice', async () => {
    await redis.cli('ACL', 'SETUSER', 'parley', 'on', '>secret', ...neededGrants)
    const limited = startGateway({}, { login: 'parley:secret@' })
    onTestFinished(async () => limited.close())
    expect(await limited.presence.add(ref, 's1', userInfo('ann'))).toEqual({ userEdge: true, clients: 1 })
    await limited.presence.refresh(ref, many(3))
    await letPass(presenceTtlMs * 0.5, one)
    expect(await limited.presence.add(ref, 's1', userInfo('bob'))).toEqual({ userEdge: true, clients: 3 })
    await letPass(presenceTtlMs * 0.5, one)
    expect([...(await limited.presence.members(ref, { limit: 9 })).members.keys()]).toEqual(['s1'])
    expect(await limited.presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
    expect(await limited.presence.stats(ref)).toEqual({ clients: 0, users: 0 })
  })

  test('in a full Redis no session can be added, but sessions can be removed and read', async () => {
    await one.presence.add(ref, 's1', userInfo('ann'))
    await redis.cli('CONFIG', 'SET', 'maxmemory', '1')
    onTestFinished(async () => void (await redis.cli('CONFIG', 'SET', 'maxmemory', '0')))
    await expect(one.presence.add(ref, 's2', userInfo('bob'))).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
    })
    expect(await one.presence.stats(ref)).toEqual({ clients: 1, users: 1 })
    expect(await one.presence.remove(ref, 's1')).toEqual({ userEdge: true, clients: 0 })
  })

  test('with concurrent calls on several channels and gateways, each user joins once and leaves once', async () => {
    const session = fc.nat(40)
    const script = fc.array(
      fc.record({ add: fc.boolean(), session, channel: fc.nat(2), peer: fc.boolean() }),
      {
        minLength: 50,
        maxLength: 300,
      },
    )
    let runs = 0
    await fc.assert(
      fc.asyncProperty(script, async (steps) => {
        runs += 1
        const edges = new Map<string, { joins: number; leaves: number }>()
        await Promise.all(
          steps.map(async (step) => {
            const of = { tenantId: `t${runs}`, channel: `c${step.channel}` }
            const { presence } = step.peer ? two : one
            const user = `u${step.session % 5}`
            const id = `s${step.session}`
            const { userEdge } = step.add
              ? await presence.add(of, id, userInfo(user))
              : await presence.remove(of, id)
            const key = `${of.channel} ${user}`
            const { joins, leaves } = edges.get(key) ?? { joins: 0, leaves: 0 }
            if (userEdge)
              edges.set(key, step.add ? { joins: joins + 1, leaves } : { joins, leaves: leaves + 1 })
          }),
        )
        for (const channel of ['c0', 'c1', 'c2']) {
          const { members } = await one.presence.members({ tenantId: `t${runs}`, channel }, { limit: 100 })
          const present = new Set([...members.values()].map(({ user }) => user))
          for (let n = 0; n < 5; n += 1) {
            const { joins, leaves } = edges.get(`${channel} u${n}`) ?? { joins: 0, leaves: 0 }
            expect(joins - leaves).toBe(present.has(`u${n}`) ? 1 : 0)
          }
        }
      }),
      { numRuns: 30 },
    )
  })

  test('a channel may have 10,000 members (prints durations)', async () => {
    const timed = async (what: string, call: () => Promise<unknown>, times = 1): Promise<string> => {
      await redis.cli('CONFIG', 'RESETSTAT')
      const startMs = performance.now()
      for (let n = 0; n < times; n += 1) await call()
      const tookMs = (performance.now() - startMs) / times
      const usec = /cmdstat_evalsha:\S+usec_per_call=([\d.]+)/.exec(
        await redis.cli('INFO', 'commandstats'),
      )?.[1]
      return `${what} ${tookMs.toFixed(2)} ms (${Math.round(Number(usec))} µs of Redis per script)`
    }
    const all = many(10_000)
    let n = 0
    const lines = [
      await timed('all added by refresh', () => one.presence.refresh(ref, all)),
      await timed('refresh of all', () => one.presence.refresh(ref, all)),
      await timed('add', () => one.presence.add(ref, `n${(n += 1)}`, userInfo(`n${n}`)), 500),
      await timed('remove', () => one.presence.remove(ref, `n${(n -= 1) + 1}`), 500),
      await timed('stats', () => one.presence.stats(ref), 500),
      await timed('1000 members', () => one.presence.members(ref, { limit: 1_000 }), 20),
    ]
    expect(await one.presence.stats(ref)).toEqual({ clients: 10_000, users: 10_000 })
    const memory = await Promise.all(
      keys.map(async (key) => Number(await redis.cli('MEMORY', 'USAGE', key, 'SAMPLES', '0'))),
    )
    lines.push(`${Math.round(memory.reduce((sum, bytes) => sum + bytes, 0) / 10_000)} bytes per member`)
    await letPass(presenceTtlMs * 0.5, one)
    await one.presence.add(ref, 'last', userInfo('ann'))
    await letPass(presenceTtlMs * 0.5, one)
    lines.push(
      await timed('add after all have expired', () => one.presence.add(ref, 'last', userInfo('ann')), 50),
    )
    console.info(`10,000 members:\n  ${lines.join('\n  ')}`)
  })
})

describe('RedisPresence without Redis', () => {
  test('rejects after a bounded wait, then immediately, and works again when Redis is back', async () => {
    const server = await startRedis()
    const gateway = startGateway({ waitMs: 2_000 }, { port: server.port })
    onTestFinished(async () => gateway.close())
    await gateway.presence.add(ref, 's1', userInfo('ann'))
    await server.kill()
    const refusal = async (call: () => Promise<unknown>): Promise<{ code: string; tookMs: number }> => {
      const startMs = performance.now()
      const error: unknown = await call().then(
        () => undefined,
        (reason: unknown) => reason,
      )
      return {
        code: (error as CommandError | undefined)?.code ?? 'none',
        tookMs: performance.now() - startMs,
      }
    }
    const calls = [
      () => gateway.presence.stats(ref),
      () => gateway.presence.add(ref, 's1', userInfo('ann')),
      () => gateway.presence.remove(ref, 's1'),
      () => gateway.presence.members(ref, { limit: 10 }),
      () => gateway.presence.refresh(ref, many(250)),
    ]
    const refusals = []
    for (const call of calls) refusals.push(await refusal(call))
    expect(refusals.map(({ code }) => code)).toEqual(calls.map(() => 'BROKER_UNAVAILABLE'))
    expect(refusals[0]?.tookMs).toBeLessThan(2_000 * 5)
    // These calls do not wait again.
    for (const { tookMs } of refusals.slice(1)) expect(tookMs).toBeLessThan(1_500)
    console.info(`refused after ${refusals.map(({ tookMs }) => Math.round(tookMs)).join(', ')} ms`)

    await server.restart()
    await until('Redis again', () => gateway.links[0]?.current)
    // Redis has restarted empty, as after a failover that lost the last writes.
    await gateway.presence.refresh(ref, new Map([['s1', userInfo('ann')]]))
    expect(await gateway.presence.stats(ref)).toEqual({ clients: 1, users: 1 })
  })

  test('a short outage looks like latency', async () => {
    const server = await startRedis()
    const gateway = startGateway({ waitMs: 10_000 }, { port: server.port })
    onTestFinished(async () => gateway.close())
    await gateway.presence.add(ref, 's1', userInfo('ann'))
    await server.kill()
    await until('the loss', () => gateway.links[0]?.unavailableReason)
    const adding = gateway.presence.add(ref, 's2', userInfo('bob'))
    await server.restart()
    expect(await adding).toEqual({ userEdge: true, clients: 1 })
  })

  test('a Redis that does not answer is abandoned after the deadline', async () => {
    const server = await startRedis()
    const gateway = startGateway({ replyMs: 200, waitMs: 200 }, { port: server.port })
    onTestFinished(async () => gateway.close())
    await gateway.presence.add(ref, 's1', userInfo('ann'))
    server.stop()
    await expect(gateway.presence.stats(ref)).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' })
    server.cont()
    await until('an answer', () => gateway.presence.stats(ref).catch(() => undefined))
  })

  test('calls above the limit of waiting ones are rejected', async () => {
    const gateway = startGateway({ callsMax: 10 })
    onTestFinished(async () => gateway.close())
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, () => gateway.presence.stats(ref)))
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(2)
  })

  test('close() completes the pending calls and rejects later ones', async () => {
    const gateway = startGateway()
    const pending = gateway.presence.stats({ tenantId: 'closing', channel: 'c' })
    await gateway.close()
    expect(await pending).toEqual({ clients: 0, users: 0 })
    await expect(gateway.presence.stats(ref)).rejects.toMatchObject({ code: 'INTERNAL' })
  })
})
