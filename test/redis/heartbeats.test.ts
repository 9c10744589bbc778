// Gateways that tell of themselves, and who is believed to be there.
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
let place: CatalogLocation
let running: AbortController
let installations = 0

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(() => {
  installations += 1
  place = { url: `redis://127.0.0.1:${redis.port}`, installation: `parley/beats-${installations}` }
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

async function seen(): Promise<LiveGateway[]> {
  const { heartbeats } = await reader
  return heartbeats.readGateways({ usage: true, waitMs: 5_000 })
}

let reader: ReturnType<typeof openHeartbeats>
beforeEach(() => {
  reader = openHeartbeats(place, { id: 'reader', report: () => idle })
})

test('tells everything that was reported', async () => {
  const usage = new Map([['demo/acme', { connections: 3, publicationsPerSecond: 1.5 }]])
  const report = {
    version: { epoch: 5, n: 7 },
    problems: ['demo/globex'],
    connections: 3,
    ready: false,
    usage,
  }
  const { heartbeats } = await openHeartbeats(place, { id: 'gw-1', report: () => report })
  const beating = heartbeats.run(running.signal)
  const [gateway] = await until('the heartbeat', async () => (await seen()).length > 0 && seen())
  const ageMs = expect.any(Number) as number
  expect(gateway).toEqual({ ...report, id: 'gw-1', problemCount: 1, startedAtMs: 1, ageMs })
  running.abort()
  await beating
})

test('tells how old each is, and takes those for ready that do not say', async () => {
  const { gateways } = catalogKeys(place.installation)
  const [seconds = 0] = (await admin.time()).map(Number)
  const beat = JSON.stringify({ problems: [], problemCount: 0, connections: 5, startedAtMs: 1 })
  await admin.hset(gateways, 'gw-old', `${(seconds + 6) * 1000} ${beat}`)
  const [gateway] = await seen()
  expect(gateway).toMatchObject({ id: 'gw-old', connections: 5, ready: true })
  // It has some six seconds left of its fifteen.
  expect(gateway?.ageMs).toBeGreaterThanOrEqual(9_000)
  expect(gateway?.ageMs).toBeLessThanOrEqual(15_000)
})

test('usage comes only when it is asked for', async () => {
  const usage = new Map([['demo/acme', { connections: 3, publicationsPerSecond: 0 }]])
  const { heartbeats } = await openHeartbeats(place, { id: 'gw-1', report: () => ({ ...idle, usage }) })
  const beating = heartbeats.run(running.signal)
  const { writer } = await openWriter(place)
  const [gateway] = await until('the heartbeat', async () => {
    const all = await writer.readGateways()
    return all.length > 0 && all
  })
  expect(gateway?.usage).toEqual(new Map())
  expect((await writer.readGateways({ usage: true }))[0]?.usage).toEqual(usage)
  running.abort()
  await beating
})

test('a new version is told at once', async () => {
  const { writer } = await openWriter(place)
  await writer.snapshot([])
  const { catalog } = await openCatalog(place)
  const { heartbeats } = await openHeartbeats(place, {
    id: 'gw-1',
    report: () => ({ ...idle, version: catalog.version }),
  })
  catalog.onApplied(() => heartbeats.sendNow())
  const both = [catalog.run(running.signal), heartbeats.run(running.signal)]
  await until('the first version', async () => (await seen())[0]?.version)
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
  console.info(`a put was known to be in force after ${Math.round(tookMs)} ms`)
  // It beats every 5 s anyway: that would not be at once.
  expect(tookMs).toBeLessThan(4_500)
  running.abort()
  await Promise.all(both)
})

test('who stops is gone at once, and nobody else', async () => {
  const stay = await openHeartbeats(place, { id: 'gw-1', report: () => idle })
  const go = await openHeartbeats(place, { id: 'gw-2', report: () => idle })
  const leave = new AbortController()
  const beating = [stay.heartbeats.run(running.signal), go.heartbeats.run(leave.signal)]
  await until('both', async () => (await seen()).length === 2)
  leave.abort()
  await beating[1]
  expect((await seen()).map(({ id }) => id)).toEqual(['gw-1'])
  expect(await admin.hkeys(catalogKeys(place.installation).usage)).toEqual(['gw-1'])
  running.abort()
  await Promise.all(beating)
})

test('who was killed is gone after 15 seconds of Redis’s clock, and the next beat clears it away', async () => {
  const { gateways, usage } = catalogKeys(place.installation)
  const killed = await openHeartbeats(place, { id: 'gw-1', report: () => idle })
  const beating = killed.heartbeats.run(running.signal)
  await until('the heartbeat', async () => (await seen()).length === 1)
  await killed.link.stop()
  running.abort()
  await beating

  const text = (await admin.hget(gateways, 'gw-1')) ?? ''
  const [seconds, micros] = (await admin.time()).map(Number)
  const nowMs = (seconds ?? 0) * 1000 + (micros ?? 0) / 1000
  const leftMs = Number(text.split(' ')[0]) - nowMs
  expect(leftMs).toBeGreaterThan(5_000)
  expect(leftMs).toBeLessThanOrEqual(15_000)

  // As it is 15 seconds later.
  await admin.hset(gateways, 'gw-1', text.replace(/^\d+/, String(Math.floor(nowMs - 1))))
  expect(await seen()).toEqual([])
  const alive = new AbortController()
  const other = await openHeartbeats(place, { id: 'gw-2', report: () => idle })
  const otherBeating = other.heartbeats.run(alive.signal)
  await until('the other', async () => (await seen()).length === 1)
  expect(await admin.hkeys(gateways)).toEqual(['gw-2'])
  expect(await admin.hkeys(usage)).toEqual(['gw-2'])
  alive.abort()
  await otherBeating
})

test('is back at once in a Redis that came back empty', async () => {
  const own = await startRedis()
  place = { ...place, url: `redis://127.0.0.1:${own.port}` }
  const { heartbeats } = await openHeartbeats(place, { id: 'gw-1', report: () => idle })
  const beating = heartbeats.run(running.signal)
  await until(
    'the heartbeat',
    async () => (await own.cli('HLEN', catalogKeys(place.installation).gateways)) === '1',
  )
  await own.restart()
  const startMs = performance.now()
  await until(
    'the heartbeat',
    async () => (await own.cli('HLEN', catalogKeys(place.installation).gateways)) === '1',
  )
  expect(performance.now() - startMs).toBeLessThan(4_900)
  running.abort()
  await beating
})

test('what makes no sense hides nobody else', async () => {
  const { heartbeats } = await openHeartbeats(place, { id: 'gw-1', report: () => idle })
  const beating = heartbeats.run(running.signal)
  await until('the heartbeat', async () => (await seen()).length === 1)
  const { gateways } = catalogKeys(place.installation)
  const soon = `${Date.now() + 10_000}`
  await admin.hset(gateways, 'x1', 'nonsense', 'x2', `${soon} {`, 'x3', `${soon} {"version":5}`, 'x4', '')
  expect((await seen()).map(({ id }) => id)).toEqual(['gw-1'])
  running.abort()
  await beating
})

test('tells the number of all problems, and the first hundred by name', async () => {
  const problems = Array.from({ length: 250 }, (_, index) => `demo/t${index}`)
  const { heartbeats } = await openHeartbeats(place, { id: 'gw-1', report: () => ({ ...idle, problems }) })
  const beating = heartbeats.run(running.signal)
  const [gateway] = await until('the heartbeat', async () => (await seen()).length > 0 && seen())
  expect(gateway?.problemCount).toBe(250)
  expect(gateway?.problems).toEqual(problems.slice(0, 100))
  running.abort()
  await beating
})
