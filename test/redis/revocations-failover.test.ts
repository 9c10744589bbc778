// Revocations on a Cluster, and after a failover.
import { afterAll, afterEach, expect, test } from 'vitest'
import type { CommandError } from '../../src/errors.js'
import { revocationsTag } from '../../src/redis/keys.js'
import { revocationContract } from '../../src/revocation/store.contract.js'
import { startRedisOf } from '../support/redis-cluster.js'
import { endRedisProcesses, startSentinelTrio, type RedisProcess } from '../support/redis-processes.js'
import { endRevocations, openTestRevocations, type TestRevocations } from '../support/redis-revocations.js'
import { deadlineMs } from '../support/waiting.js'

afterEach(() => endRevocations())
afterAll(() => endRedisProcesses())

let cluster: Promise<{ url: string; redis: RedisProcess }> | undefined

revocationContract('RedisRevocations on a Cluster', async () => {
  const { redis, url } = await (cluster ??= startRedisOf('a Cluster', revocationsTag))
  await redis.cli('FLUSHALL')
  return openTestRevocations(url)
})

/** Repeats a revocation until it is acknowledged: too few replicas or no master are temporary. */
async function acknowledged({ store }: TestRevocations, user: string): Promise<void> {
  const attempt = (): Promise<string> =>
    store.add('t1', { user }).then(
      () => 'added',
      ({ code }: CommandError) => code,
    )
  await expect.poll(attempt, { timeout: deadlineMs }).toBe('added')
}

test('an acknowledged revocation survives the crash of the master', async () => {
  const trio = await startSentinelTrio({ downAfterMs: 1_000 })
  await trio.settled()
  const here = await openTestRevocations(trio.url, { waitReplicas: 1 })
  await acknowledged(here, 'before')
  const master = await trio.master()
  await master.kill()
  await trio.failedOver(master)
  await acknowledged(here, 'after')
  const late = await openTestRevocations(trio.url, { waitReplicas: 1 })
  const users = [...late.store.open('t1', { revoked() {} })].map(({ user }) => user ?? '')
  expect(users.toSorted()).toEqual(['after', 'before'])
})
