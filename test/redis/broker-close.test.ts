// Tests what close() of a Redis broker waits for.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RecordingListener } from '../../src/broker/listener.testing.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { endRedisProcesses, startRedis, type RedisProcess } from '../support/redis-processes.js'

const ref = { tenantId: 't1', channel: 'c' }
const history = { size: 2_000, ttlMs: 60_000 }

let redis: RedisProcess
let url: string
beforeAll(async () => {
  redis = await startRedis()
  url = `redis://127.0.0.1:${redis.port}`
})
afterAll(() => endRedisProcesses())

test('close() waits until every publish is answered and its message is sent to every subscriber', async () => {
  const [one, two] = [openTestBroker(url), openTestBroker(url)]
  const received = new RecordingListener(20_000)
  two.broker.listen(received)
  await two.broker.subscribe(ref)
  await one.broker.publish(ref, { data: Buffer.from('first') }, { history })
  let answered = 0
  const publishes = Array.from({ length: 1_000 }, (_, n) =>
    one.broker.publish(ref, { data: Buffer.from(String(n)) }, { history }).finally(() => (answered += 1)),
  )
  const outcomes = Promise.allSettled(publishes)
  await one.close()
  expect(answered).toBe(publishes.length)
  expect((await outcomes).filter(({ status }) => status === 'rejected')).toEqual([])
  await received.untilCount(ref, 1_001)
  await two.close()
})

test('close() waits for an unavailable Redis no longer than a publish may wait', async () => {
  const opened = openTestBroker(url, { limits: { queueMs: 500, flushMs: 100 } })
  await opened.broker.publish(ref, { data: Buffer.from('first') }, { history })
  await redis.kill()
  const late = opened.broker.publish(ref, { data: Buffer.from('late') }, { history })
  const refusal = late.catch((error: unknown) => error)
  await opened.close()
  expect(await refusal).toMatchObject({
    code: expect.stringMatching('BROKER_UNAVAILABLE|NOT_REPLICATED'),
  })
})
