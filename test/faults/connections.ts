// Faults 13 to 17: what can befall the connections between a gateway and Redis, and a Redis that answers with errors.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until, type RedisProcess } from '../support/redis-processes.js'
import type { Fault } from './fault.js'
import { cutReplies } from './staged.js'
import { World } from './world.js'

export const connectionFaults: readonly Fault[] = [
  {
    number: 13,
    words: 'connections are cut between the execution and the reply: one entry for each key',
    short: true,
    run: async (fault) => {
      const world = await cutReplies({ fault })
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 15,
    words: 'the subscriber connections go silent, half-open: found, and the gap filled',
    short: true,
    run: async (fault) => {
      const world = await World.open({ fault, trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      const lines = world.gateways.map(({ broker }) => broker.links.get('subscriber')?.current)
      const startMs = performance.now()
      world.strike()
      // What runs now falls silent; what is opened afterwards speaks, so that the finding alone decides.
      proxy?.silence(/parley-subscriber/)
      await Promise.all(
        lines.map(
          (live) =>
            new Promise<void>((resolve) => {
              if (!live || live.lost.aborted) return resolve()
              live.lost.addEventListener('abort', () => resolve(), { once: true })
            }),
        ),
      )
      await world.found(performance.now() - startMs)
      await world.someAcks(50)
      await world.judge({ gapBarMs: 10_000 })
    },
  },
  {
    number: 14,
    words:
      'connections are cut in the middle of a pipeline and of its replies: no reply is taken for another',
    run: async (fault) => {
      const world = await World.open({ fault, trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      world.strike()
      for (let cut = 0; cut < 8; cut += 1) {
        proxy?.cutAfter(1 + Math.floor(Math.random() * 600), cut % 2 === 0 ? 'toClient' : 'toServer')
        await sleep(300)
        await world.someAcks(20)
      }
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 14,
    words: 'the subscriber connection is cut in the middle of SUBSCRIBE: every channel is heard in the end',
    run: async (fault) => {
      const world = await World.open({ fault, trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      const [gateway] = world.gateways
      const many = Array.from({ length: 1_200 }, (_, index) => ({
        tenantId: 'red',
        channel: `many-${index}`,
      }))
      await Promise.all(many.map(async (ref) => gateway?.broker.broker.subscribe(ref)))
      world.strike()
      for (let cut = 0; cut < 10; cut += 1) {
        // The replies of three batches are about 150 kB.
        proxy?.cutAfter(1 + Math.floor(Math.random() * 100_000), 'toClient')
        await sleep(150)
      }
      proxy?.cut()
      const topics = async () => {
        const text = await (await world.trio.master()).cli('PUBSUB', 'CHANNELS', 'parley:*many-*')
        return text.split('\n').length === many.length
      }
      await until('all subscriptions', topics, { deadlineMs: 20_000 })
      await world.someAcks(50)
      await world.judge()
    },
  },
  ...[
    {
      words: 'the master is out of memory for 2 s',
      begin: (master: RedisProcess) => master.cli('CONFIG', 'SET', 'maxmemory', '1'),
      end: (master: RedisProcess) => master.cli('CONFIG', 'SET', 'maxmemory', '0'),
    },
    {
      words: 'the master cannot save and stops writes (MISCONF) for 2 s',
      begin: async (master: RedisProcess) => {
        await master.cli('CONFIG', 'SET', 'dbfilename', 'x'.repeat(300))
        await master.cli('CONFIG', 'SET', 'save', '3600 1')
        await master.cli('BGSAVE')
      },
      end: (master: RedisProcess) => master.cli('CONFIG', 'SET', 'save', ''),
    },
  ].map(({ begin, end, words }) => ({
    number: 17,
    words,
    run: async (fault: string) => {
      const world = await World.open({ fault, trio: { config: ['enable-protected-configs yes'] } })
      const master = await world.trio.master()
      world.strike()
      await begin(master)
      await sleep(500)
      const sinceMs = performance.now()
      await sleep(1_500)
      expect(world.load.ackedSince(sinceMs), 'acknowledged and not stored').toBe(0)
      await end(master)
      await world.someAcks(100)
      expect(world.load.failures()).toHaveProperty('BROKER_UNAVAILABLE')
      // A master that refuses writes refuses PING too, and so the Sentinels replace it in the end.
      expect(['BROKER_UNAVAILABLE', 'NOT_REPLICATED']).toEqual(
        expect.arrayContaining(Object.keys(world.load.failures())),
      )
      await world.judge()
    },
  })),
  {
    number: 17,
    words: 'scripts of others keep the master busy (BUSY), 700 ms each',
    run: async (fault) => {
      const world = await World.open({ fault, trio: { config: ['busy-reply-threshold 50'] } })
      const master = await world.trio.master()
      const busy = `local e = redis.call('TIME'); local t = e
        repeat t = redis.call('TIME') until (t[1] - e[1]) * 1000 + (t[2] - e[2]) / 1000 > 700`
      world.strike()
      for (let count = 0; count < 4; count += 1) {
        await master.cli('EVAL', busy, '0')
        await sleep(300)
      }
      await world.someAcks(100)
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 17,
    words: 'the master is back at once, and loads its data for seconds (LOADING)',
    run: async (fault) => {
      const world = await World.open({
        fault,
        trio: {
          // Killed and started again before a Sentinel notices, which takes LOADING for a sign of life.
          downAfterMs: 5_000,
          config: ['appendonly yes', 'appendfsync always', 'loading-process-events-interval-bytes 1024'],
        },
      })
      const master = await world.trio.master()
      await master.cli('CONFIG', 'SET', 'key-load-delay', String(loadDelayUs))
      await master.cli('CONFIG', 'REWRITE')
      const fill = `for i = 1, 1000 do redis.call('SET', 'filler:' .. ARGV[1] .. ':' .. i, 'x') end`
      for (let count = 0; count < fillers / 1_000; count += 1)
        await master.cli('EVAL', fill, '0', String(count))
      await world.someAcks(20)
      world.strike()
      await master.kill()
      const killedMs = performance.now()
      let loaded = false
      const serving = master.start({ deadlineMs: 120_000 }).then(() => (loaded = true))
      const [publisher] = world.gateways.map(({ broker }) => broker.links.get('replicated writer'))
      await until('a link that hears LOADING', () => publisher?.unavailableReason?.includes('LOADING'))
      // They wait for a master so long, and no longer.
      await until('a refusal', () => 'BROKER_UNAVAILABLE' in world.load.failures(), { deadlineMs: 60_000 })
      expect(loaded, 'refused while it was loading').toBe(false)
      expect(world.load.ackedSince(killedMs), 'acknowledged while it was loading').toBe(0)
      await serving
      // The replicas' copy begins anew.
      await master.cli('CONFIG', 'SET', 'key-load-delay', '0')
      expect((await world.trio.master()).port, 'no other was promoted').toBe(master.port)
      await world.someAcks(100)
      await world.pause()
      await world.judge()
    },
  },
]

/** So many keys take more than six seconds to load. */
const fillers = 24_000
const loadDelayUs = 250
