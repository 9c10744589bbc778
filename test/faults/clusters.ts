// Faults C1 to C5: what a Cluster does, and what can befall it.
import { setTimeout as sleep } from 'node:timers/promises'
import { partitionOf, partitionSlots, generationKey } from '../../src/redis/keys.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import type { RedisProcess } from '../support/redis-processes.js'
import type { Fault } from './fault.js'
import type { Channel } from './load.js'
import { World, type WorldOptions } from './world.js'

/** On each of three masters some; two of them share a slot. */
const channels: readonly Channel[] = ['red', 'blue'].flatMap((tenant) =>
  ['one', 'two', 'three', 'four'].map((channel) => ({ tenant, channel })),
)

const partitions = [
  ...new Set(channels.map(({ channel, tenant }) => partitionOf({ tenantId: tenant, channel }))),
]
const slots = partitions.map((partition) => partitionSlots[partition] ?? 0)

/** A master is missed for 2 s, and its replicas may take 1 s to agree who comes after it. */
const pauseBarMs = 6_000
/** The keys of a slot are few; what takes time is that everybody hears of it. */
const moveBarMs = 2_000

export const clusterFaults: readonly Fault[] = [
  {
    number: 'C1',
    words: 'a master of a Cluster is killed under load',
    short: true,
    run: async (fault) => {
      const world = await openOnCluster({ fault }, 2)
      const [slot = 0] = slots
      world.strike()
      await world.cluster.failOver(slot)
      await world.someAcksEach()
      await world.pause(pauseBarMs)
      await world.judge()
    },
  },
  {
    number: 'C2',
    words: 'slots are moved under load, there and back',
    short: true,
    run: async (fault) => {
      const world = await openOnCluster({ fault })
      const [first, second, third] = await mastersOf(world)
      world.strike()
      for (const to of [first, second, third, first]) {
        await world.cluster.moveSlots(slots, to)
        await world.someAcksEach()
      }
      await world.pause(moveBarMs)
      await world.judge()
    },
  },
  {
    number: 'C3',
    words: 'a resharding stops half way, and is finished 3 s later',
    run: async (fault) => {
      const world = await openOnCluster({ fault })
      const [first, second] = await mastersOf(world)
      world.strike()
      for (const to of [second, first]) {
        await world.cluster.moveSlots(slots, to, { stopAt: 'halfway' })
        await sleep(3_000)
        await world.cluster.moveSlots(slots, to)
        await world.someAcksEach()
      }
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 'C4',
    words: 'the records of generations are lost while the streams are not',
    run: async (fault) => {
      const world = await openOnCluster({ fault })
      const [first, second] = await mastersOf(world)
      // Generations that a record which begins afresh would fall behind.
      for (const to of [second, first]) {
        await world.cluster.moveSlots(slots, to)
        await world.someAcksEach(2)
      }
      world.strike()
      for (const partition of partitions) await first.cli('DEL', generationKey(partition))
      await first.cli('CLIENT', 'KILL', 'TYPE', 'normal')
      await world.someAcksEach()
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 'C5',
    words: 'a master of a Cluster is stopped for 8 s and wakes up as a master of the past',
    run: async (fault) => {
      const world = await openOnCluster({ fault }, 2)
      const [slot = 0] = slots
      const old = await world.cluster.masterOf(slot)
      world.strike()
      old.stop()
      await sleep(8_000)
      old.cont()
      await world.cluster.settled()
      await world.someAcksEach()
      await world.pause(pauseBarMs)
      await world.judge()
    },
  },
]

async function openOnCluster(options: WorldOptions, replicasPerMaster = 1): Promise<World> {
  return World.open({ ...options, on: await startRedisCluster({ replicasPerMaster }), channels })
}

async function mastersOf(world: World): Promise<[RedisProcess, RedisProcess, RedisProcess]> {
  const [first, second, third] = await world.cluster.masters()
  if (!first || !second || !third) throw new Error('it has fewer than three masters')
  return [first, second, third]
}
