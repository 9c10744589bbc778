// Tests the benchmark itself with small numbers and without any figure for speed: it runs, counts exactly,
// and notices missing deliveries.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LoadProcess } from '../../bench/speed/load-process.js'
import type { LoadPlan } from '../../bench/speed/load-commands.js'
import {
  endSubjects,
  parleyInMemory,
  socketIo,
  wsBaseline,
  type Subject,
} from '../../bench/speed/subjects.js'
import { TenantFolder } from '../../bench/speed/tenants.js'
import { acmeIssuer } from '../support/policies.js'
import { GatewayProcess } from '../support/gateway-process.js'
import { startRedis } from '../support/redis-processes.js'

afterAll(endSubjects)

const subscribers = 12
const channels = 3
const round = {
  seconds: 0.5,
  pace: { kind: 'rate', perSecond: 60 },
  payloadBytes: 128,
  drainMs: 30_000,
} as const

function loadFor(subject: Subject, changed: Partial<LoadPlan> = {}): LoadProcess {
  return new LoadProcess({
    ...subject,
    issuer: acmeIssuer,
    subscribers,
    publishers: 2,
    channels,
    channelsEach: 1,
    channelPrefix: 'kept:',
    connectingMax: 4,
    ...changed,
  })
}

describe.each([
  ['Parley', parleyInMemory],
  ['the bare ws loop', wsBaseline],
  ['Socket.IO', socketIo],
] as const)('at %s', (name, start) => {
  let load: LoadProcess

  beforeAll(async () => {
    load = loadFor(await start(name))
    const report = await load.connect()
    expect(report.ready).toBe(subscribers + 2)
  })

  test('every publication reaches each subscriber of its channel, and is counted once', async () => {
    const measured = await load.run(round)
    expect(measured).toMatchObject({ published: 30, expected: 30 * (subscribers / channels), missing: 0 })
    expect(measured.delivered).toBe(measured.expected)
    expect(measured.deliveryLatency.p50Ms).toBeGreaterThan(0)
    expect(measured.deliveryLatency.maxMs).toBeGreaterThanOrEqual(measured.deliveryLatency.p99Ms)
    expect(measured.cpuSeconds.server).toBeGreaterThan(0)
    expect(measured.rssBytes.server).toBeGreaterThan(10_000_000)
  })

  test('clients that reconnect are counted once', async () => {
    await load.disconnect()
    await load.connect()
    const measured = await load.run(round)
    expect(measured).toMatchObject({ expected: 30 * (subscribers / channels), missing: 0 })
  })
})

test('clients that are told to retry later do so', async () => {
  const folder = await TenantFolder.make(1)
  const gateway = await GatewayProcess.start({
    redis: `redis://127.0.0.1:${(await startRedis()).port}`,
    args: ['--tenants', folder.path, '--handshake-rate', '3'],
  })
  const load = loadFor({
    name: 'a gateway that accepts three handshakes per second',
    url: `ws://127.0.0.1:${gateway.port}`,
    protocol: 'parley',
    server: [gateway.program.pid],
    redis: [],
    tenants: 1,
  })
  const report = await load.connectAtOnce(subscribers + 2)
  expect(report).toMatchObject({ ready: subscribers + 2, failures: {} })
  expect(report.deferred).toBeGreaterThanOrEqual(1)
  await folder.remove()
})

describe('at Parley', () => {
  let subject: Subject

  beforeAll(async () => {
    subject = await parleyInMemory('Parley')
  })

  test('acknowledgements set the rate when publishers wait for them', async () => {
    const load = loadFor(subject)
    await load.connect()
    const measured = await load.run({ ...round, pace: { kind: 'inFlight', perPublisher: 3 } })
    expect(measured.published).toBeGreaterThan(6)
    expect(measured.replied).toBe(measured.published)
    expect(measured).toMatchObject({ missing: 0, errors: {} })
  })

  test('what a subscriber misses while disconnected is recovered and counted', async () => {
    const load = loadFor(subject)
    await load.connect()
    await load.run(round)
    await load.disconnect()
    expect(await load.connect()).toMatchObject({ recovered: subscribers })
  })

  test('a refused publish is counted by its code, and its deliveries count as missing', async () => {
    const load = loadFor(subject)
    await load.connect()
    const measured = await load.run({ ...round, payloadBytes: 20_000, drainMs: 100 })
    expect(measured).toMatchObject({ published: 30, delivered: 0, replied: 30, errors: { 107: 30 } })
    expect(measured.missing).toBe(measured.expected)
  })

  test('refused connections are counted by their code', async () => {
    const load = loadFor(subject, { tenants: 2 })
    await expect(load.connect()).rejects.toThrow('7 connections failed with 404 NOT_FOUND')
  })
})
