// Faults up to the moment of judgement: whole brokers survive them, spoiled ones must not.
import { setTimeout as sleep } from 'node:timers/promises'
import { until, type RedisProcess } from '../support/redis-processes.js'
import { World, type WorldOptions } from './world.js'

/** What the replica (or all of them) gets of the master, it gets so much later. */
export function lag(master: RedisProcess, delayToClientMs: number, replica?: RedisProcess): void {
  if (replica) master.proxy?.setWhere(new RegExp(`\\r\\n${replica.port}\\r\\n`), { delayToClientMs })
  else master.proxy?.set({ delayToClientMs }, ['replication'])
}

/** The master dies, after `before` has made it worse; until publishing has resumed. */
export async function killed(
  options: WorldOptions,
  before: (world: World) => Promise<void> = async () => {},
): Promise<World> {
  const world = await World.open(options)
  await before(world)
  const old = await world.trio.master()
  world.strike()
  await old.kill()
  await world.trio.failedOver(old)
  await world.someAcks(100)
  return world
}

export async function killedWithLag(options: WorldOptions): Promise<World> {
  return killed({ ...options, trio: { proxied: true } }, async ({ trio }) => {
    lag(await trio.master(), 2_000)
    await sleep(3_000)
  })
}

/**
 * Channels that wait for no replica lose what no replica had. Subscribers come back late, when the new master has written past the place
 * where they stood: only the generation tells them that it is another place.
 */
export async function acceptedLost(options: WorldOptions): Promise<World> {
  const world = await World.open({ ...options, durability: 'accepted', trio: { proxied: true } })
  const old = await world.trio.master()
  const replicas = await world.trio.replicas()
  lag(old, 2_000)
  await sleep(3_000)
  const silent = { holdToServer: true, holdToClient: true }
  for (const { proxy } of replicas) proxy?.setWhere(/parley-(subscriber|fenced-reader)/, silent)
  world.strike()
  await old.kill()
  await world.trio.failedOver(old)
  await world.someAcks(400)
  for (const { proxy } of replicas) proxy?.heal()
  world.healed()
  await world.someAcks(100)
  return world
}

export async function cutReplies(options: WorldOptions): Promise<World> {
  const world = await World.open({ ...options, trio: { proxied: true } })
  const { proxy } = await world.trio.master()
  world.strike()
  for (let cut = 0; cut < 4; cut += 1) {
    proxy?.set({ holdToClient: true })
    await sleep(200)
    proxy?.cut()
    proxy?.heal()
    await world.someAcks(30)
  }
  return world
}

export async function wokenAtPromotion(options: WorldOptions): Promise<World> {
  const world = await World.open(options)
  const old = await world.trio.master()
  const replicas = await world.trio.replicas()
  world.strike()
  old.stop()
  await until(
    'a promotion',
    async () => (await Promise.all(replicas.map((replica) => replica.role()))).includes('master'),
    { deadlineMs: 15_000, everyMs: 5 },
  )
  old.cont()
  await world.trio.failedOver(old)
  await world.someAcks(100)
  return world
}
