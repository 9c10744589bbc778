// Faults 1 to 12: what can befall a master, its replicas and its Sentinels. Numbers are those of docs/faults.md.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { SentinelTrio, startRedis, startReplica, startSentinels } from '../support/redis-processes.js'
import { pauseBarMs, type Fault } from './fault.js'
import { acceptedLost, killed, lag, wokenAtPromotion } from './staged.js'
import { StarvedError, World, type WorldOptions } from './world.js'

export const masterFaults: readonly Fault[] = [
  {
    number: 1,
    words: 'the master is killed under load',
    short: true,
    run: (fault) => survivesKill({ fault }),
  },
  {
    number: 2,
    words: 'the master is killed while one replica is 2 s behind',
    short: true,
    run: (fault) =>
      survivesKill({ fault, trio: { proxied: true } }, async ({ trio }) => {
        const [laggard] = await trio.replicas()
        lag(await trio.master(), 2_000, laggard)
        await sleep(2_500)
      }),
  },
  {
    number: 2,
    words: 'the master is killed while all replicas are 2 s behind: nothing is acknowledged that they lack',
    run: (fault) =>
      survivesKill(
        { fault, trio: { proxied: true } },
        async ({ trio }) => {
          lag(await trio.master(), 2_000)
          await sleep(3_000)
        },
        { barMs: undefined },
      ),
  },
  {
    number: 2,
    words: 'the master is killed while all replicas are 0.5 s behind',
    run: (fault) =>
      survivesKill({ fault, trio: { proxied: true } }, async ({ trio }) => {
        lag(await trio.master(), 500)
        await sleep(2_000)
      }),
  },
  {
    number: 3,
    words: 'the links to the replicas are cut, then the master is killed',
    short: true,
    run: (fault) =>
      survivesKill(
        { fault, trio: { proxied: true } },
        async (world) => {
          const { proxy } = await world.trio.master()
          proxy?.set({ refuse: true }, ['replication'])
          await sleep(1_500)
          const nowMs = performance.now()
          await sleep(1_500)
          expect(world.load.ackedSince(nowMs), 'acknowledged without replicas').toBe(0)
        },
        { barMs: undefined },
      ),
  },
  {
    number: 4,
    words: 'the master is stopped for 3 s and wakes up as a master of the past',
    short: true,
    run: (fault) => stopped(fault, 3_000),
  },
  ...[1_000, 1_500, 2_000, 8_000].map((ms) => ({
    number: 4,
    words: `the master is stopped for ${ms / 1000} s`,
    run: (fault: string) => stopped(fault, ms),
  })),
  {
    number: 4,
    words: 'the master wakes up in the moment in which another is promoted',
    run: async (fault) => {
      const world = await wokenAtPromotion({ fault })
      await world.pause()
      await world.judge()
    },
  },
  {
    number: 2,
    words: 'channels that wait for no replica lose what it lacks, and everybody is told',
    run: async (fault) => {
      const world = await acceptedLost({ fault })
      await world.pause()
      await world.judge({ onlyAccepted: true })
    },
  },
  {
    number: 8,
    words: 'the master comes back empty in less than a second: all data is gone, and everybody is told',
    short: true,
    run: async (fault) => {
      const world = await World.open({ fault })
      const master = await world.trio.master()
      world.strike()
      await master.kill()
      await master.start()
      await world.someAcks(100)
      await world.pause()
      await world.judge({ storeLost: true })
    },
  },
  {
    number: 10,
    words: 'another master on the same Sentinels fails over: nothing happens here',
    short: true,
    run: async (fault) => {
      const [ours, theirs] = await twoTrios()
      const world = await World.open({ fault, on: ours })
      const connections = world.gateways.flatMap(({ broker }) =>
        [...broker.links.values()].map((link) => link.current),
      )
      world.strike()
      const old = await theirs.master()
      await old.kill()
      await theirs.failedOver(old)
      await world.someAcks(100)
      const lost = connections.flatMap((live) => (live?.lost.aborted ? [String(live.lost.reason)] : []))
      // Nobody led it elsewhere: it missed a deadline.
      const late = lost.find((reason) => / within \d+ ms$/.test(reason))
      if (late) throw new StarvedError(late)
      expect(lost).toEqual([])
      expect(world.load.failures()).toEqual({})
      await world.pause(1_000)
      await world.judge()
    },
  },
]

/** Killed and judged. `barMs` undefined: the pause is no promise here. */
async function survivesKill(
  options: WorldOptions,
  before?: (world: World) => Promise<void>,
  { barMs }: { barMs: number | undefined } = { barMs: pauseBarMs },
): Promise<void> {
  const world = await killed(options, before)
  await world.pause(barMs)
  await world.judge()
}

async function stopped(fault: string, ms: number): Promise<void> {
  const world = await World.open({ fault })
  const old = await world.trio.master()
  world.strike()
  old.stop()
  await sleep(ms)
  old.cont()
  await world.someAcks(100)
  // Whatever it did meanwhile, it is in its place in the end.
  await world.trio.settled()
  await world.someAcks(50)
  await world.pause(ms > 2_500 ? pauseBarMs : undefined)
  await world.judge()
}

async function twoTrios(): Promise<[SentinelTrio, SentinelTrio]> {
  const set = async () => {
    const master = await startRedis()
    return { master, replicas: [await startReplica(master), await startReplica(master)] }
  }
  const [ours, theirs] = await Promise.all([set(), set()])
  const sentinels = await startSentinels([
    { masterName: 'ours', ...ours },
    { masterName: 'theirs', ...theirs },
  ])
  const trios = [
    new SentinelTrio({ masterName: 'ours', nodes: [ours.master, ...ours.replicas], sentinels }),
    new SentinelTrio({ masterName: 'theirs', nodes: [theirs.master, ...theirs.replicas], sentinels }),
  ] as const
  await Promise.all(trios.map((trio) => trio.settled()))
  return [...trios]
}
