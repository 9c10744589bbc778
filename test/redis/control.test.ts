// Tests that a user is disconnected on every gateway: two gateways, one real Redis, and both protocols.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { closeCodes } from '../../src/protocol/codes.js'
import type { Session } from '../../src/session/session.js'
import type { TenantRuntime } from '../../src/session/tenant/runtime.js'
import { connectedAs, next } from '../support/centrifuge-sdk.js'
import { chatAs } from '../support/chat-client.js'
import { startGateway, type TestGateway } from '../support/gateway.js'
import { tenantPolicy } from '../support/policies.js'
import { openTestBroker, type TestRedisBroker } from '../support/redis-gateway.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let brokers: TestRedisBroker[]
let gateways: TestGateway[]

beforeAll(async () => {
  redis = await startRedis({ config: ['appendonly yes', 'appendfsync always'] })
})
afterAll(() => endRedisProcesses())

beforeEach(async () => {
  const url = `redis://127.0.0.1:${redis.port}`
  brokers = [openTestBroker(url), openTestBroker(url)]
  const policies = [tenantPolicy(), tenantPolicy({ name: 'beta' })]
  gateways = await Promise.all(brokers.map(({ broker }) => startGateway(policies, { broker })))
  await until('gateways that follow the control channel', () =>
    gateways.every(({ gateway }) => gateway.unreadyReasons().length === 0),
  )
})
afterEach(async () => {
  await Promise.all(gateways.map((gateway) => gateway.stop()))
  await Promise.all(brokers.map((broker) => broker.close()))
})

function gatewayAt(index: number): TestGateway {
  const gateway = gateways[index]
  if (!gateway) throw new Error(`there is no gateway ${index}`)
  return gateway
}

function tenantAt(index: number, key = 'demo/acme'): TenantRuntime<Session> {
  const tenant = gatewayAt(index).gateway.tenant(key)
  if (!tenant) throw new Error('there is no tenant')
  return tenant
}

describe('disconnect', () => {
  test('ends all connections of the user on every gateway and endpoint, and no connection of another user', async () => {
    const here = await chatAs(gatewayAt(0), 'ann')
    const there = await connectedAs(gatewayAt(1), 'ann')
    const bob = await chatAs(gatewayAt(1), 'bob')
    const disconnected = next(there, 'disconnected')
    await gatewayAt(0).gateway.userCommands.disconnect(tenantAt(0), { user: 'ann' })
    expect(await here.closed()).toMatchObject({ code: 3503 })
    expect(await disconnected).toMatchObject({ code: 3503, reason: 'force disconnect' })
    await bob.settle()
  })

  test('can select one connection by its client name or its session, or exclude connections', async () => {
    const [one, two, three] = [
      await chatAs(gatewayAt(0), 'ann', { clientId: 'one' }),
      await chatAs(gatewayAt(1), 'ann', { clientId: 'two' }),
      await chatAs(gatewayAt(1), 'ann', { clientId: 'three' }),
    ]
    const { gateway } = gatewayAt(0)
    await gateway.userCommands.disconnect(
      tenantAt(0),
      { user: 'ann', client: 'two' },
      closeCodes.forceReconnect,
    )
    expect(await two.closed()).toMatchObject({ code: 3011 })
    await gateway.userCommands.disconnect(tenantAt(0), { user: 'ann', except: ['three'] })
    expect(await one.closed()).toMatchObject({ code: 3503 })
    await three.settle()
    const [session] = tenantAt(1).sessions
    await gateway.userCommands.disconnect(tenantAt(0), { user: 'ann', session: session?.id })
    expect(await three.closed()).toMatchObject({ code: 3503 })
  })

  test('never reaches a tenant that was recreated under the name', async () => {
    const ann = await chatAs(gatewayAt(1), 'ann')
    const bob = await chatAs(gatewayAt(1), 'bob', { tenant: 'demo/beta' })
    gatewayAt(0).catalog.put(tenantPolicy({ tenantId: 'another' }))
    const { gateway } = gatewayAt(0)
    await gateway.userCommands.disconnect(tenantAt(0), { user: 'ann' })
    await gateway.userCommands.disconnect(tenantAt(0, 'demo/beta'), { user: 'bob' })
    expect(await bob.closed()).toMatchObject({ code: 3503 })
    await ann.settle()
    expect(ann.socket.readyState).toBe(ann.socket.OPEN)
  })

  test('waits for a Redis that is unavailable for a short time', async () => {
    const ann = await chatAs(gatewayAt(1), 'ann')
    await redis.kill()
    const disconnecting = gatewayAt(0).gateway.userCommands.disconnect(tenantAt(0), { user: 'ann' })
    await redis.start()
    await disconnecting
    expect(await ann.closed()).toMatchObject({ code: 3503 })
  })
})

test('a gateway that cannot follow the control channel is not ready, and executes commands when it can', async () => {
  await redis.kill()
  const broker = openTestBroker(`redis://127.0.0.1:${redis.port}`)
  brokers.push(broker)
  const late = await startGateway([tenantPolicy()], { broker: broker.broker })
  gateways.push(late)
  expect(late.gateway.unreadyReasons()).toContainEqual(expect.stringContaining('control channel'))
  await redis.start()
  await until('a gateway that is ready', () => late.gateway.unreadyReasons().length === 0, {
    deadlineMs: 30_000,
  })
  const ann = await chatAs(late, 'ann')
  await gatewayAt(0).gateway.userCommands.disconnect(tenantAt(0), { user: 'ann' })
  expect(await ann.closed()).toMatchObject({ code: 3503 })
})
