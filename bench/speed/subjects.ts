// Who is compared: Parley as operators run it, and what stands beside it. Each in a process of its own.
import { endPrograms, Program } from '../../test/support/child-process.js'
import { GatewayProcess } from '../../test/support/gateway-process.js'
import {
  endRedisProcesses,
  freePort,
  startRedis,
  startSentinelTrio,
  until,
  type RedisProcess,
} from '../../test/support/redis-processes.js'
import type { Visit } from './orders.js'
import { portOf, script } from './script.js'
import { TenantFolder } from './tenants.js'

/** Where a crowd goes, and whose CPU time counts. */
export interface Subject extends Pick<Visit, 'url' | 'language' | 'server' | 'redis' | 'tenants'> {
  readonly name: string
}

const folders: TenantFolder[] = []

async function tenantFolder(count: number): Promise<TenantFolder> {
  const folder = await TenantFolder.make(count)
  folders.push(folder)
  return folder
}

/** A gateway on a Redis of its own, or on a master with two replicas and three Sentinels. */
export async function parleyOnRedis(
  name: string,
  { tenants = 1, trio = false }: { tenants?: number; trio?: boolean } = {},
): Promise<Subject> {
  const { processes, url } = trio ? await startTrio() : await startOne()
  const folder = await tenantFolder(tenants)
  const { port, program } = await GatewayProcess.start({
    redis: url,
    args: ['--tenants', folder.path, '--log-level', 'info'],
  })
  return {
    name,
    url: `ws://127.0.0.1:${port}`,
    language: 'parley',
    server: [program.pid],
    redis: processes.map(({ pid }) => pid),
    tenants,
  }
}

async function startOne(): Promise<{ url: string; processes: RedisProcess[] }> {
  const redis = await startRedis()
  return { url: `redis://127.0.0.1:${redis.port}`, processes: [redis] }
}

/** The master first. */
async function startTrio(): Promise<{ url: string; processes: RedisProcess[] }> {
  const trio = await startSentinelTrio()
  const master = await trio.master()
  const others = [...trio.nodes, ...trio.sentinels].filter((process) => process !== master)
  return { url: trio.url, processes: [master, ...others] }
}

/** `parley dev`: no Redis. */
export async function parleyInMemory(name: string): Promise<Subject> {
  const folder = await tenantFolder(1)
  const port = await freePort()
  const program = new Program(name, [
    ...[process.execPath, 'dist/cli/main.js', 'dev', '--tenants', folder.path],
    ...['--port', String(port), '--ops-port', '0'],
  ])
  await until(name, async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok)
  const url = `ws://127.0.0.1:${port}`
  return { name, url, language: 'parley', server: [program.pid], redis: [], tenants: 1 }
}

export async function wsFloor(name: string): Promise<Subject> {
  const program = script(name, 'floor-ws.mjs')
  const url = `ws://127.0.0.1:${await portOf(program)}`
  return { name, url, language: 'ws', server: [program.pid], redis: [], tenants: 1 }
}

export async function socketIo(name: string): Promise<Subject> {
  const redis = await startRedis()
  const program = script(name, 'floor-socket-io.mjs', [redis.port])
  const url = `ws://127.0.0.1:${await portOf(program)}`
  return { name, url, language: 'socket.io', server: [program.pid], redis: [redis.pid], tenants: 1 }
}

/** Two replicas: one of them confirms. */
export async function ioredisFloor(payloadBytes: number): Promise<{ program: Program; redis: number[] }> {
  const { processes } = await startTrio()
  const [master] = processes
  if (!master) throw new Error('there is no master')
  const program = script('the ioredis loop', 'floor-ioredis.mjs', [master.port, payloadBytes], {
    listens: true,
  })
  return { program, redis: processes.map(({ pid }) => pid) }
}

/** All that was started here, and the loads. */
export async function endSubjects(): Promise<void> {
  await endPrograms()
  await endRedisProcesses()
  await Promise.all(folders.splice(0).map((folder) => folder.remove()))
}
