// Revocations on a Cluster, and after a failover.
import { afterAll, afterEach, expect, test } from 'vitest'
import { revocationsTag } from '../../src/redis/keys.js'
import { revocationContract } from '../../src/revocation/store.contract.js'
import { startRedisOf } from '../support/redis-cluster.js'
import { endRedisProcesses, startSentinelTrio, type RedisProcess } from '../support/redis-processes.js'
import { endRevocations, openTestRevocations } from '../support/redis-revocations.js'
import { deadlineMs } from '../support/waiting.js'

afterEach(() => endRevocations())
afterAll(() => endRedisProcesses())

let cluster: Promise<{ url: string; redis: RedisProcess }> | undefined

revocationContract('RedisRevocations on a Cluster', async () => {
  const { redis, url } = await (cluster ??= startRedisOf('a Cluster', revocationsTag))
  await redis.cli('FLUSHALL')
  return openTestRevocations(url)
})

test('an acknowledged revocation survives the crash of the master', async () => {
  const trio = await startSentinelTrio({ downAfterMs: 1_000 })
  await trio.settled()
  const { store } = await openTestRevocations(trio.url, { waitReplicas: 1 })
  await store.add('t1', { user: 'before' })
  const master = await trio.master()
  await master.kill()
  await trio.failedOver(master)
  // Until the link leads to the new master, the call is refused as temporary.
  await expect
    .poll(
      () =>
        store.add('t1', { user: 'after' }).then(
          () => 'added',
          () => 'refused',
        ),
      {
        timeout: deadlineMs,
      },
    )
    .toBe('added')
  const late = await openTestRevocations(trio.url, { waitReplicas: 1 })
  const users = [...late.store.open('t1', { revoked() {} })].map(({ user }) => user ?? '')
  expect(users.toSorted()).toEqual(['after', 'before'])
})
