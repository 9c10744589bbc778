// The servers that are compared: Parley as operators run it, and the baselines. Each runs in a process of its
// own.
import { tenantIdFromName } from '../../src/compile/tenant.js'
import { revocationKeys, tenantRevocationsKey } from '../../src/redis/keys.js'
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
import type { LoadPlan } from './load-commands.js'
import { portOf, startScript } from './script.js'
import { TenantFolder } from './tenants.js'

/** A server under test, and the processes whose CPU time is measured. */
export interface Subject extends Pick<LoadPlan, 'url' | 'protocol' | 'server' | 'redis' | 'tenants'> {
  readonly name: string
}

const folders: TenantFolder[] = []

async function tenantFolder(count: number): Promise<TenantFolder> {
  const folder = await TenantFolder.make(count)
  folders.push(folder)
  return folder
}

/** All clients of a benchmark have one address, like the clients behind a proxy that is not trusted. */
const oneAddress = ['--unauthenticated-per-address', '10000', '--address-handshake-rate', '3000']

/**
 * Starts a gateway with one Redis, or with a master, two replicas and three Sentinels. `forStrangers`: it has
 * the default limits by address. `revocations` is the number of revocations of the first tenant, of each kind
 * an equal part. They refuse no client.
 */
export async function parleyOnRedis(
  name: string,
  {
    forStrangers = false,
    revocations = 0,
    sentinels = false,
    tenants = 1,
  }: { tenants?: number; sentinels?: boolean; forStrangers?: boolean; revocations?: number } = {},
): Promise<Subject> {
  const { processes, url } = sentinels ? await startReplicated() : await startSingle()
  if (revocations > 0) await writeRevocations(processes[0], revocations)
  const folder = await tenantFolder(tenants)
  const { port, program } = await GatewayProcess.start({
    redis: url,
    args: ['--tenants', folder.path, '--log-level', 'info', ...(forStrangers ? [] : oneAddress)],
  })
  return {
    name,
    url: `ws://127.0.0.1:${port}`,
    protocol: 'parley',
    server: [program.pid],
    redis: processes.map(({ pid }) => pid),
    tenants,
  }
}

async function writeRevocations(redis: RedisProcess | undefined, count: number): Promise<void> {
  const tenantId = tenantIdFromName('bench', 't0')
  const { tenants } = revocationKeys('parley')
  const lua = `
    for i = 1, tonumber(ARGV[2]), 3 do
      redis.call('ZADD', KEYS[2], 0, 'user:revoked ' .. i .. '\\n- -')
      redis.call('ZADD', KEYS[2], 0, 'issued:revoked ' .. i .. '\\n- 1000000')
      redis.call('ZADD', KEYS[2], 0, 'jti:revoked ' .. i .. '\\n4102444800000 -')
    end
    redis.call('HSET', KEYS[1], ARGV[1], 1)
    return redis.call('ZCARD', KEYS[2])`
  await redis?.cli('EVAL', lua, '2', tenants, tenantRevocationsKey(tenantId), tenantId, String(count))
}

async function startSingle(): Promise<{ url: string; processes: RedisProcess[] }> {
  const redis = await startRedis()
  return { url: `redis://127.0.0.1:${redis.port}`, processes: [redis] }
}

/** Starts a master with two replicas and three Sentinels. The master is the first process. */
async function startReplicated(): Promise<{ url: string; processes: RedisProcess[] }> {
  const sentinels = await startSentinelTrio()
  const master = await sentinels.master()
  const others = [...sentinels.nodes, ...sentinels.sentinels].filter((process) => process !== master)
  return { url: sentinels.url, processes: [master, ...others] }
}

/** Starts `parley dev`, which needs no Redis. */
export async function parleyInMemory(name: string): Promise<Subject> {
  const folder = await tenantFolder(1)
  const port = await freePort()
  const program = new Program(name, [
    ...[process.execPath, 'dist/cli/main.js', 'dev', '--tenants', folder.path],
    ...['--port', String(port), '--ops-port', '0'],
  ])
  await until(name, async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).ok)
  const url = `ws://127.0.0.1:${port}`
  return { name, url, protocol: 'parley', server: [program.pid], redis: [], tenants: 1 }
}

export async function wsBaseline(name: string): Promise<Subject> {
  const program = startScript(name, 'baseline-ws.mjs')
  const url = `ws://127.0.0.1:${await portOf(program)}`
  return { name, url, protocol: 'ws', server: [program.pid], redis: [], tenants: 1 }
}

export async function socketIo(name: string): Promise<Subject> {
  const redis = await startRedis()
  const program = startScript(name, 'baseline-socket-io.mjs', [redis.port])
  const url = `ws://127.0.0.1:${await portOf(program)}`
  return { name, url, protocol: 'socket.io', server: [program.pid], redis: [redis.pid], tenants: 1 }
}

/** Starts the ioredis loop with a master and two replicas, of which one must confirm. */
export async function ioredisBaseline(payloadBytes: number): Promise<{ program: Program; redis: number[] }> {
  const { processes } = await startReplicated()
  const [master] = processes
  if (!master) throw new Error('There is no master')
  const program = startScript('the ioredis loop', 'baseline-ioredis.mjs', [master.port, payloadBytes], {
    hasStdin: true,
  })
  return { program, redis: processes.map(({ pid }) => pid) }
}

/** Ends all servers that were started here, and all load processes. */
export async function endSubjects(): Promise<void> {
  await endPrograms()
  await endRedisProcesses()
  await Promise.all(folders.splice(0).map((folder) => folder.remove()))
}
