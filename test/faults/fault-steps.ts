// Faults up to the verification. Correct brokers survive them; brokers with a deliberate fault must not.
import { setTimeout as sleep } from 'node:timers/promises'
import { until, type RedisProcess } from '../support/redis-processes.js'
import { Scenario, type ScenarioOptions } from './scenario.js'

/** Delays the replication to one replica, or to all of them. */
export function delayReplication(
  master: RedisProcess,
  delayToClientMs: number,
  replica?: RedisProcess,
): void {
  if (replica) master.proxy?.setWhere(new RegExp(`\\r\\n${replica.port}\\r\\n`), { delayToClientMs })
  else master.proxy?.set({ delayToClientMs }, ['replication'])
}

/** Kills the master after `before`. Resolves when publishing has resumed. */
export async function killMaster(
  options: ScenarioOptions,
  before: (scenario: Scenario) => Promise<void> = async () => {},
): Promise<Scenario> {
  const scenario = await Scenario.open(options)
  await before(scenario)
  const old = await scenario.trio.master()
  scenario.markFault()
  await old.kill()
  await scenario.trio.failedOver(old)
  await scenario.waitForAcks(100)
  return scenario
}

/** Kills the master while all replicas are 2 s behind. */
export async function killLaggedMaster(options: ScenarioOptions): Promise<Scenario> {
  return killMaster({ ...options, trio: { proxied: true } }, async ({ trio }) => {
    delayReplication(await trio.master(), 2_000)
    await sleep(3_000)
  })
}

/**
 * Kills the master while channels wait for no replica, so that publications without a replica are lost.
 * Subscribers reconnect only after the new master has passed their offset: only the generation shows that the
 * stream at that offset is a different one.
 */
export async function loseAcceptedData(options: ScenarioOptions): Promise<Scenario> {
  const scenario = await Scenario.open({ ...options, durability: 'accepted', trio: { proxied: true } })
  const old = await scenario.trio.master()
  const replicas = await scenario.trio.replicas()
  delayReplication(old, 2_000)
  await sleep(3_000)
  const silent = { holdToServer: true, holdToClient: true }
  for (const { proxy } of replicas) proxy?.setWhere(/parley-(subscriber|fenced-reader)/, silent)
  scenario.markFault()
  await old.kill()
  await scenario.trio.failedOver(old)
  await scenario.waitForAcks(400)
  for (const { proxy } of replicas) proxy?.heal()
  scenario.markHealed()
  await scenario.waitForAcks(100)
  return scenario
}

/** Cuts the connections four times between the execution of commands and their replies. */
export async function cutReplies(options: ScenarioOptions): Promise<Scenario> {
  const scenario = await Scenario.open({ ...options, trio: { proxied: true } })
  const { proxy } = await scenario.trio.master()
  scenario.markFault()
  for (let cut = 0; cut < 4; cut += 1) {
    proxy?.set({ holdToClient: true })
    await sleep(200)
    proxy?.cut()
    proxy?.heal()
    await scenario.waitForAcks(30)
  }
  return scenario
}

/** Stops the master, and resumes it at the moment of a promotion. Resolves when publishing has resumed. */
export async function resumeAtPromotion(options: ScenarioOptions): Promise<Scenario> {
  const scenario = await Scenario.open(options)
  const old = await scenario.trio.master()
  const replicas = await scenario.trio.replicas()
  scenario.markFault()
  old.stop()
  await until(
    'a promotion',
    async () => (await Promise.all(replicas.map((replica) => replica.role()))).includes('master'),
    { deadlineMs: 15_000, everyMs: 5 },
  )
  old.cont()
  await scenario.trio.failedOver(old)
  await scenario.waitForAcks(100)
  return scenario
}
