// Tests of the test helpers that start and disturb Redis processes.
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { startRedisCluster } from '../support/redis-cluster.js'
import { RedisProxy } from '../support/redis-proxy.js'
import {
  endRedisProcesses,
  startRedis,
  startReplica,
  startSentinelTrio,
  until,
} from '../support/redis-processes.js'

afterAll(endRedisProcesses)

test('a process can be killed and restarted', async () => {
  const redis = await startRedis()
  expect(await redis.cli('PING')).toBe('PONG')
  const { pid } = redis
  await redis.kill()
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  await redis.restart()
  expect(await redis.cli('PING')).toBe('PONG')
})

test('a Sentinel trio starts settled and elects a new master', async () => {
  const startMs = performance.now()
  const trio = await startSentinelTrio({ downAfterMs: 500 })
  const startedMs = performance.now() - startMs
  const old = await trio.master()
  await old.kill()
  const now = await trio.failedOver(old)
  expect(now).not.toBe(old)
  await old.restart()
  await trio.settled()
  expect(await old.role()).toBe('slave')
  console.info(`trio started in ${Math.round(startedMs)} ms`)
})

test('a proxied replica lags by the delay of its link, while clients have no delay', async () => {
  const master = await startRedis({ proxied: true })
  const replica = await startReplica(master, { proxied: true })
  await until('a replica in step', async () =>
    (await replica.cli('INFO', 'replication')).includes('master_link_status:up'),
  )
  master.proxy?.set({ delayToClientMs: 400 }, ['replication'])
  const startMs = performance.now()
  await master.cli('SET', 'k', 'v')
  await until('the write on the replica', async () => (await replica.cli('GET', 'k')) === 'v')
  expect(performance.now() - startMs).toBeGreaterThan(350)
  expect(master.proxy?.count('replication')).toBe(1)
})

test('a proxy that gets another target cuts a connection that has sent nothing yet', async () => {
  const [before, after] = [await startRedis(), await startRedis()]
  const proxy = await new RedisProxy(before.port).start()
  const clients = async (): Promise<number> => (await before.cli('CLIENT', 'LIST')).split('\n').length
  const alone = await clients()
  const socket = connect(proxy.port, '127.0.0.1').on('error', () => {})
  const closed = once(socket, 'close')
  await until('the connection through the proxy', async () => (await clients()) > alone)
  proxy.retarget(after.port)
  await closed
  expect(socket.bytesRead).toBe(0)
  await proxy.close()
})

test('a Cluster starts settled, fails over and can be resharded', async () => {
  const startMs = performance.now()
  const cluster = await startRedisCluster()
  console.info(`Cluster started in ${Math.round(performance.now() - startMs)} ms`)
  expect((await cluster.masters()).length).toBe(3)
  const { now, old } = await cluster.failOver(0)
  await old.restart()
  await cluster.settled()
  expect(await cluster.replicasOf(now)).toEqual([old])
  const [, other] = await cluster.masters()
  if (!other) throw new Error('no other master')
  await now.cli('SET', '{3560}', 'x')
  await cluster.moveSlots([0, 1, 2], other)
  expect(await cluster.masterOf(2)).toBe(other)
  expect(await cluster.masterOf(3)).toBe(now)
})
