// The contract, against real Redis processes: one alone, a master with two replicas behind Sentinels, a Cluster.
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, beforeAll, afterAll } from 'vitest'
import { endRedisProcesses, startRedis, startSentinelTrio } from '../support/redis-processes.js'
import { startRedisCluster } from '../support/redis-cluster.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { brokerContract, type OpenedBrokers } from '../../src/broker/broker.contract.js'

/** Redis's own clock cannot be moved: what passes in the contract is real, and short. */
const windowMs = 500
const times = { historyTtlMs: 300, windowMs, sizeSlack: 200 }

async function open(url: string, flush: () => Promise<unknown>): Promise<OpenedBrokers> {
  await flush()
  const [one, two] = [
    openTestBroker(url, { limits: { windowMs } }),
    openTestBroker(url, { limits: { windowMs } }),
  ]
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

describe('Sentinel', () => {
  let trio: Awaited<ReturnType<typeof startSentinelTrio>>
  beforeAll(async () => {
    trio = await startSentinelTrio()
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
