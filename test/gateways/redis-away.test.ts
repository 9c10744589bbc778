// Redis goes away for a while, under two gateways that are full of people: nobody is sent away, nothing is promised, and all goes on.
import { Centrifuge, type Subscription } from 'centrifuge'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { dataOf, door } from '../support/centrifuge-sdk.js'
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
  // What it acknowledged it still has when it comes back.
  redis = await startRedis({ config: ['appendonly yes', 'appendfsync always'] })
  manifests = await ManifestFolder.make()
  gateways = await startGateways(2, {
    redis: `redis://127.0.0.1:${redis.port}`,
    args: ['--tenants', manifests.path],
  })
  const [a, b] = gateways as [GatewayProcess, GatewayProcess]
  ann = await chatIn(a, 'ann', { shared: true })
  await joined(ann, 'general')
  // By default the SDK gives up after 5 s: on a slow machine that may be before it hears the gateway's answer.
  const options = { websocket: WebSocket, getToken: () => tokenFor('bob'), timeout: 20_000 }
  bob = new Centrifuge(door(b), options)
  bob.connect()
  general = bob.newSubscription('general', { recoverable: true })
  general.subscribe()
  await within('subscribing', general.ready())
  const heard = dataOf(general)
  await ann.done({ type: 'room_message', room: 'general', content: 'before' })
  // The acknowledgement may come first: what is not heard by the kill comes after it, out of the stream.
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

test('publishes wait for it, and are then refused by a code that says try again', async () => {
  const [chat, sdk] = await Promise.all([
    ann.ask({ type: 'room_message', room: 'general', content: 'lost' }),
    bob.publish('general', 'lost').catch((error: unknown) => error),
  ])
  expect(chat).toMatchObject({ event: 'error', code: 'BROKER_UNAVAILABLE', retry_after_ms: 1000 })
  // Centrifuge's number for it; `temporary` is what its SDKs go by.
  expect(sdk).toMatchObject({ code: 100, temporary: true })
  expect(performance.now() - awaySinceMs).toBeGreaterThan(4_000)
})

test('whoever asks for history is refused in the same way', async () => {
  expect(await ann.ask({ type: 'history', room: 'general' })).toMatchObject({ code: 'BROKER_UNAVAILABLE' })
})

test('/healthz depends on nothing, and /stats says what it does not know', async () => {
  for (const gateway of gateways) {
    expect(await gateway.ops('/healthz')).toMatchObject({ status: 200 })
    expect(await gateway.ops('/stats')).toMatchObject({
      status: 200,
      body: { connections: 1, cluster: { error: expect.stringContaining('Redis does not answer') } },
    })
  }
})

test('/readyz says why after 15 s, and not before', async () => {
  for (const gateway of gateways) {
    const reasons = await until(
      'unready',
      async () => {
        const { body, status } = await gateway.ops('/readyz')
        return status === 503 && (body['reasons'] as string[])
      },
      { deadlineMs: 75_000 },
    )
    expect(performance.now() - awaySinceMs).toBeGreaterThan(14_000)
    expect(reasons).toContainEqual(expect.stringMatching(/^Redis is away for \d+ s: .*ECONNREFUSED/))
    expect(await gateway.ops('/healthz')).toMatchObject({ status: 200 })
  }
}, 90_000)

test('nobody was sent away', () => {
  expect(ann.socket.readyState).toBe(WebSocket.OPEN)
  expect([bob.state, general.state]).toEqual(['connected', 'subscribed'])
})

test('when it is back all are ready, and go on where they were', async () => {
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

test('presence comes back as well', async () => {
  await until('both', async () => (await bob.presenceStats('general')).numUsers === 2, { deadlineMs: 25_000 })
  const cora = await chatAs(gateways[1] as GatewayProcess, 'cora')
  await ann.next('user_connected', ({ user_id }) => user_id === 'cora')
  cora.socket.terminate()
  expect(await ann.next('user_disconnected')).toMatchObject({ user_id: 'cora' })
})
