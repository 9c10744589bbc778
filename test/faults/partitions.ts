// Faults 5 to 7, 9 and 12: network partitions, and failures of replicas and Sentinels.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { FakeRedis, sentinelAnswer } from '../support/redis-fake.js'
import { RedisProxy } from '../support/redis-proxy.js'
import { until, type SentinelTrio } from '../support/redis-processes.js'
import { history, refOf } from './brokers.js'
import { pauseTargetMs, type Fault } from './fault.js'
import { Scenario, defaultChannels } from './scenario.js'

const silent = { holdToServer: true, holdToClient: true }

export const partitionFaults: readonly Fault[] = [
  {
    number: 5,
    title: 'the master is cut off from replicas and Sentinels together with one of two gateways',
    run: async (fault) => {
      const proxies: RedisProxy[] = []
      const scenario = await Scenario.open({
        fault,
        trio: { proxied: true },
        urls: async (trio) => {
          for (const { port } of trio.sentinels) proxies.push(await new RedisProxy(port).start())
          return [urlOf(trio, proxies), trio.url]
        },
      })
      for (const proxy of proxies) scenario.onClose(() => proxy.close())
      const [minority] = scenario.gateways
      const old = await scenario.trio.master()
      scenario.markFault()
      old.proxy?.set(silent, ['replication', 'sentinel'])
      for (const proxy of proxies) proxy.set(silent)
      await scenario.trio.failedOver(old)
      await scenario.waitForAcks(100)
      const ofMinority = () =>
        scenario.load.acked.filter(({ ackedMs = 0, text }) => text.includes('|g0-') && ackedMs > sinceMs)
          .length
      const sinceMs = performance.now()
      await sleep(2_000)
      expect(ofMinority(), 'acknowledged on the side of the old master').toBe(0)
      // Everything that the minority shows now must be in the final history.
      const shown = new Map<string, string[]>()
      for (const channel of defaultChannels) {
        const page = await minority?.broker.broker
          .history(refOf(channel), { limit: 1_000 })
          .catch(() => undefined)
        shown.set(
          `${channel.tenant}/${channel.channel}`,
          (page?.publications ?? []).map(({ data }) => Buffer.from(data).toString()),
        )
      }
      old.proxy?.heal()
      for (const proxy of proxies) proxy.heal()
      scenario.markHealed()
      await scenario.trio.settled()
      await until('acknowledgements at both gateways', () => ofMinority() > 50, { deadlineMs: 30_000 })
      await scenario.measurePause(pauseTargetMs)
      await scenario.verify()
      for (const { channel, entries, tenant } of scenario.histories) {
        const stored = new Set(entries.map(({ text }) => text))
        const phantoms = (shown.get(`${tenant}/${channel}`) ?? []).filter((text) => !stored.has(text))
        expect(phantoms, 'shown by the minority, but lost').toEqual([])
      }
    },
  },
  ...[
    { title: 'replies of the master do not reach the gateways for 5 s', rule: { holdToClient: true } },
    { title: 'commands of the gateways do not reach the master for 5 s', rule: { holdToServer: true } },
  ].map(({ rule, title }) => ({
    number: 6,
    title,
    run: async (fault: string) => {
      const scenario = await Scenario.open({ fault, trio: { proxied: true } })
      const { proxy } = await scenario.trio.master()
      scenario.markFault()
      proxy?.set(rule)
      await sleep(5_000)
      proxy?.heal()
      await scenario.waitForAcks(100)
      await scenario.measurePause()
      await scenario.verify()
    },
  })),
  {
    number: 7,
    title:
      'all replicas are down: publishes are refused, reads continue, and publishes succeed after they restart',
    run: async (fault) => {
      const scenario = await Scenario.open({ fault })
      const [gateway] = scenario.gateways
      const replicas = await scenario.trio.replicas()
      scenario.markFault()
      await Promise.all(replicas.map((replica) => replica.kill()))
      await sleep(2_000)
      const sinceMs = performance.now()
      const channel = { tenant: 'red', channel: 'one' }
      const ephemeral = gateway?.broker.broker.publish(
        { tenantId: 'red', channel: 'ephemeral' },
        { data: Buffer.from('yes') },
        {},
      )
      // A publish to a channel without history is not stored, so it waits for no replica.
      await expect(ephemeral).resolves.toMatchObject({ durability: 'accepted' })
      const text = 'red|one|manual'
      scenario.load.sent.push({ text, ...channel, sentMs: sinceMs, outcome: 'failed' })
      await expect(
        gateway?.broker.broker.publish(refOf(channel), { data: Buffer.from(text) }, { history }),
      ).rejects.toMatchObject({ code: 'NOT_REPLICATED' })
      const page = await gateway?.broker.broker.history(refOf(channel), { limit: 10 })
      expect(page?.publications.length).toBe(10)
      expect(scenario.load.ackedSince(sinceMs)).toBe(0)
      for (const replica of replicas) await scenario.trio.rejoin(replica)
      await scenario.waitForAcks(100)
      await scenario.verify()
    },
  },
  ...[1, 2, 3].map((count) => ({
    number: 9,
    title: `${count} of 3 Sentinels are down: publishing continues`,
    run: async (fault: string) => {
      const scenario = await Scenario.open({ fault })
      // During the first 3 s of a connection, Parley asks the Sentinels after each group of publishes. Later
      // it does not need them.
      await sleep(4_000)
      await scenario.waitForAcks(50)
      scenario.markFault()
      await Promise.all(scenario.trio.sentinels.slice(0, count).map((sentinel) => sentinel.kill()))
      await sleep(3_000)
      await scenario.waitForAcks(100)
      expect(scenario.load.failures()).toEqual({})
      await scenario.measurePause(1_000)
      for (const sentinel of scenario.trio.sentinels) if (!sentinel.alive) await sentinel.restart()
      await scenario.trio.settled()
      await scenario.verify()
    },
  })),
  {
    number: 9,
    title: 'one of 3 Sentinels is down, and the master is killed',
    run: async (fault) => {
      const scenario = await Scenario.open({ fault })
      const [sentinel] = scenario.trio.sentinels
      await sentinel?.kill()
      const old = await scenario.trio.master()
      scenario.markFault()
      await old.kill()
      await scenario.trio.failedOver(old, 30_000)
      await scenario.waitForAcks(100)
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 9,
    title: 'one of 3 Sentinels names a replica: no gateway accepts it as the master',
    run: async (fault) => {
      const fakes: FakeRedis[] = []
      const scenario = await Scenario.open({
        fault,
        urls: async (trio) => {
          const [replica] = await trio.replicas()
          const wrongSentinel = await new FakeRedis(
            sentinelAnswer(() => ({ host: '127.0.0.1', port: replica?.port ?? 0 })),
          ).start()
          fakes.push(wrongSentinel)
          const url = urlOf(trio, [wrongSentinel, ...trio.sentinels.slice(1)])
          return [url, url]
        },
      })
      for (const fake of fakes) scenario.onClose(() => fake.close())
      const old = await scenario.trio.master()
      scenario.markFault()
      await old.kill()
      await scenario.trio.failedOver(old)
      await scenario.waitForAcks(100)
      await scenario.measurePause(pauseTargetMs)
      await scenario.verify()
    },
  },
  {
    number: 12,
    title: 'two failovers within ten seconds, and a third one to the first master',
    run: async (fault) => {
      const scenario = await Scenario.open({ fault })
      const first = await scenario.trio.master()
      scenario.markFault()
      await first.kill()
      const second = await scenario.trio.failedOver(first)
      await scenario.trio.rejoin(first)
      scenario.markFault()
      await second.kill()
      const third = await scenario.trio.failedOver(second)
      await scenario.waitForAcks(50)
      await scenario.trio.rejoin(second)
      scenario.markFault()
      await third.kill()
      await scenario.trio.failedOver(third)
      await scenario.waitForAcks(100)
      await scenario.measurePause(pauseTargetMs)
      await scenario.verify()
    },
  },
]

/** A URL of the same master with other Sentinels. */
function urlOf({ masterName }: SentinelTrio, sentinels: readonly { readonly port: number }[]): string {
  return `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${masterName}`
}
