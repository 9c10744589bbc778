// Heartbeats of gateways in Redis: what they report, and when a gateway counts as live.
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { catalogKeys } from '../../src/redis/keys.js'
import type { GatewayReport, LiveGateway } from '../../src/catalog/heartbeat.js'
import { hasReached } from '../../src/catalog/version.js'
import {
  openCatalog,
  openHeartbeats,
  openWriter,
  tenant,
  type CatalogLocation,
} from '../support/redis-catalog.js'
import { endLinks } from '../support/redis-links.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let admin: Redis
let location: CatalogLocation
let running: AbortController
let installations = 0

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(() => {
  installations += 1
  location = { url: `redis://127.0.0.1:${redis.port}`, installation: `parley/heartbeats-${installations}` }
  admin = new Redis(redis.port, { lazyConnect: true, maxRetriesPerRequest: 3 })
  running = new AbortController()
})
afterEach(async () => {
  running.abort()
  admin.disconnect()
  await endLinks()
})
afterAll(endRedisProcesses)

const idle: GatewayReport = {
  version: undefined,
  problems: [],
  connections: 0,
  ready: true,
  usage: new Map(),
}

async function readLiveGateways(): Promise<LiveGateway[]> {
  const { heartbeats } = await reader
  return heartbeats.readGateways({ usage: true, waitMs: 5_000 })
}

let reader: ReturnType<typeof openHeartbeats>
beforeEach(() => {
  reader = openHeartbeats(location, { id: 'reader', report: () => idle })
})

test('a heartbeat contains everything that was reported', async () => {
  const usage = new Map([['demo/acme', { connections: 3, publicationsPerSecond: 1.5 }]])
  const report = {
    version: { epoch: 5, n: 7 },
    problems: ['demo/globex'],
    connections: 3,
    ready: false,
    usage,
  }
  const { heartbeats } = await openHeartbeats(location, { id: 'gw-1', report: () => report })
  const heartbeating = heartbeats.run(running.signal)
  const [gateway] = await until(
    'the heartbeat',
    async () => (await readLiveGateways()).length > 0 && readLiveGateways(),
  )
  const ageMs = expect.any(Number) as number
  expect(gateway).toEqual({ ...report, id: 'gw-1', problemCount: 1, startedAtMs: 1, ageMs })
  running.abort()
  await heartbeating
})

test('a heartbeat has an age, and counts as ready when the field is absent', async () => {
  const { gateways } = catalogKeys(location.installation)
  const [seconds = 0] = (await admin.time()).map(Number)
  const payload = JSON.stringify({ problems: [], problemCount: 0, connections: 5, startedAtMs: 1 })
  await admin.hset(gateways, 'gw-old', `${(seconds + 6) * 1000} ${payload}`)
  const [gateway] = await readLiveGateways()
  expect(gateway).toMatchObject({ id: 'gw-old', connections: 5, ready: true })
  // The heartbeat expires in about six of its fifteen seconds.
  expect(gateway?.ageMs).toBeGreaterThanOrEqual(9_000)
  expect(gateway?.ageMs).toBeLessThanOrEqual(15_000)
})

test('usage is read only when the reader requests it', async () => {
  const usage = new Map([['demo/acme', { connections: 3, publicationsPerSecond: 0 }]])
  const { heartbeats } = await openHeartbeats(location, { id: 'gw-1', report: () => ({ ...idle, usage }) })
  const heartbeating = heartbeats.run(running.signal)
  const { writer } = await openWriter(location)
  const [gateway] = await until('the heartbeat', async () => {
    const all = await writer.readGateways()
    return all.length > 0 && all
  })
  expect(gateway?.usage).toEqual(new Map())
  expect((await writer.readGateways({ usage: true }))[0]?.usage).toEqual(usage)
  running.abort()
  await heartbeating
})

test('a new version is reported immediately', async () => {
  const { writer } = await openWriter(location)
  await writer.snapshot([])
  const { catalog } = await openCatalog(location)
  const { heartbeats } = await openHeartbeats(location, {
    id: 'gw-1',
    report: () => ({ ...idle, version: catalog.version }),
  })
  catalog.onApplied(() => heartbeats.sendNow())
  const both = [catalog.run(running.signal), heartbeats.run(running.signal)]
  await until('the first version', async () => (await readLiveGateways())[0]?.version)
  const startMs = performance.now()
  const outcome = await writer.put(tenant('acme'))
  await until(
    'the put’s version',
    async () =>
      outcome.kind === 'written' &&
      (await writer.readGateways()).every(({ version }) => hasReached(version, outcome.version)),
    { everyMs: 2 },
  )
  const tookMs = performance.now() - startMs
  console.info(`a put was reported as in force after ${Math.round(tookMs)} ms`)
  // The regular interval is 5 s.
  expect(tookMs).toBeLessThan(4_500)
  running.abort()
  await Promise.all(both)
})

