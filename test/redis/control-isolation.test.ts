// Tests that control commands of one tenant do not cost another tenant its own: two gateways on one real
// Redis, of which one is cut off for a while.
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { commandHistory, commandsChannel } from '../../src/gateway/fleet/command-follower.js'
import { createLog } from '../../src/log.js'
import type { Session } from '../../src/session/session.js'
import type { TenantRuntime } from '../../src/session/tenant/runtime.js'
import { chatAs, type ChatClient } from '../support/chat-client.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { tenantPolicy } from '../support/policies.js'
import { openTestBroker, type TestRedisBroker } from '../support/redis-gateway.js'
import {
  endRedisProcesses,
  startProxy,
  startRedis,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'
import type { RedisProxy } from '../support/redis-proxy.js'

interface LogLine {
  readonly msg: string
  readonly tenant?: string
  readonly missed?: number
}

let redis: RedisProcess
/** Between Redis and `there`. */
let proxy: RedisProxy
let brokers: TestRedisBroker[]
let here: TestGateway
let there: TestGateway
let lines: LogLine[]

const policies = [tenantPolicy(), tenantPolicy({ name: 'beta', tenantId: 'tenant-beta' })]

beforeEach(async () => {
  redis = await startRedis()
  proxy = await startProxy(redis.port)
  brokers = [redis.port, proxy.port].map((port) => openTestBroker(`redis://127.0.0.1:${port}`))
  lines = []
  const write = (line: string) => void lines.push(JSON.parse(line) as LogLine)
  const log = createLog({ level: 'warn', name: 'test', write })
  const started = await Promise.all(brokers.map(({ broker }) => startGateway(policies, { broker, log })))
  here = started[0]!
  there = started[1]!
})
afterEach(async () => {
  proxy.heal()
  await Promise.all([here.stop(), there.stop()])
  await Promise.all(brokers.map((broker) => broker.close()))
})
afterAll(() => endRedisProcesses())

function tenantAt({ gateway }: TestGateway, key: string): TenantRuntime<Session> {
  const tenant = gateway.tenant(key)
  if (!tenant) throw new Error('there is no tenant')
  return tenant
}

const disconnect = (user: string, key: string): Promise<void> =>
  here.gateway.userCommands.disconnect(tenantAt(here, key), { user })

/** Connects `count` users of the tenant to the gateway `there`. */
const usersOf = (tenant: string, count: number): Promise<ChatClient[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => chatAs(there, `user-${n}`, { tenant })))

async function cutOff(): Promise<void> {
  proxy.set({ refuse: true })
  await until('a gateway without Redis', () => proxy.count('client') === 0)
}

test('a flood of one tenant refuses its own commands, and loses none that were acknowledged', async () => {
  const clients = await usersOf('demo/beta', 60)
  await cutOff()
  const flood = await Promise.allSettled(
    Array.from({ length: 3_000 }, (_, n) => disconnect(`stranger-${n}`, 'demo/acme')),
  )
  const refused = flood.filter((one) => one.status === 'rejected')
  expect(refused.length).toBeGreaterThan(2_000)
  for (const { reason } of refused) expect(reason).toMatchObject({ code: 'QUOTA_EXCEEDED' })
  await Promise.all(clients.map((_, n) => disconnect(`user-${n}`, 'demo/beta')))
  proxy.heal()
  for (const client of clients) expect(await client.closed()).toMatchObject({ code: 3503 })
  expect(lines.filter(({ msg }) => msg.includes('commands'))).toEqual([])
})

test('a tenant whose commands were trimmed reconnects its clients, and the others are not touched', async () => {
  const [acme, beta] = [await chatAs(there, 'ann'), await chatAs(there, 'bob', { tenant: 'demo/beta' })]
  await cutOff()
  const { policy } = tenantAt(here, 'demo/acme')
  const ref = { tenantId: policy.tenantId, channel: commandsChannel }
  const data = Buffer.from('{"commands":[]}')
  const flood = Array.from({ length: commandHistory.size * 2 }, () => data)
  while (flood.length > 0) {
    const some = flood.splice(0, 500)
    await Promise.all(
      some.map((one) => brokers[0]!.broker.publish(ref, { data: one }, { history: commandHistory })),
    )
  }
  proxy.heal()
  expect(await acme.closed()).toMatchObject({
    code: 3010,
    reason: expect.stringContaining('commands of the backend were missed') as string,
  })
  const trimmed = lines.filter(({ msg }) => msg.startsWith('control stream trimmed'))
  expect(trimmed).toMatchObject([{ tenant: 'demo/acme' }])
  expect(trimmed[0]?.missed).toBeGreaterThan(commandHistory.size / 2)
  await beta.settle()
  await disconnect('bob', 'demo/beta')
  expect(await beta.closed()).toMatchObject({ code: 3503 })
})

test('after Redis has lost its data, commands that it has again take effect', async () => {
  const [ann, bob] = [await chatAs(there, 'ann'), await chatAs(there, 'bob')]
  await cutOff()
  await redis.cli('FLUSHALL')
  await disconnect('ann', 'demo/acme')
  proxy.heal()
  expect(await ann.closed()).toMatchObject({ code: 3503 })
  expect(lines.some(({ msg }) => msg.startsWith('Redis lost its data'))).toBe(true)
  await bob.settle()
})

test('a command sent right after the first connect of a tenant reaches it', async () => {
  for (let round = 0; round < 20; round += 1) {
    there.catalog.put(tenantPolicy({ name: `new-${round}`, tenantId: `new-${round}` }))
    here.catalog.put(tenantPolicy({ name: `new-${round}`, tenantId: `new-${round}` }))
    const client = await chatAs(there, 'ann', { tenant: `demo/new-${round}` })
    await disconnect('ann', `demo/new-${round}`)
    expect(await client.closed()).toMatchObject({ code: 3503 })
  }
})

test('clients that connected without Redis are disconnected by a command sent meanwhile', async () => {
  // Presence and quotas of this gateway are in memory, so only the broker is cut off.
  await cutOff()
  const client = await chatAs(there, 'ann')
  await disconnect('ann', 'demo/acme')
  await client.settle()
  proxy.heal()
  expect(await client.closed()).toMatchObject({ code: 3503 })
})
