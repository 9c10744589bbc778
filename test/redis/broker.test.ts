// The broker contract on real Redis processes: standalone, a master with two replicas and Sentinels, and a
// Cluster.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { endRedisProcesses, startRedis, startSentinelTrio } from '../support/redis-processes.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { Arrivals } from '../support/waiting.js'
import { brokerContract, type OpenedBrokers } from '../../src/broker/broker.contract.js'

/**
 * The idempotency window in milliseconds. The clock of Redis cannot be moved, so the contract waits in real
 * time. The window is long enough for a busy machine.
 */
const windowMs = 2_500
const times = { historyTtlMs: 2_000, windowMs, deadlineMs: 60_000 }
const limits = { windowMs, waitMs: 10_000 }

async function open(url: string, flush: () => Promise<unknown>): Promise<OpenedBrokers> {
  await flush()
  const [one, two] = [openTestBroker(url, { limits }), openTestBroker(url, { limits })]
  return {
    broker: one.broker,
    peer: two.broker,
    advance: (ms) => sleep(ms),
    async close() {
      await Promise.all([one.close(), two.close()])
    },
  }
}

afterAll(() => endRedisProcesses())

describe('standalone', () => {
  let redis: Awaited<ReturnType<typeof startRedis>>
  beforeAll(async () => {
    redis = await startRedis()
  })
  brokerContract('RedisBroker', () => open(`redis://127.0.0.1:${redis.port}`, () => redis.cli('FLUSHALL')), {
    ...times,
    reaches: 'accepted',
  })
})

test('publishes to one channel in one turn of the event loop are stored and sent together, in order', async () => {
  const redis = await startRedis()
  const { broker, close } = openTestBroker(`redis://127.0.0.1:${redis.port}`)
  onTestFinished(close)
  const received = new Arrivals<string>('publication')
  broker.listen({
    onPublication: (_ref, { data }) => received.push(Buffer.from(data).toString()),
    onAnnouncement: () => {},
    onContinuityLost: () => {},
  })
  const ref = { tenantId: 'acme', channel: 'general' }
  await broker.subscribe(ref)
  const sent = Array.from({ length: 100 }, (_, index) => JSON.stringify(`${index}`))
  const options = { history: { size: 200, ttlMs: 60_000 } }
  const publishAll = (all: readonly string[]) =>
    Promise.all(all.map((data) => broker.publish(ref, { data: Buffer.from(data) }, options)))
  // The script of the first publish determines the epoch.
  const [first] = await publishAll(sent.slice(0, 1))
  await redis.cli('CONFIG', 'RESETSTAT')
  // A burst must leave the epoch known: otherwise every other burst takes the script that determines it.
  const bursts = [sent.slice(1, 30), sent.slice(30, 60), sent.slice(60)]
  const published = [first]
  for (const burst of bursts) published.push(...(await publishAll(burst)))
  expect(published.map((one) => one?.position?.offset)).toEqual(sent.map((_, index) => index + 1))
  expect(await received.take(sent.length)).toEqual(sent)
  const stats = await redis.cli('INFO', 'commandstats')
  const callsOf = (command: string) =>
    Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)
  for (const command of ['publish', 'evalsha']) expect(callsOf(command)).toBeLessThan(10)
  // Only the script that determines the epoch sets it.
  expect(callsOf('set')).toBe(0)
})

test('concurrent publishes after the stream was lost begin another stream, in order', async () => {
  const redis = await startRedis()
  const { broker, close } = openTestBroker(`redis://127.0.0.1:${redis.port}`)
  onTestFinished(close)
  const ref = { tenantId: 'acme', channel: 'general' }
  const publish = (data: string) =>
    broker.publish(ref, { data: Buffer.from(data) }, { history: { size: 200, ttlMs: 60_000 } })
  const before = await publish('0')
  await redis.cli('FLUSHALL')
  const words = ['1', '2', '3']
  const after = await Promise.all(words.map(publish))
  expect(after.map(({ position }) => position?.offset)).toEqual([1, 2, 3])
  expect(new Set(after.map(({ position }) => position?.epoch)).size).toBe(1)
  expect(after[0]?.position?.epoch).not.toBe(before.position?.epoch)
  const { publications } = await broker.history(ref, { limit: 10 })
  expect(publications.map(({ data }) => Buffer.from(data).toString())).toEqual(words)
})

describe('Sentinel', () => {
  let trio: Awaited<ReturnType<typeof startSentinelTrio>>
  beforeAll(async () => {
    trio = await startSentinelTrio({ downAfterMs: 5_000 })
  })
  brokerContract(
    'RedisBroker',
    async () => open(trio.url, async () => (await trio.master()).cli('FLUSHALL')),
    { ...times, reaches: 'replicated' },
  )
})

describe('Cluster', () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>
  beforeAll(async () => {
    cluster = await startRedisCluster()
  })
  brokerContract(
    'RedisBroker',
    async () =>
      open(cluster.url, async () =>
        Promise.all((await cluster.masters()).map((node) => node.cli('FLUSHALL'))),
      ),
    { ...times, reaches: 'replicated' },
  )
})
