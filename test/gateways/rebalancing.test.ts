// Rebalancing after a scale-up from one gateway to three, behind a balancer that picks at random and keeps
// connections, like a Kubernetes Service.
import { setTimeout as pace } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  collect,
  connected,
  connectedAs,
  dataOf,
  centrifugeUrl,
  sdkAt,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { chatAs } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  clusterOf,
  GatewayProcess,
  ManifestFolder,
  startGateways,
  tokenFor,
  type GatewayProcessOptions,
} from '../support/gateway-process.js'
import { TestProxy } from '../support/proxy.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'

const clients = 300
const listeners = 12

let manifests: ManifestFolder
let options: GatewayProcessOptions
const gateways: GatewayProcess[] = []
let balancer: TestProxy

beforeAll(async () => {
  const redis = await startRedis()
  manifests = await ManifestFolder.make()
  const args = ['--tenants', manifests.path, '--rebalance-window', '1']
  options = { redis: `redis://127.0.0.1:${redis.port}`, args }
  gateways.push(await GatewayProcess.start(options))
  balancer = await new TestProxy(
    () => gateways[Math.floor(Math.random() * gateways.length)]?.port ?? 0,
  ).start()
})
afterAll(async () => {
  await balancer.stop()
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

const throughBalancer = (user: string) =>
  connected(sdkAt(centrifugeUrl(balancer), { getToken: () => tokenFor(user) }))

async function counts(): Promise<number[]> {
  const [first] = gateways
  if (!first) throw new Error('no gateway')
  return (await clusterOf(first)).gateways.map(({ connections }) => connections)
}

test('clients are advised, move until the gateways are even, and miss nothing', async () => {
  // The client that is connected longest is closed first.
  const oldest = await chatAs({ ws: `ws://127.0.0.1:${balancer.port}`, token: tokenFor }, 'oldest')
  const heard = await Promise.all(
    Array.from({ length: listeners }, async (_, index) => {
      const subscription = await subscribed(await throughBalancer(`listener-${index}`), 'general', {
        recoverable: true,
      })
      return { data: dataOf(subscription), again: collect(subscription, 'subscribed') }
    }),
  )
  for (let index = listeners + 1; index < clients; index += 25) {
    const some = Array.from({ length: Math.min(25, clients - index) }, (_, more) => index + more)
    await Promise.all(some.map((user) => throughBalancer(`user-${user}`)))
  }

  gateways.push(...(await startGateways(2, options)))
  const [, , last] = gateways
  if (!last) throw new Error('no third gateway')
  // On a gateway below the mean, which closes no session.
  const bob = await connectedAs(last, 'bob')
  let published = 0
  const even = new AbortController()
  const publishing = (async () => {
    for (; !even.signal.aborted; published += 1)
      await Promise.all([bob.publish('general', published), pace(10)])
  })()

  expect(await oldest.next('reconnect')).toMatchObject({ after_ms: expect.any(Number) as number })
  expect(await oldest.closed()).toEqual({ code: 3001, reason: 'shutdown: another gateway has more room' })
  // The oldest client does not reconnect, and bob is new. Random placement may differ by three standard
  // deviations of 100.
  await until(
    'an even fleet',
    async () => {
      const seen = await counts()
      return Math.max(...seen) <= 130 && seen.reduce((sum, count) => sum + count) === clients
    },
    { deadlineMs: 150_000, everyMs: 500 },
  )
  even.abort()
  await publishing
  for (const { again, data } of heard) {
    expect(await data.take(published)).toEqual(Array.from({ length: published }, (_, n) => n))
    expect(again.waiting.length).toBeGreaterThan(0)
    for (const context of again.waiting)
      expect(context).toMatchObject({ wasRecovering: true, recovered: true })
  }
  const evicted = await Promise.all(gateways.map(async (gateway) => evictedBy(gateway)))
  expect(evicted.slice(1)).toEqual([0, 0])
  // Two thirds have to move, and some return to the same gateway by chance.
  expect(evicted[0]).toBeLessThan(clients * 1.5)
}, 240_000)

async function evictedBy({ opsPort }: GatewayProcess): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text()
  return Number(/^parley_rebalanced_sessions_total (\d+)$/m.exec(text)?.[1])
}
