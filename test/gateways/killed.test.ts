// What a gateway leaves behind when it is killed with SIGKILL, and for how long. Only its expiry removes it,
// so this file waits 30 s.
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { connectedAs } from '../support/centrifuge-sdk.js'
import { chatAs, chatUrl, joined, plainGet } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  chatIn,
  clusterOf,
  defaultRules,
  ManifestFolder,
  startGateways,
  untilGatewaysSee,
  type GatewayProcess,
} from '../support/gateway-process.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'
import { within } from '../support/waiting.js'

/** The requirement is 30 s (issue 4). The test allows five times as much. */
const deadlineMs = 150_000
const testMs = deadlineMs + 10_000
const connectionsMax = 4

let manifests: ManifestFolder
let survivor: GatewayProcess
let killedAtMs: number

beforeAll(async () => {
  const redis = await startRedis()
  manifests = await ManifestFolder.make(defaultRules, { connectionsMax })
  const options = { redis: `redis://127.0.0.1:${redis.port}`, args: ['--tenants', manifests.path] }
  const [doomed, other] = (await startGateways(2, options)) as [GatewayProcess, GatewayProcess]
  survivor = other
  await untilGatewaysSee([survivor], 2)
  await Promise.all(Array.from({ length: connectionsMax }, async () => connectUntilKilled(doomed)))
  await until('its connections in /stats', async () => {
    const { connections } = await clusterOf(survivor)
    return connections === connectionsMax
  })
  await doomed.kill()
  killedAtMs = performance.now()
}, 60_000)
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

/** Connects as ann until the gateway ends. */
async function connectUntilKilled(gateway: GatewayProcess): Promise<void> {
  const socket = new WebSocket(`${chatUrl(gateway)}?token=${await gateway.token('ann')}`)
  socket.on('error', () => {})
  await within('opening', once(socket, 'open'))
}

/** Resolves to the time between the kill and the moment when `check` is true. */
async function goneAfterMs(what: string, check: () => Promise<boolean>): Promise<number> {
  await until(what, check, { deadlineMs, everyMs: 200 })
  return performance.now() - killedAtMs
}

const handshakeOf = async (user: string) =>
  plainGet(`${chatUrl(survivor)}?token=${await survivor.token(user)}`)

test('at first its connections count in the quota', async () => {
  expect(await handshakeOf('bob')).toMatchObject({ status: 429, body: { code: 'CONNECTION_LIMIT' } })
})

test(
  'its connections disappear from /stats',
  async () => {
    const ms = await goneAfterMs('one gateway', async () => (await clusterOf(survivor)).gateways.length === 1)
    expect(ms).toBeLessThan(deadlineMs)
    expect((await clusterOf(survivor)).connections).toBe(0)
  },
  testMs,
)

test(
  'its connections no longer count in the quota',
  async () => {
    const ms = await goneAfterMs('a free connection', async () => (await handshakeOf('bob')).status === 426)
    expect(ms).toBeLessThan(deadlineMs)
  },
  testMs,
)

test(
  'its users disappear from presence',
  async () => {
    const bob = await connectedAs(survivor, 'bob')
    const ms = await goneAfterMs(
      'an empty lobby',
      async () => (await bob.presenceStats('lobby')).numClients === 0,
    )
    expect(ms).toBeLessThan(deadlineMs)
  },
  testMs,
)

test('afterwards ann’s next connection is announced as her first', async () => {
  const bob = await chatIn(survivor, 'bob')
  const ann = await chatAs(survivor, 'ann')
  expect(await bob.next('user_connected', ({ user_id }) => user_id === 'ann')).toBeDefined()
  expect(await joined(ann, 'general')).toMatchObject({ recovered: true })
})
