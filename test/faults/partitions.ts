// Faults 5 to 7, 9 and 12: who still sees whom.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { FakeRedis, sentinelAnswer } from '../support/redis-fake.js'
import { RedisProxy } from '../support/redis-proxy.js'
import { until, type SentinelTrio } from '../support/redis-processes.js'
import { history, refOf } from './brokers.js'
import { pauseBarMs, type Fault } from './fault.js'
import { World, worldChannels } from './world.js'

const silent = { holdToServer: true, holdToClient: true }

export const partitionFaults: readonly Fault[] = [
  {
    number: 5,
    words: 'the master is cut off from replicas and Sentinels together with one of two gateways',
    run: async (fault) => {
      const views: RedisProxy[] = []
      const world = await World.open({
        fault,
        trio: { proxied: true },
        urls: async (trio) => {
          for (const { port } of trio.sentinels) views.push(await new RedisProxy(port).start())
          return [urlOf(trio, views), trio.url]
        },
      })
      for (const view of views) world.alsoClose(() => view.close())
      const [minority] = world.gateways
      const old = await world.trio.master()
      world.strike()
      old.proxy?.set(silent, ['replication', 'sentinel'])
      for (const view of views) view.set(silent)
      await world.trio.failedOver(old)
      await world.someAcks(100)
      const ofMinority = () =>
        world.load.acked.filter(({ ackedMs = 0, text }) => text.includes('|g0-') && ackedMs > sinceMs).length
      const sinceMs = performance.now()
      await sleep(2_000)
      expect(ofMinority(), 'acknowledged on the side of the old master').toBe(0)
      // What is shown there now must hold afterwards.
      const shown = new Map<string, string[]>()
      for (const channel of worldChannels) {
        const page = await minority?.broker.broker
          .history(refOf(channel), { limit: 1_000 })
          .catch(() => undefined)
        shown.set(
          `${channel.tenant}/${channel.channel}`,
          (page?.publications ?? []).map(({ data }) => Buffer.from(data).toString()),
        )
      }
      old.proxy?.heal()
      for (const view of views) view.heal()
      world.healed()
      await world.trio.settled()
      await until('acknowledgements of both', () => ofMinority() > 50, { deadlineMs: 30_000 })
      await world.pause(pauseBarMs)
      await world.judge()
      for (const { channel, entries, tenant } of world.histories) {
        const held = new Set(entries.map(({ text }) => text))
        const phantoms = (shown.get(`${tenant}/${channel}`) ?? []).filter((text) => !held.has(text))
        expect(phantoms, 'shown by the minority, and gone').toEqual([])
      }
    },
  },
  ...[
    { words: 'what the master says does not reach the gateways for 5 s', rule: { holdToClient: true } },
    { words: 'what the gateways say does not reach the master for 5 s', rule: { holdToServer: true } },
  ].map(({ rule, words }) => ({
    number: 6,
    words,
    run: async (fault: string) => {
      const world = await World.open({ fault, trio: { proxied: true } })
      const { proxy } = await world.trio.master()
      world.strike()
      proxy?.set(rule)
      await sleep(5_000)
      proxy?.heal()
      await world.someAcks(100)
      await world.pause()
      await world.judge()
    },
  })),
  {
    number: 7,
    words: 'all replicas are down: publishes are refused, reads go on, and all is well when they are back',
    run: async (fault) => {
      const world = await World.open({ fault })
      const [gateway] = world.gateways
      const replicas = await world.trio.replicas()
      world.strike()
      await Promise.all(replicas.map((replica) => replica.kill()))
      await sleep(2_000)
      const sinceMs = performance.now()
      const channel = { tenant: 'red', channel: 'one' }
      const passing = gateway?.broker.broker.publish(
        { tenantId: 'red', channel: 'passing' },
        { data: Buffer.from('yes') },
        {},
      )
      // Nothing is stored in a channel without history, so it has nothing to wait for.
      await expect(passing).resolves.toMatchObject({ durability: 'accepted' })
      const text = 'red|one|by hand'
      world.load.sent.push({ text, ...channel, sentMs: sinceMs, outcome: 'failed' })
      await expect(
        gateway?.broker.broker.publish(refOf(channel), { data: Buffer.from(text) }, { history }),
      ).rejects.toMatchObject({ code: 'NOT_REPLICATED' })
      const page = await gateway?.broker.broker.history(refOf(channel), { limit: 10 })
      expect(page?.publications.length).toBe(10)
      expect(world.load.ackedSince(sinceMs)).toBe(0)
      for (const replica of replicas) await world.trio.rejoin(replica)
      await world.someAcks(100)
      await world.judge()
    },
  },
  ...[1, 2, 3].map((count) => ({
    number: 9,
    words: `${count} of 3 Sentinels are down: nothing happens`,
    run: async (fault: string) => {
      const world = await World.open({ fault })
      // In its first 3 s a connection is asked about after each group; one that stands needs nobody's word.
      await sleep(4_000)
      await world.someAcks(50)
      world.strike()
      await Promise.all(world.trio.sentinels.slice(0, count).map((sentinel) => sentinel.kill()))
      await sleep(3_000)
      await world.someAcks(100)
      expect(world.load.failures()).toEqual({})
      await world.pause(1_000)
      for (const sentinel of world.trio.sentinels) if (!sentinel.alive) await sentinel.restart()
      await world.trio.settled()
      await world.judge()
    },
  })),
  {
    number: 9,
    words: 'one of 3 Sentinels is down, and the master is killed',
    run: async (fault) => {
      const world = await World.open({ fault })
      const [sentinel] = world.trio.sentinels
      await sentinel?.kill()
      const old = await world.trio.master()
      world.strike()
      await old.kill()
      await world.trio.failedOver(old, 30_000)
      await world.someAcks(100)
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 9,
    words: 'one of 3 Sentinels names a replica: nobody takes it for the master',
    run: async (fault) => {
      const fakes: FakeRedis[] = []
      const world = await World.open({
        fault,
        urls: async (trio) => {
          const [replica] = await trio.replicas()
          const liar = await new FakeRedis(
            sentinelAnswer(() => ({ host: '127.0.0.1', port: replica?.port ?? 0 })),
          ).start()
          fakes.push(liar)
          const url = urlOf(trio, [liar, ...trio.sentinels.slice(1)])
          return [url, url]
        },
      })
      for (const fake of fakes) world.alsoClose(() => fake.close())
      const old = await world.trio.master()
      world.strike()
      await old.kill()
      await world.trio.failedOver(old)
      await world.someAcks(100)
      await world.pause(pauseBarMs)
      await world.judge()
    },
  },
  {
    number: 12,
    words: 'two failovers within ten seconds, and a third one back',
    run: async (fault) => {
      const world = await World.open({ fault })
      const first = await world.trio.master()
      world.strike()
      await first.kill()
      const second = await world.trio.failedOver(first)
      await world.trio.rejoin(first)
      world.strike()
      await second.kill()
      const third = await world.trio.failedOver(second)
      await world.someAcks(50)
      await world.trio.rejoin(second)
      world.strike()
      await third.kill()
      await world.trio.failedOver(third)
      await world.someAcks(100)
      await world.pause(pauseBarMs)
      await world.judge()
    },
  },
]

/** The same master, asked of other Sentinels. */
function urlOf({ masterName }: SentinelTrio, sentinels: readonly { readonly port: number }[]): string {
  return `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${masterName}`
}
