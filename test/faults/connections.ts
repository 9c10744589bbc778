// Faults 13 to 17: broken connections between a gateway and Redis, and a Redis that answers with errors.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { until, type RedisProcess } from '../support/redis-processes.js'
import type { Fault } from './fault.js'
import { cutReplies } from './fault-steps.js'
import { Scenario } from './scenario.js'

export const connectionFaults: readonly Fault[] = [
  {
    number: 13,
    title: 'connections are cut between execution and reply: each key has one entry',
    short: true,
    run: async (fault) => {
      const scenario = await cutReplies({ fault })
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 15,
    title: 'the subscriber connections become half-open: the gateway detects it and fills the gap',
    short: true,
    run: async (fault) => {
      const scenario = await Scenario.open({ fault, trio: { proxied: true } })
      const { proxy } = await scenario.trio.master()
      const connections = scenario.gateways.map(({ broker }) => broker.links.get('subscriber')?.current)
      const startMs = performance.now()
      scenario.markFault()
      // Only connections that are open now become silent. New connections work, so the test measures the
      // detection only.
      proxy?.silence(/parley-subscriber/)
      await Promise.all(
        connections.map(
          (live) =>
            new Promise<void>((resolve) => {
              if (!live || live.lost.aborted) return resolve()
              live.lost.addEventListener('abort', () => resolve(), { once: true })
            }),
        ),
      )
      await scenario.measureDetection(performance.now() - startMs)
      await scenario.waitForAcks(50)
      await scenario.verify({ gapTargetMs: 10_000 })
    },
  },
  {
    number: 14,
    title:
      'connections are cut in the middle of a pipeline and of its replies: no reply is assigned to the wrong command',
    run: async (fault) => {
      const scenario = await Scenario.open({ fault, trio: { proxied: true } })
      const { proxy } = await scenario.trio.master()
      scenario.markFault()
      for (let cut = 0; cut < 8; cut += 1) {
        proxy?.cutAfter(1 + Math.floor(Math.random() * 600), cut % 2 === 0 ? 'toClient' : 'toServer')
        await sleep(300)
        await scenario.waitForAcks(20)
      }
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 14,
    title:
      'the subscriber connection is cut in the middle of SUBSCRIBE: every channel is subscribed in the end',
    run: async (fault) => {
      const scenario = await Scenario.open({ fault, trio: { proxied: true } })
      const { proxy } = await scenario.trio.master()
      const [gateway] = scenario.gateways
      const many = Array.from({ length: 1_200 }, (_, index) => ({
        tenantId: 'red',
        channel: `many-${index}`,
      }))
      await Promise.all(many.map(async (ref) => gateway?.broker.broker.subscribe(ref)))
      scenario.markFault()
      for (let cut = 0; cut < 10; cut += 1) {
        // The replies of three batches are about 150 kB.
        proxy?.cutAfter(1 + Math.floor(Math.random() * 100_000), 'toClient')
        await sleep(150)
      }
      proxy?.cut()
      const topics = async () => {
        const text = await (await scenario.trio.master()).cli('PUBSUB', 'CHANNELS', 'parley:*many-*')
        return text.split('\n').length === many.length
      }
      await until('all subscriptions', topics, { deadlineMs: 20_000 })
      await scenario.waitForAcks(50)
      await scenario.verify()
    },
  },
  ...[
    {
      title: 'the master is out of memory for 2 s',
      begin: (master: RedisProcess) => master.cli('CONFIG', 'SET', 'maxmemory', '1'),
      end: (master: RedisProcess) => master.cli('CONFIG', 'SET', 'maxmemory', '0'),
    },
    {
      title: 'the master cannot save and stops writes (MISCONF) for 2 s',
      begin: async (master: RedisProcess) => {
        await master.cli('CONFIG', 'SET', 'dbfilename', 'x'.repeat(300))
        await master.cli('CONFIG', 'SET', 'save', '3600 1')
        await master.cli('BGSAVE')
      },
      end: (master: RedisProcess) => master.cli('CONFIG', 'SET', 'save', ''),
    },
  ].map(({ begin, end, title }) => ({
    number: 17,
    title,
    run: async (fault: string) => {
      const scenario = await Scenario.open({ fault, trio: { config: ['enable-protected-configs yes'] } })
      const master = await scenario.trio.master()
      scenario.markFault()
      await begin(master)
      await sleep(500)
      const sinceMs = performance.now()
      await sleep(1_500)
      expect(scenario.load.ackedSince(sinceMs), 'acknowledged but not stored').toBe(0)
      await end(master)
      await scenario.waitForAcks(100)
      expect(scenario.load.failures()).toHaveProperty('BROKER_UNAVAILABLE')
      // A master that refuses writes also refuses PING, so the Sentinels replace it eventually.
      expect(['BROKER_UNAVAILABLE', 'NOT_REPLICATED']).toEqual(
        expect.arrayContaining(Object.keys(scenario.load.failures())),
      )
      await scenario.verify()
    },
  })),
  {
    number: 17,
    title: 'scripts of another client keep the master busy (BUSY) for 700 ms each',
    run: async (fault) => {
      const scenario = await Scenario.open({ fault, trio: { config: ['busy-reply-threshold 50'] } })
      const master = await scenario.trio.master()
      const busy = `local e = redis.call('TIME'); local t = e
        repeat t = redis.call('TIME') until (t[1] - e[1]) * 1000 + (t[2] - e[2]) / 1000 > 700`
      scenario.markFault()
      for (let count = 0; count < 4; count += 1) {
        await master.cli('EVAL', busy, '0')
        await sleep(300)
      }
      await scenario.waitForAcks(100)
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 17,
    title: 'the master restarts at once and loads its data for seconds (LOADING)',
    run: async (fault) => {
      const scenario = await Scenario.open({
        fault,
        trio: {
          // Long enough for a restart before the Sentinels notice. They accept the reply LOADING as a sign of
          // life.
          downAfterMs: 5_000,
          config: ['appendonly yes', 'appendfsync always', 'loading-process-events-interval-bytes 1024'],
        },
      })
      const master = await scenario.trio.master()
      await master.cli('CONFIG', 'SET', 'key-load-delay', String(loadDelayUs))
      await master.cli('CONFIG', 'REWRITE')
      const fill = `for i = 1, 1000 do redis.call('SET', 'filler:' .. ARGV[1] .. ':' .. i, 'x') end`
      for (let count = 0; count < fillers / 1_000; count += 1)
        await master.cli('EVAL', fill, '0', String(count))
      await scenario.waitForAcks(20)
      scenario.markFault()
      await master.kill()
      const killedMs = performance.now()
      let loaded = false
      const serving = master.start({ deadlineMs: 120_000 }).then(() => (loaded = true))
      const [publisher] = scenario.gateways.map(({ broker }) => broker.links.get('replicated writer'))
      await until('a link that received LOADING', () => publisher?.unavailableReason?.includes('LOADING'))
      // Publishes wait for a master only for a limited time.
      await until('a refusal', () => 'BROKER_UNAVAILABLE' in scenario.load.failures(), { deadlineMs: 60_000 })
      expect(loaded, 'refused while it was loading').toBe(false)
      expect(scenario.load.ackedSince(killedMs), 'acknowledged while it was loading').toBe(0)
      await serving
      // The replicas resynchronize from the beginning.
      await master.cli('CONFIG', 'SET', 'key-load-delay', '0')
      expect((await scenario.trio.master()).port, 'no other node was promoted').toBe(master.port)
      await scenario.waitForAcks(100)
      await scenario.measurePause()
      await scenario.verify()
    },
  },
]

/** Number of keys that take more than six seconds to load. */
const fillers = 24_000
const loadDelayUs = 250
