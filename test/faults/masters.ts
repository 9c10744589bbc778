// Faults 1 to 4, 8 and 10: failures of a master and of its replicas.
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { SentinelTrio, startRedis, startReplica, startSentinels } from '../support/redis-processes.js'
import { pauseTargetMs, type Fault } from './fault.js'
import { loseAcceptedData, killMaster, delayReplication, resumeAtPromotion } from './fault-steps.js'
import { StarvedError, Scenario, type ScenarioOptions } from './scenario.js'

export const masterFaults: readonly Fault[] = [
  {
    number: 1,
    title: 'the master is killed under load',
    short: true,
    run: (fault) => runMasterKill({ fault }),
  },
  {
    number: 2,
    title: 'the master is killed while one replica is 2 s behind',
    short: true,
    run: (fault) =>
      runMasterKill({ fault, trio: { proxied: true } }, async ({ trio }) => {
        const [delayed] = await trio.replicas()
        delayReplication(await trio.master(), 2_000, delayed)
        await sleep(2_500)
      }),
  },
  {
    number: 2,
    title:
      'the master is killed while all replicas are 2 s behind: nothing is acknowledged that the replicas lack',
    run: (fault) =>
      runMasterKill(
        { fault, trio: { proxied: true } },
        async ({ trio }) => {
          delayReplication(await trio.master(), 2_000)
          await sleep(3_000)
        },
        { targetMs: undefined },
      ),
  },
  {
    number: 2,
    title: 'the master is killed while all replicas are 0.5 s behind',
    run: (fault) =>
      runMasterKill({ fault, trio: { proxied: true } }, async ({ trio }) => {
        delayReplication(await trio.master(), 500)
        await sleep(2_000)
      }),
  },
  {
    number: 3,
    title: 'the links to the replicas are cut, then the master is killed',
    short: true,
    run: (fault) =>
      runMasterKill(
        { fault, trio: { proxied: true } },
        async (scenario) => {
          const { proxy } = await scenario.trio.master()
          proxy?.set({ refuse: true }, ['replication'])
          await sleep(1_500)
          const nowMs = performance.now()
          await sleep(1_500)
          expect(scenario.load.ackedSince(nowMs), 'acknowledged without replicas').toBe(0)
        },
        { targetMs: undefined },
      ),
  },
  {
    number: 4,
    title: 'the master is stopped for 3 s and resumes as a former master',
    short: true,
    run: (fault) => runMasterStop(fault, 3_000),
  },
  ...[1_000, 1_500, 2_000, 8_000].map((ms) => ({
    number: 4,
    title: `the master is stopped for ${ms / 1000} s`,
    run: (fault: string) => runMasterStop(fault, ms),
  })),
  {
    number: 4,
    title: 'the master resumes at the moment of a promotion',
    run: async (fault) => {
      const scenario = await resumeAtPromotion({ fault })
      await scenario.measurePause()
      await scenario.verify()
    },
  },
  {
    number: 2,
    title: 'channels that wait for no replica lose data, and every subscriber is notified',
    run: async (fault) => {
      const scenario = await loseAcceptedData({ fault })
      await scenario.measurePause()
      await scenario.verify({ onlyAccepted: true })
    },
  },
  {
    number: 8,
    title:
      'the master restarts empty in less than a second: all data is lost, and every subscriber is notified',
    short: true,
    run: async (fault) => {
      const scenario = await Scenario.open({ fault })
      const master = await scenario.trio.master()
      scenario.markFault()
      await master.kill()
      await master.start()
      await scenario.waitForAcks(100)
      await scenario.measurePause()
      await scenario.verify({ storeLost: true })
    },
  },
  {
    number: 10,
    title: 'another master of the same Sentinels fails over: Parley is not affected',
    short: true,
    run: async (fault) => {
      const [main, other] = await startTwoTrios()
      const scenario = await Scenario.open({ fault, on: main })
      const connections = scenario.gateways.flatMap(({ broker }) =>
        [...broker.links.values()].map((link) => link.current),
      )
      scenario.markFault()
      const old = await other.master()
      await old.kill()
      await other.failedOver(old)
      await scenario.waitForAcks(100)
      const lost = connections.flatMap((live) => (live?.lost.aborted ? [String(live.lost.reason)] : []))
      // A connection that missed a deadline was not redirected: the machine was too busy.
      const late = lost.find((reason) => / within \d+ ms$/.test(reason))
      if (late) throw new StarvedError(late)
      expect(lost).toEqual([])
      expect(scenario.load.failures()).toEqual({})
      await scenario.measurePause(1_000)
      await scenario.verify()
    },
  },
]

/** Kills the master and verifies the result. `targetMs` undefined: there is no target for the pause. */
async function runMasterKill(
  options: ScenarioOptions,
  before?: (scenario: Scenario) => Promise<void>,
  { targetMs }: { targetMs: number | undefined } = { targetMs: pauseTargetMs },
): Promise<void> {
  const scenario = await killMaster(options, before)
  await scenario.measurePause(targetMs)
  await scenario.verify()
}

async function runMasterStop(fault: string, ms: number): Promise<void> {
  const scenario = await Scenario.open({ fault })
  const old = await scenario.trio.master()
  scenario.markFault()
  old.stop()
  await sleep(ms)
  old.cont()
  await scenario.waitForAcks(100)
  // The old master must have its final role before the verification.
  await scenario.trio.settled()
  await scenario.waitForAcks(50)
  await scenario.measurePause(ms > 2_500 ? pauseTargetMs : undefined)
  await scenario.verify()
}

async function startTwoTrios(): Promise<[SentinelTrio, SentinelTrio]> {
  const startNodes = async () => {
    const master = await startRedis()
    return { master, replicas: [await startReplica(master), await startReplica(master)] }
  }
  const [main, other] = await Promise.all([startNodes(), startNodes()])
  const sentinels = await startSentinels([
    { masterName: 'main', ...main },
    { masterName: 'other', ...other },
  ])
  const trios = [
    new SentinelTrio({ masterName: 'main', nodes: [main.master, ...main.replicas], sentinels }),
    new SentinelTrio({ masterName: 'other', nodes: [other.master, ...other.replicas], sentinels }),
  ] as const
  await Promise.all(trios.map((trio) => trio.settled()))
  return [...trios]
}
