// The numbers of members that large rooms announce, and those of presence, count the members on all gateways,
// also after a gateway has died.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { PresenceRefresher } from '../../src/gateway/presence-refresher.js'
import { silentLog } from '../../src/session/session.testing.js'
import { gatewayFor } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatClient } from '../support/chat-client.js'
import type { TestGateway } from '../support/gateway.js'
import { openTestBroker } from '../support/redis-gateway.js'
import { openTestPresence, type TestPresence } from '../support/redis-presence.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'

const ref = { tenantId: 'id-of-demo-acme', channel: 'general' }
const presences: TestPresence[] = []
const brokers: ReturnType<typeof openTestBroker>[] = []
let gateways: TestGateway[]

beforeAll(async () => {
  const redis = await startRedis()
  const url = `redis://127.0.0.1:${redis.port}`
  for (let n = 0; n < 2; n += 1) {
    brokers.push(openTestBroker(url))
    // Members of a gateway that has died count for this time.
    presences.push(openTestPresence(url, { ttlMs: 6_000 }))
  }
})
afterAll(async () => {
  await Promise.all([...brokers, ...presences].map((part) => part.close()))
  await endRedisProcesses()
})

async function startTwo(): Promise<void> {
  const parts = [0, 1].map((n) => ({ broker: brokers[n]?.broker, presence: presences[n]?.presence }))
  gateways = await Promise.all(
    parts.map(({ broker, presence }) => {
      if (!broker || !presence) throw new Error('Redis is not started')
      return gatewayFor({}, { broker, presence, limits: { announceMax: 5 } })
    }),
  )
}

async function join(count: number): Promise<ChatClient[]> {
  const clients: ChatClient[] = []
  for (let n = 0; n < count; n += 1) {
    const gateway = gateways[n % 2]
    if (!gateway) throw new Error('the gateways are not started')
    clients.push(await chatAs(gateway, `user${n}`))
    await joined(clients[n] as ChatClient, 'general')
  }
  return clients
}

const countsAtBoth = (): Promise<number[]> =>
  Promise.all(presences.map(async ({ presence }) => (await presence.stats(ref)).clients))

test('a large room announces how many members it has on both gateways, until one gateway has died', async () => {
  await startTwo()
  const clients = await join(20)
  const [ann, bob] = clients
  for (const client of [ann, bob])
    await client?.next('member_count', ({ clients: n, room }) => room === 'general' && n === 20)
  expect(await countsAtBoth()).toEqual([20, 20])
  clients[19]?.socket.close()
  for (const client of [ann, bob])
    await client?.next('member_count', ({ clients: n, room }) => room === 'general' && n === 19)
  expect(await countsAtBoth()).toEqual([19, 19])

  // The second gateway dies: it refreshes nothing any more, and announces nothing.
  const [presence, other] = presences
  await other?.kill()
  const alive = clients.filter((_, n) => n % 2 === 0)
  const [gateway] = gateways
  if (!presence || !gateway) throw new Error('the gateways are not started')
  const { hub } = gateway.gateway
  const refresher = new PresenceRefresher({ hub, presence: presence.presence, log: silentLog })
  await until('only the members of the living gateway', async () => {
    await refresher.refresh()
    return (await presence.presence.stats(ref)).clients === alive.length
  })
  alive.at(-1)?.socket.close()
  await ann?.next('member_count', ({ clients: n, room }) => room === 'general' && n === alive.length - 1)
})
