// Faults C1 to C5: failovers, resharding and lost keys in a Redis Cluster.
import { setTimeout as sleep } from 'node:timers/promises'
import { partitionOf, partitionSlots, generationKey } from '../../src/redis/keys.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import type { RedisProcess } from '../support/redis-processes.js'
import type { Fault } from './fault.js'
import type { Channel } from './load.js'
import { Scenario, type ScenarioOptions } from './scenario.js'

/** Each of the three masters has some of these channels; two channels share a slot. */
const channels: readonly Channel[] = ['red', 'blue'].flatMap((tenant) =>
  ['one', 'two', 'three', 'four'].map((channel) => ({ tenant, channel })),
)

const partitions = [
  ...new Set(channels.map(({ channel, tenant }) => partitionOf({ tenantId: tenant, channel }))),
]
const slots = partitions.map((partition) => partitionSlots[partition] ?? 0)

/** The node timeout is 2 s, and the election of a replica takes up to 1 s. */
const pauseTargetMs = 6_000
/** A slot has few keys. Most of the time passes until all nodes and gateways know the new owner. */
const moveTargetMs = 2_000

export const clusterFaults: readonly Fault[] = [
  {
    number: 'C1',
    title: 'a master of a Cluster is killed under load',
    short: true,
    run: async (fault) => {
      const scenario = await openOnCluster({ fault }, 2)
      const [slot = 0] = slots
      scenario.markFault()
      await scenario.cluster.failOver(slot)
      await scenario.waitForAcksInEachChannel()
      await scenario.measurePause(pauseTargetMs)
      await scenario.verify()
    },
  },
  {
    number: 'C2',
    title: 'slots are moved under load, there and back',
    short: true,
    run: async (fault) => {
      const scenario = await openOnCluster({ fault })
      const [first, second, third] = await mastersOf(scenario)
      scenario.markFault()
      for (const to of [first, second, third, first]) {
        await scenario.cluster.moveSlots(slots, to)
        await scenario.waitForAcksInEachChannel()
      }
      await scenario.measurePause(moveTargetMs)
      await scenario.verify()
    },
  },
  {
    number: 'C3',
    title: 'a resharding stops halfway and is completed 3 s later',
    run: async (fault) => {
      const scenario = await openOnCluster({ fault })
      const [first, second] = await mastersOf(scenario)
      scenario.markFault()
      for (const to of [second, first]) {
        await scenario.cluster.moveSlots(slots, to, { stopAt: 'halfway' })
        await sleep(3_000)
        await scenario.cluster.moveSlots(slots, to)
        await scenario.waitForAcksInEachChannel()
      }
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 'C4',
    title: 'the generation records are lost, but the streams are not',
    run: async (fault) => {
      const scenario = await openOnCluster({ fault })
      const [first, second] = await mastersOf(scenario)
      // The moves increase the generations, so that a record that starts again from the beginning would be
      // lower.
      for (const to of [second, first]) {
        await scenario.cluster.moveSlots(slots, to)
        await scenario.waitForAcksInEachChannel(2)
      }
      scenario.markFault()
      for (const partition of partitions) await first.cli('DEL', generationKey(partition))
      await first.cli('CLIENT', 'KILL', 'TYPE', 'normal')
      await scenario.waitForAcksInEachChannel()
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 'C5',
    title: 'a master of a Cluster is stopped for 8 s and resumes as a former master',
    run: async (fault) => {
      const scenario = await openOnCluster({ fault }, 2)
      const [slot = 0] = slots
      const old = await scenario.cluster.masterOf(slot)
      scenario.markFault()
      old.stop()
      await sleep(8_000)
      old.cont()
      await scenario.cluster.settled()
      await scenario.waitForAcksInEachChannel()
      await scenario.measurePause(pauseTargetMs)
      await scenario.verify()
    },
  },
]

async function openOnCluster(options: ScenarioOptions, replicasPerMaster = 1): Promise<Scenario> {
  return Scenario.open({ ...options, on: await startRedisCluster({ replicasPerMaster }), channels })
}

async function mastersOf(scenario: Scenario): Promise<[RedisProcess, RedisProcess, RedisProcess]> {
  const [first, second, third] = await scenario.cluster.masters()
  if (!first || !second || !third) throw new Error('the Cluster has fewer than three masters')
  return [first, second, third]
}
