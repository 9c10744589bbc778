// Reads of large histories: the reply of Redis is bounded in bytes, and nothing is lost by that.
import { afterAll, expect, onTestFinished, test } from 'vitest'
import { readBytesMax } from '../../src/broker/redis/scripts.js'
import { readHistory } from '../../src/session/commands/query.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { endRedisProcesses, startRedis } from '../support/redis-processes.js'

afterAll(() => endRedisProcesses())

const ref = { tenantId: 'acme', channel: 'general' }

test.each([false, true])('a read of large publications ends at its bytes (reverse: %s)', async (reverse) => {
  const redis = await startRedis()
  const { broker, close } = openTestBroker(`redis://127.0.0.1:${redis.port}`)
  onTestFinished(close)
  const history = { size: 1_000, ttlMs: 600_000 }
  const sizes = Array.from({ length: 120 }, (_, n) => (n % 3 === 0 ? 60_000 : 20_000))
  for (const [n, size] of sizes.entries())
    await broker.publish(ref, { data: Buffer.from(JSON.stringify(`${n} `.padEnd(size, 'x'))) }, { history })
  const numberOf = ({ data }: { data: Uint8Array }): number => parseInt(Buffer.from(data).toString().slice(1))
  const expected = sizes.map((_, n) => (reverse ? sizes.length - 1 - n : n))

  const page = await broker.history(ref, { limit: 1_000, reverse })
  const bytes = page.publications.reduce((sum, { data }) => sum + data.byteLength, 0)
  expect(bytes).toBeGreaterThan(readBytesMax * 0.9)
  expect(bytes).toBeLessThan(readBytesMax + 70_000)
  expect(page.publications.map(numberOf)).toEqual(expected.slice(0, page.publications.length))

  const read: number[] = []
  let since = reverse ? undefined : { epoch: page.top.epoch, offset: 0 }
  for (let rounds = 0; rounds < 100 && read.length < sizes.length; rounds += 1) {
    const query = { limit: 300, since, reverse, pageMax: 300, pageBytesMax: 524_288 }
    const { publications, top } = (await readHistory(broker, ref, query)).page
    read.push(...publications.map(numberOf))
    since = { epoch: top.epoch, offset: publications.at(-1)?.offset ?? 0 }
  }
  expect(read).toEqual(expected)
})

test('a gateway that missed more than one read may have still delivers everything', async () => {
  const redis = await startRedis()
  const url = `redis://127.0.0.1:${redis.port}`
  const [one, two] = [openTestBroker(url), openTestBroker(url)]
  onTestFinished(async () => {
    await Promise.all([one.close(), two.close()])
  })
  const delivered: number[] = []
  let lost = 0
  two.broker.listen({
    onPublication: (_ref, { data }) => void delivered.push(data.byteLength),
    onAnnouncement: () => {},
    onContinuityLost: () => void (lost += 1),
  })
  await two.broker.subscribe(ref)
  const data = Buffer.from(JSON.stringify('x'.repeat(60_000)))
  const history = { size: 1_000, ttlMs: 600_000 }
  for (let n = 0; n < 60; n += 1) {
    // The connections of pub/sub end again and again, so that the gateway reads what it missed.
    if (n % 20 === 5) await redis.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await one.broker.publish(ref, { data }, { history })
  }
  await expect.poll(() => delivered.length, { timeout: 60_000 }).toBe(60)
  expect(lost).toBe(0)
})
