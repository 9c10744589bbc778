// A gateway ends by SIGTERM, with a drain, or by SIGKILL. Its clients continue on the other gateway.
import type { Centrifuge } from 'centrifuge'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  connected,
  connectedAs,
  dataOf,
  centrifugeUrl,
  next,
  sdkAmong,
  subscribed,
} from '../support/centrifuge-sdk.js'
import { chatAs, chatUrl, joined, refusedUpgrade } from '../support/chat-client.js'
import { endPrograms } from '../support/child-process.js'
import {
  chatIn,
  clusterOf,
  defaultRules,
  GatewayProcess,
  ManifestFolder,
  openRule,
  tokenFor,
  untilGatewaysSee,
  type GatewayProcessOptions,
} from '../support/gateway-process.js'
import { publishContinuously } from '../support/publishing.js'
import { endRedisProcesses, startRedis, until } from '../support/redis-processes.js'

const rooms = ['moved', 'killed', 'left'].map((room) => openRule(room))
let manifests: ManifestFolder
let options: GatewayProcessOptions
/** Runs during the whole file. */
let a: GatewayProcess
/** Is stopped or killed by each test. */
let b: GatewayProcess

beforeAll(async () => {
  const redis = await startRedis()
  manifests = await ManifestFolder.make([...defaultRules, ...rooms])
  options = { redis: `redis://127.0.0.1:${redis.port}`, args: ['--tenants', manifests.path] }
  a = await GatewayProcess.start(options)
})
beforeEach(async () => {
  b = await GatewayProcess.start(options)
  await untilGatewaysSee([a], 2)
  return () => b.stop()
})
afterAll(async () => {
  await endPrograms()
  await endRedisProcesses()
  await manifests.remove()
})

/** Connects to `b` first, and to `a` when that fails. */
async function mover(user: string): Promise<Centrifuge> {
  return connected(sdkAmong([centrifugeUrl(b), centrifugeUrl(a)], { getToken: () => tokenFor(user) }))
}

/**
 * Calls `end` while ann is connected to `b` and bob publishes. Ann must receive every message once, in order.
 */
async function expectNothingMissed(channel: string, end: () => Promise<unknown>): Promise<void> {
  const ann = await mover('ann')
  const subscription = await subscribed(ann, channel, { recoverable: true })
  const heard = dataOf(subscription)
  const stop = publishContinuously(await connectedAs(a, 'bob'), channel)
  await until('some publications', () => heard.waiting.length > 20)
  const again = next(subscription, 'subscribed')
  await end()
  expect(await again).toMatchObject({ wasRecovering: true, recovered: true })
  const before = heard.waiting.length
  await until('some more', () => heard.waiting.length > before + 20)
  const count = await stop()
  expect(await heard.take(count)).toEqual(Array.from({ length: count }, (_, n) => n))
}

describe('SIGTERM', () => {
  test('clients are advised and closed with 3001, and the process exits with 0', async () => {
    const ann = await chatAs(b, 'ann')
    const bob = await connectedAs(b, 'bob')
    const closed = next(bob, 'connecting')
    const ended = b.stop()
    expect(await ann.next('reconnect')).toMatchObject({ after_ms: 0 })
    expect(await ann.closed()).toEqual({ code: 3001, reason: 'shutdown' })
    expect(await closed).toMatchObject({ code: 3001 })
    expect(await ended).toEqual({ code: 0, signal: null })
  })

  test('its users and its heartbeat are removed immediately, and other users are notified', async () => {
    const ann = await chatIn(a, 'ann')
    const cora = await chatIn(b, 'cora')
    await joined(ann, 'left')
    await joined(cora, 'left')
    await ann.next('user_joined', ({ user_id }) => user_id === 'cora')
    await b.stop()
    await ann.next('user_left', ({ user_id }) => user_id === 'cora')
    await ann.next('user_disconnected', ({ user_id }) => user_id === 'cora')
    const { gateways } = await clusterOf(a)
    expect(gateways).toHaveLength(1)
    await ann.done({ type: 'presence', room: 'left' })
    const { members } = await ann.next('presence')
    expect(members).toEqual([expect.objectContaining({ user_id: 'ann' })])
  })

  test('a draining gateway refuses new connections, and /readyz has the reason', async () => {
    const drained = await GatewayProcess.start({
      ...options,
      args: [...(options.args ?? []), '--drain-window', '30'],
    })
    const early = [await chatAs(drained, 'ann'), await chatAs(drained, 'ann')]
    const ended = drained.stop()
    await early[0]?.closed()
    expect(await drained.ops('/readyz')).toEqual({
      status: 503,
      body: { ready: false, reasons: ['draining: the gateway is shutting down'] },
    })
    expect(await drained.ops('/healthz')).toMatchObject({ status: 200 })
    expect(await refusedUpgrade(`${chatUrl(drained)}?token=${await tokenFor('bob')}`)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: { code: 'DRAINING' },
    })
    // The last session disconnects before its turn, so the drain ends early.
    early[1]?.socket.close(1000)
    expect(await ended).toEqual({ code: 0, signal: null })
  })

  test('a client that reconnects to another gateway misses nothing', async () => {
    await expectNothingMissed('moved', () => b.stop())
  })
})

describe('SIGKILL', () => {
  test('a client that reconnects to another gateway misses nothing', async () => {
    await expectNothingMissed('killed', () => b.kill())
  })
})
