// A tenant with a backlog of requests, while Redis is slow, does not make another tenant wait for all of it.
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openTestBroker } from '../support/redis-gateway.js'
import { openTestPresence } from '../support/redis-presence.js'
import { endRedisProcesses, startRedis, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let url = ''

beforeAll(async () => {
  redis = await startRedis()
  url = `redis://127.0.0.1:${redis.port}`
})
afterAll(() => endRedisProcesses())

const backlog = 5_000

/**
 * Sends a backlog of tenant a and then one request of tenant b to a paused Redis. Resolves with how many
 * requests of tenant a were answered before that of tenant b.
 */
async function answeredBefore(
  send: (ref: { tenantId: string; channel: string }) => Promise<unknown>,
): Promise<number> {
  // The connection is open before Redis pauses.
  await send({ tenantId: 'b', channel: 'general' })
  await redis.cli('CLIENT', 'PAUSE', '300', 'ALL')
  let answered = 0
  const first = Array.from({ length: 100 }, (_, n) => send({ tenantId: 'a', channel: `first:${n}` }))
  // The first pipeline is under way, and Redis does not answer it.
  await new Promise((resolve) => setTimeout(resolve, 50))
  const others = Array.from({ length: backlog }, async (_, n) => {
    await send({ tenantId: 'a', channel: `room:${n}` })
    answered += 1
  })
  await send({ tenantId: 'b', channel: 'general' })
  const before = answered
  await Promise.all([...first, ...others])
  return before
}

const limits = { waitMs: 30_000, queueMs: 30_000 }

test('reads of history', async () => {
  const { broker, close } = openTestBroker(url, { limits })
  onTestFinished(close)
  expect(await answeredBefore((ref) => broker.history(ref, { limit: 10 }))).toBeLessThan(backlog / 10)
})

test('calls of presence', async () => {
  const { close, presence } = openTestPresence(url, { waitMs: 30_000, replyMs: 30_000 })
  onTestFinished(close)
  expect(await answeredBefore((ref) => presence.stats(ref))).toBeLessThan(backlog / 2)
})

test('publications with history', async () => {
  const { broker, close } = openTestBroker(url, { limits })
  onTestFinished(close)
  const message = { data: Buffer.from(JSON.stringify('x'.repeat(2_000))) }
  const history = { size: 10, ttlMs: 60_000 }
  expect(await answeredBefore((ref) => broker.publish(ref, message, { history }))).toBeLessThan(backlog / 2)
})
