import { inspect } from 'node:util'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../src/redis/link.js'
import { endLinks, lostWithin, startLink } from '../support/redis-links.js'
import {
  endRedisProcesses,
  startRedis,
  startReplica,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'

afterEach(endLinks)
afterAll(endRedisProcesses)

const urlOf = (redis: RedisProcess) => `redis://127.0.0.1:${redis.port}`
const patienceMs = 10_000

/**
 * Returns the error of a promise. It handles the rejection immediately, because that may come before the test
 * awaits it.
 */
function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('opening', () => {
  test('a connection is prepared, then announced to listeners, then returned by ready()', async () => {
    const redis = await startRedis()
    const order: string[] = []
    const { link } = startLink(urlOf(redis), { prepare: async () => void order.push('prepared') })
    link.onOpen(() => order.push('announced'))
    expect(link.unavailableReason).toContain('no connection')
    const live = await link.ready(patienceMs)
    order.push('returned')
    expect(order).toEqual(['prepared', 'announced', 'returned'])
    expect(link.current).toBe(live)
    expect(link.unavailableReason).toBeUndefined()
    expect(link.unavailableMs).toBe(0)
    expect(await redis.cli('CLIENT', 'LIST')).toContain('name=parley-test')
  })

  test('a host name works like an address', async () => {
    const redis = await startRedis()
    const { link } = startLink(`redis://localhost:${redis.port}/3`)
    const live = await link.ready(patienceMs)
    await live.client.set('here', '1')
    expect(await redis.cli('-n', '3', 'GET', 'here')).toBe('1')
  })

  test('ready() rejects with the reason when there is no connection', async () => {
    const redis = await startRedis()
    await redis.kill()
    const { link } = startLink(urlOf(redis))
    await expect(link.ready(300)).rejects.toThrow(RedisUnavailableError)
    await until('the reason', () => link.unavailableReason?.includes('ECONNREFUSED'))
    await expect(link.ready(1)).rejects.toThrow(/^test: 127\.0\.0\.1:\d+: connect ECONNREFUSED/)
    expect(link.unavailableMs).toBeGreaterThan(200)
  })

  test('a replica is rejected until it is promoted to master', async () => {
    const master = await startRedis()
    const replica = await startReplica(master)
    const { link } = startLink(urlOf(replica))
    await until('the reason', () => link.unavailableReason?.includes('the server is a replica, not a master'))
    expect(link.current).toBeUndefined()
    await replica.cli('REPLICAOF', 'NO', 'ONE')
    await link.ready(patienceMs)
  })

  test('a link to a missing database does not use another database', async () => {
    const redis = await startRedis({ config: ['databases 2'] })
    const { link } = startLink(`${urlOf(redis)}/5`)
    await until('the reason', () => link.unavailableReason?.includes('DB index is out of range'))
    await expect(link.ready(500)).rejects.toThrow(RedisUnavailableError)
  })

  test('a failed preparation is tried again on another connection', async () => {
    const redis = await startRedis()
    const seen = new Set<LiveRedis>()
    const { link, logged } = startLink(urlOf(redis), {
      prepare: async (live) => {
        seen.add(live)
        if (seen.size < 3) throw new Error('not yet')
      },
    })
    const live = await link.ready(patienceMs)
    expect([...seen].map((one) => one.lost.aborted)).toEqual([true, true, false])
    expect([...seen].indexOf(live)).toBe(2)
    expect(logged().match(/not yet/g)).toHaveLength(1)
  })

  test('a preparation that never ends is cut off at its deadline', async () => {
    const redis = await startRedis()
    const prepare = vi.fn<() => Promise<void>>()
    prepare.mockReturnValueOnce(new Promise(() => {})).mockResolvedValue()
    const { link } = startLink(urlOf(redis), { prepare, timing: { prepareMs: 200 } })
    await link.ready(patienceMs)
    expect(prepare).toHaveBeenCalledTimes(2)
  })

  test('a connection that a listener discards is not returned by ready()', async () => {
    const redis = await startRedis()
    const { link } = startLink(urlOf(redis))
    let opened = 0
    link.onOpen((live) => {
      opened += 1
      if (opened === 1) live.discard('not this one')
    })
    expect((await link.ready(patienceMs)).lost.aborted).toBe(false)
    expect(opened).toBe(2)
  })

  test('a stopped link leaves no connection', async () => {
    const redis = await startRedis()
    const { link, stop } = startLink(urlOf(redis))
    const live = await link.ready(patienceMs)
    await stop()
    expect(live.lost.aborted).toBe(true)
    expect(link.current).toBeUndefined()
    await until('no clients', async () => !(await redis.cli('CLIENT', 'LIST')).includes('name=parley'))
  })
})

describe('a lost connection', () => {
  test('is replaced by a new one after Redis crashed and restarted', async () => {
    const redis = await startRedis()
    const { link } = startLink(urlOf(redis))
    const first = await link.ready(patienceMs)
    await redis.kill()
    await lostWithin(first, 10_000)
    expect(link.current).toBeUndefined()
    await redis.start()
    const second = await link.ready(patienceMs)
    expect(second).not.toBe(first)
    expect(first.lost.aborted).toBe(true)
    expect(await second.client.ping()).toBe('PONG')
  })

  test.each(['writer', 'subscriber'])('a frozen Redis is detected by an idle %s', async (role) => {
    const redis = await startRedis()
    const { link } = startLink(urlOf(redis), {
      role,
      prepare: async (live) => {
        if (role === 'subscriber') await live.client.subscribe('topic')
      },
      timing: { pingIntervalMs: 300, pingDeadlineMs: 1_000 },
    })
    const live = await link.ready(patienceMs)
    await new Promise((resolve) => setTimeout(resolve, 1_700))
    expect(live.lost.aborted).toBe(false)
    redis.stop()
    const foundMs = await lostWithin(live, 10_000)
    console.info(`${role}: frozen Redis found in ${Math.round(foundMs)} ms with pings every 300 ms`)
    redis.cont()
    await link.ready(patienceMs)
  })

  test('a silent connection is detected although it stays open', async () => {
    const redis = await startRedis({ proxied: true })
    const { link } = startLink(urlOf(redis), { timing: { pingIntervalMs: 200, pingDeadlineMs: 200 } })
    const live = await link.ready(patienceMs)
    redis.proxy?.set({ holdToClient: true })
    await lostWithin(live, 3_000)
    redis.proxy?.heal()
    expect(await link.ready(patienceMs)).not.toBe(live)
  })

  test('a connection with late answers is not lost while bytes keep arriving', async () => {
    const redis = await startRedis({ proxied: true })
    const { link } = startLink(urlOf(redis), {
      prepare: async (live) => void (await live.client.subscribe('flood')),
      timing: { pingIntervalMs: 200, pingDeadlineMs: 1_000 },
    })
    const live = await link.ready(patienceMs)
    const publisher = startLink(`redis://127.0.0.1:${redis.ownPort}`)
    const { client } = await publisher.link.ready(patienceMs)
    const flood = setInterval(() => void client.publish('flood', 'x').catch(() => {}), 20)
    await new Promise((resolve) => setTimeout(resolve, 600))
    // Requests arrive 2 s late: the PONG misses its deadline while the messages continue.
    redis.proxy?.set({ delayToServerMs: 2_000 })
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    clearInterval(flood)
    expect(live.lost.aborted).toBe(false)
    await publisher.stop()
  })

  test('delivers no more messages, not even from bytes that have already arrived', async () => {
    const redis = await startRedis()
    const received: string[] = []
    const { link } = startLink(urlOf(redis), {
      prepare: async (live) => {
        await live.client.subscribe('topic')
        live.client.on('messageBuffer', (_topic: Buffer, message: Buffer) => {
          received.push(message.toString())
          live.discard('enough')
        })
      },
    })
    const live = await link.ready(patienceMs)
    const publisher = startLink(urlOf(redis))
    const { client } = await publisher.link.ready(patienceMs)
    await client.pipeline().publish('topic', '1').publish('topic', '2').publish('topic', '3').exec()
    await lostWithin(live, 5_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(received).toEqual(['1'])
  })
})

describe('run()', () => {
  test('resolves with all replies in order; an error reply is a value, without the sent arguments', async () => {
    const redis = await startRedis()
    const { link } = startLink(urlOf(redis))
    const live = await link.ready(patienceMs)
    const replies = await live.run(
      live.client
        .pipeline()
        .set('k', 'v')
        .call('NONSENSE', 'the-payload')
        .incr('k')
        .lpush('k', 'the-payload')
        .get('k'),
    )
    expect(replies.map((reply) => reply instanceof Error)).toEqual([false, true, true, true, false])
    expect(replies[4]).toBe('v')
    expect(inspect(replies, { depth: 9, showHidden: true })).not.toContain('the-payload')
    expect(live.lost.aborted).toBe(false)
  })

  test('an empty pipeline is answered without Redis', async () => {
    const redis = await startRedis()
    const live = await startLink(urlOf(redis)).link.ready(patienceMs)
    expect(await live.run(live.client.pipeline())).toEqual([])
  })

  const losses: Record<string, (redis: RedisProcess, live: LiveRedis) => void | Promise<void>> = {
    'Redis dies': (redis) => redis.kill(),
    'the connection is cut': (redis) => redis.proxy?.cut(),
    'a caller discards it': (_redis, live) => live.discard('no use'),
    'no reply arrives in time': () => {},
  }
  test.each(Object.entries(losses))(
    'when %s during a pipeline, the outcome is unknown',
    async (_name, lose) => {
      const redis = await startRedis({ proxied: true })
      const { link } = startLink(urlOf(redis))
      const live = await link.ready(patienceMs)
      redis.stop()
      const runs = [1, 2].map((n) =>
        live.run(live.client.pipeline().set('k', n).get('k'), { deadlineMs: 1_000 }),
      )
      const outcomes = Promise.allSettled(runs)
      await lose(redis, live)
      for (const outcome of await outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(UnknownOutcomeError) })
      }
      expect(live.lost.aborted).toBe(true)
      expect(link.current).toBeUndefined()
    },
  )

  test('a pipeline has its own deadline, independent of the pings', async () => {
    const redis = await startRedis()
    const { link } = startLink(urlOf(redis), { timing: { pingIntervalMs: 60_000 } })
    const live = await link.ready(patienceMs)
    redis.stop()
    await expect(live.run(live.client.pipeline().get('k'), { deadlineMs: 200 })).rejects.toThrow(
      'no reply within 200 ms',
    )
  })

  test('a long command within its deadline is not a missed PING', async () => {
    const redis = await startRedis()
    const { link } = startLink(urlOf(redis), { timing: { pingIntervalMs: 50, pingDeadlineMs: 50 } })
    const live = await link.ready(patienceMs)
    expect(await live.run(live.client.pipeline().blpop('nothing', 0.7))).toEqual([null])
  })

  test('when Redis kills the client during a pipeline, as Sentinel does, the outcome is unknown', async () => {
    const redis = await startRedis()
    const live = await startLink(urlOf(redis)).link.ready(patienceMs)
    const failure = failureOf(live.run(live.client.pipeline().blpop('nothing', 0)))
    await until('a blocked client', async () =>
      (await redis.cli('INFO', 'clients')).includes('blocked_clients:1'),
    )
    await redis.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    expect(await failure).toBeInstanceOf(UnknownOutcomeError)
  })

  test('when the link stops during a pipeline, the outcome is unknown', async () => {
    const redis = await startRedis()
    const { link, stop } = startLink(urlOf(redis))
    const live = await link.ready(patienceMs)
    const failure = failureOf(live.run(live.client.pipeline().blpop('nothing', 0)))
    await stop()
    expect(await failure).toBeInstanceOf(UnknownOutcomeError)
  })

  test('when only a part of the replies arrives, the outcome is unknown', async () => {
    const redis = await startRedis({ proxied: true })
    const live = await startLink(urlOf(redis)).link.ready(patienceMs)
    redis.proxy?.cutAfter(12, 'toClient')
    const pipeline = live.client.pipeline()
    for (let n = 0; n < 10; n += 1) pipeline.incr('n')
    await expect(live.run(pipeline)).rejects.toThrow(UnknownOutcomeError)
    expect(await redis.cli('GET', 'n')).toBe('10')
  })

  test('nothing is sent on a lost connection', async () => {
    const redis = await startRedis()
    const live = await startLink(urlOf(redis)).link.ready(patienceMs)
    live.discard('no use')
    await expect(live.run(live.client.pipeline().set('k', 'v'))).rejects.toThrow(RedisUnavailableError)
    expect(await redis.cli('GET', 'k')).toBe('')
  })

  test('nothing is sent on a connection that is closing', async () => {
    const redis = await startRedis()
    const live = await startLink(urlOf(redis)).link.ready(patienceMs)
    live.client.stream.end()
    await expect(live.run(live.client.pipeline().set('k', 'v'))).rejects.toThrow(RedisUnavailableError)
    expect(live.lost.aborted).toBe(true)
    expect(await redis.cli('GET', 'k')).toBe('')
  })

  test('a stalled process does not miss a deadline', async () => {
    const redis = await startRedis()
    const live = await startLink(urlOf(redis)).link.ready(patienceMs)
    const run = live.run(live.client.pipeline().set('k', 'v'), { deadlineMs: 100 })
    // The command is written at the end of this turn and answered while the process is stalled.
    await new Promise((resolve) => setImmediate(resolve))
    const untilMs = performance.now() + 400
    while (performance.now() < untilMs);
    expect(await run).toEqual(['OK'])
  })
})