test('a gateway that stops disappears immediately, and no other does', async () => {
  const remaining = await openHeartbeats(location, { id: 'gw-1', report: () => idle })
  const stopping = await openHeartbeats(location, { id: 'gw-2', report: () => idle })
  const stop = new AbortController()
  const heartbeating = [remaining.heartbeats.run(running.signal), stopping.heartbeats.run(stop.signal)]
  await until('both', async () => (await readLiveGateways()).length === 2)
  stop.abort()
  await heartbeating[1]
  expect((await readLiveGateways()).map(({ id }) => id)).toEqual(['gw-1'])
  expect(await admin.hkeys(catalogKeys(location.installation).usage)).toEqual(['gw-1'])
  running.abort()
  await Promise.all(heartbeating)
})

test('a killed gateway disappears after 15 seconds by the clock of Redis, and the next heartbeat removes its entry', async () => {
  const { gateways, usage } = catalogKeys(location.installation)
  const killed = await openHeartbeats(location, { id: 'gw-1', report: () => idle })
  const heartbeating = killed.heartbeats.run(running.signal)
  await until('the heartbeat', async () => (await readLiveGateways()).length === 1)
  await killed.link.stop()
  running.abort()
  await heartbeating

  const text = (await admin.hget(gateways, 'gw-1')) ?? ''
  const [seconds, micros] = (await admin.time()).map(Number)
  const nowMs = (seconds ?? 0) * 1000 + (micros ?? 0) / 1000
  const leftMs = Number(text.split(' ')[0]) - nowMs
  expect(leftMs).toBeGreaterThan(5_000)
  expect(leftMs).toBeLessThanOrEqual(15_000)

  // This is the state 15 seconds later.
  await admin.hset(gateways, 'gw-1', text.replace(/^\d+/, String(Math.floor(nowMs - 1))))
  expect(await readLiveGateways()).toEqual([])
  const alive = new AbortController()
  const other = await openHeartbeats(location, { id: 'gw-2', report: () => idle })
  const otherHeartbeating = other.heartbeats.run(alive.signal)
  await until('the other', async () => (await readLiveGateways()).length === 1)
  expect(await admin.hkeys(gateways)).toEqual(['gw-2'])
  expect(await admin.hkeys(usage)).toEqual(['gw-2'])
  alive.abort()
  await otherHeartbeating
})

test('a gateway is listed again immediately in a Redis that restarted empty', async () => {
  const own = await startRedis()
  location = { ...location, url: `redis://127.0.0.1:${own.port}` }
  const { heartbeats } = await openHeartbeats(location, { id: 'gw-1', report: () => idle })
  const heartbeating = heartbeats.run(running.signal)
  await until(
    'the heartbeat',
    async () => (await own.cli('HLEN', catalogKeys(location.installation).gateways)) === '1',
  )
  await own.restart()
  const startMs = performance.now()
  await until(
    'the heartbeat',
    async () => (await own.cli('HLEN', catalogKeys(location.installation).gateways)) === '1',
  )
  expect(performance.now() - startMs).toBeLessThan(4_900)
  running.abort()
  await heartbeating
})

test('malformed entries do not hide other gateways', async () => {
  const { heartbeats } = await openHeartbeats(location, { id: 'gw-1', report: () => idle })
  const heartbeating = heartbeats.run(running.signal)
  await until('the heartbeat', async () => (await readLiveGateways()).length === 1)
  const { gateways } = catalogKeys(location.installation)
  const soon = `${Date.now() + 10_000}`
  await admin.hset(gateways, 'x1', 'nonsense', 'x2', `${soon} {`, 'x3', `${soon} {"version":5}`, 'x4', '')
  expect((await readLiveGateways()).map(({ id }) => id)).toEqual(['gw-1'])
  running.abort()
  await heartbeating
})

test('a heartbeat contains the number of all problems, and the first hundred by name', async () => {
  const problems = Array.from({ length: 250 }, (_, index) => `demo/t${index}`)
  const { heartbeats } = await openHeartbeats(location, { id: 'gw-1', report: () => ({ ...idle, problems }) })
  const heartbeating = heartbeats.run(running.signal)
  const [gateway] = await until(
    'the heartbeat',
    async () => (await readLiveGateways()).length > 0 && readLiveGateways(),
  )
  expect(gateway?.problemCount).toBe(250)
  expect(gateway?.problems).toEqual(problems.slice(0, 100))
  running.abort()
  await heartbeating
})
