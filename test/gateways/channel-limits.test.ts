// The limits of channels hold over several gateways, for everything that uses a channel: subscriptions of
// clients, of tokens and of the backend, and publications with history.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import { adminKey, apiError, apiKey, apiResult } from '../support/api-client.js'
import { gatewayOnRedis } from '../support/centrifuge-sdk.js'
import { rawAs, rawAt } from '../support/frames.js'
import type { TestGateway } from '../support/gateway.js'
import { generousLimits, rule } from '../support/policies.js'
import { endLedgers, startLedgers, type LedgerGateway } from '../support/redis-ledger.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let ledgers: LedgerGateway[]
let one: TestGateway
let two: TestGateway

beforeAll(async () => {
  redis = await startRedis()
})
afterEach(() => endLedgers())
afterAll(() => endRedisProcesses())

async function start(channels: Partial<TenantPolicy['limits']['channels']>): Promise<void> {
  await redis.cli('FLUSHALL')
  const url = `redis://127.0.0.1:${redis.port}`
  ledgers = await startLedgers(2, url, { runs: true, timing: { connectionsTtlMs: 8_000, refreshMs: 500 } })
  const policy = {
    limits: { ...generousLimits, channels: { ...generousLimits.channels, ...channels } },
    channels: [rule('room:*'), rule('live:*', { history: null })],
    apiKeys: [apiKey(adminKey)],
  }
  const started = await Promise.all(ledgers.map(({ ledger }) => gatewayOnRedis(url, policy, { ledger })))
  ;[one, two] = started as [TestGateway, TestGateway]
}

const subscribe = (channel: string): object => ({ subscribe: { channel } })
const channelLimit = { error: { code: 106, message: expect.stringContaining('CHANNEL_LIMIT') as string } }

describe('a tenant with four channels on two gateways', () => {
  beforeEach(async () => {
    await start({ max: 4 })
    const [ann, bob] = [await rawAs(one, 'ann'), await rawAs(two, 'bob')]
    expect(await ann.ask(2, subscribe('room:a'))).toHaveProperty('subscribe')
    expect(await ann.ask(3, subscribe('live:b'))).toHaveProperty('subscribe')
    expect(await bob.ask(2, subscribe('room:c'))).toHaveProperty('subscribe')
    await apiResult(two, 'publish', { channel: 'room:d', data: 1 })
  })

  test('gets no fifth channel: not by a client, a token, the backend or a publication with history', async () => {
    for (const gateway of [one, two]) {
      const eve = await rawAs(gateway, `eve${gateway.port}`)
      expect(await eve.ask(2, subscribe('room:e'))).toMatchObject(channelLimit)
      expect(await eve.ask(3, { publish: { channel: 'room:e', data: 1 } })).toMatchObject(channelLimit)
      expect(await apiError(gateway, 'publish', { channel: 'room:e', data: 1 })).toMatchObject({
        message: expect.stringContaining('CHANNEL_LIMIT') as string,
      })
      await apiResult(gateway, 'subscribe', { user: `eve${gateway.port}`, channel: 'room:e' })
      await apiResult(gateway, 'subscribe', { user: `eve${gateway.port}`, channel: 'room:a' })
      await until('the subscription to the open channel alone', () =>
        Promise.resolve(eve.lines.waiting.some((line) => line.includes('room:a'))),
      )
      expect(eve.lines.waiting.some((line) => line.includes('room:e'))).toBe(false)
      const mia = await rawAt(gateway)
      const token = await gateway.token('mia', { claims: { channels: ['room:e', 'room:c', 'live:b'] } })
      const reply = (await mia.ask(1, { connect: { token } })) as { connect?: { subs?: object } }
      expect(Object.keys(reply.connect?.subs ?? {}).toSorted()).toEqual(['live:b', 'room:c'])
    }
    expect(one.gateway.tenant('demo/acme')?.quota.channelsByAll).toBe(4)
  })

  test('may use the four channels at both gateways, and publish without history anywhere', async () => {
    for (const gateway of [one, two]) {
      const eve = await rawAs(gateway, 'eve')
      for (const [index, channel] of ['room:a', 'live:b', 'room:c', 'room:d'].entries()) {
        expect(await eve.ask(2 + 2 * index, subscribe(channel))).toHaveProperty('subscribe')
        expect(await eve.ask(3 + 2 * index, { publish: { channel, data: 1 } })).toHaveProperty('publish')
      }
      expect(await eve.ask(20, { publish: { channel: 'live:x', data: 1 } })).toHaveProperty('publish')
    }
  })

  test('gets another channel when a gateway was killed, but keeps those with history', async () => {
    const eve = await rawAs(two, 'eve')
    expect(await eve.ask(2, subscribe('live:e'))).toMatchObject(channelLimit)
    await ledgers[0]?.kill()
    let id = 2
    for (const channel of ['live:e', 'live:f']) {
      await until('a free channel', async () => {
        id += 1
        return 'subscribe' in ((await eve.ask(id, subscribe(channel))) as object)
      })
    }
    // Nothing was published in the channels of the killed gateway; room:c and room:d belong to the gateway
    // that lives.
    expect(await eve.ask(1_001, subscribe('live:g'))).toMatchObject(channelLimit)
  })
})

test('a channel has as many subscribers on all gateways as its limit allows', async () => {
  await start({ maxSubscribersPerChannel: 3 })
  const answers = await Promise.all(
    Array.from({ length: 12 }, async (_, n) => {
      const client = await rawAs(n % 2 === 0 ? one : two, `user${n}`)
      return { client, reply: await client.ask(2, subscribe('room:a')) }
    }),
  )
  const admitted = answers.filter(({ reply }) => 'subscribe' in (reply as object))
  expect(admitted).toHaveLength(3)
  const refused = answers.find(({ reply }) => !('subscribe' in (reply as object)))
  expect(refused?.reply).toMatchObject({
    error: { code: 106, message: expect.stringContaining('it has 3 of 3 subscribers') as string },
  })
  await admitted[0]?.client.ask(3, { unsubscribe: { channel: 'room:a' } })
  let id = 3
  await until('a free place', async () => {
    id += 1
    const reply = await refused?.client.ask(id, subscribe('room:a'))
    return reply !== undefined && 'subscribe' in reply
  })
})
