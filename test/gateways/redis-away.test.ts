// Redis is unavailable for a while under two gateways with clients: no client is disconnected, nothing is
// acknowledged, and the clients continue afterwards.
import { Centrifuge, type Subscription } from 'centrifuge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { dataOf, centrifugeUrl } from '../support/centrifuge-sdk.js'
import { chatAs, joined, type ChatClient } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  chatIn,
  ManifestFolder,
  startGateways,
  tokenFor,
  type GatewayProcess,
} from '../support/gateway-process.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

let redis: RedisProcess
let manifests: ManifestFolder
let gateways: readonly GatewayProcess[]
let ann: ChatClient
let bob: Centrifuge
let general: Subscription
let awaySinceMs: number

beforeAll(async () => {
  // Redis still has every acknowledged write after the restart.
  redis = await startRedis({ config: ['appendonly yes', 'appendfsync always'] })
  manifests = await ManifestFolder.make()
  gateways = await startGateways(2, {
    redis: `redis://127.0.0.1:${redis.port}`,
    args: ['--tenants', manifests.path],
  })
  const [a, b] = gateways as [GatewayProcess, GatewayProcess]
  ann = await chatIn(a, 'ann', { shared: true })
  await joined(ann, 'general')
  // The default timeout of the SDK is 5 s. On a slow machine that may be shorter than the gateway needs to
  // answer.
  const options = { websocket: WebSocket, getToken: () => tokenFor('bob'), timeout: 20_000 }
  bob = new Centrifuge(centrifugeUrl(b), options)
  bob.connect()
  general = bob.newSubscription('general', { recoverable: true })
  general.subscribe()
  await within('subscribing', general.ready())
  const heard = dataOf(general)
  await ann.done({ type: 'room_message', room: 'general', content: 'before' })
  // The acknowledgement may arrive before the delivery. Without this wait, the delivery could come after the
  // restart, from the stream.
  expect(await heard.next()).toBe('before')
  await redis.kill()
  awaySinceMs = performance.now()
})
afterAll(async () => {
  ann.socket.terminate()
  bob.disconnect()
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

test('publishes wait for Redis, and are then refused with a temporary error', async () => {
  const [chat, sdk] = await Promise.all([
    ann.ask({ type: 'room_message', room: 'general', content: 'lost' }),
    bob.publish('general', 'lost').catch((error: unknown) => error),
  ])
  expect(chat).toMatchObject({ event: 'error', code: 'BROKER_UNAVAILABLE', retry_after_ms: 1000 })
  // Centrifuge's number for the error. Its SDKs evaluate `temporary`.
  expect(sdk).toMatchObject({ code: 100, temporary: true })
  expect(performance.now() - awaySinceMs).toBeGreaterThan(4_000)
})

test('requests for history are refused in the same way', async () => {
  expect(await ann.ask({ type: 'history', room: 'general' })).toMatchObject({ code: 'BROKER_UNAVAILABLE' })
})

test('/healthz does not depend on Redis, and /stats reports the error', async () => {
  for (const gateway of gateways) {
    expect(await gateway.ops('/healthz')).toMatchObject({ status: 200 })
    expect(await gateway.ops('/stats')).toMatchObject({
      status: 200,
      body: { connections: 1, cluster: { error: expect.stringContaining('Redis does not answer') } },
    })
  }
})

test('/readyz has the reason after 15 s, and not before', async () => {
  for (const gateway of gateways) {
    const reasons = await until(
      'a gateway that is not ready',
      async () => {
        const { body, status } = await gateway.ops('/readyz')
        return status === 503 && (body['reasons'] as string[])
      },
      { deadlineMs: 75_000 },
    )
    expect(performance.now() - awaySinceMs).toBeGreaterThan(14_000)
    expect(reasons).toContainEqual(
      expect.stringMatching(/^Redis has been unavailable for \d+ s: .*ECONNREFUSED/),
    )
    expect(await gateway.ops('/healthz')).toMatchObject({ status: 200 })
  }
}, 90_000)

test('no client was disconnected', () => {
  expect(ann.socket.readyState).toBe(WebSocket.OPEN)
  expect([bob.state, general.state]).toEqual(['connected', 'subscribed'])
})

test('when Redis is back, the gateways are ready and clients continue', async () => {
  const heard = dataOf(general)
  const moved: unknown[] = []
  for (const event of ['unsubscribed', 'subscribing'] as const) general.on(event, () => moved.push(event))
  await redis.start()
  await until('two ready gateways', async () => {
    const answers = await Promise.all(gateways.map((gateway) => gateway.ops('/readyz')))
    return answers.every(({ status }) => status === 200)
  })
  await ann.done({ type: 'room_message', room: 'general', content: 'after' })
  expect(await heard.next()).toBe('after')
  const { publications } = await bob.history('general', { limit: 10 })
  expect(publications.map(({ data }): unknown => data)).toEqual(['before', 'after'])
  expect(moved).toEqual([])
})

test('presence is restored', async () => {
  await until('both', async () => (await bob.presenceStats('general')).numUsers === 2, { deadlineMs: 25_000 })
  const cora = await chatAs(gateways[1] as GatewayProcess, 'cora')
  await ann.next('user_connected', ({ user_id }) => user_id === 'cora')
  cora.socket.terminate()
  expect(await ann.next('user_disconnected')).toMatchObject({ user_id: 'cora' })
})
