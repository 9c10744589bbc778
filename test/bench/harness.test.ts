// The benchmark's own promises, with tiny numbers and no word about speed: it runs, it counts exactly, and it notices what is missing.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Load } from '../../bench/speed/load.js'
import type { Visit } from '../../bench/speed/orders.js'
import { endSubjects, parleyInMemory, socketIo, wsFloor, type Subject } from '../../bench/speed/subjects.js'
import { benchIssuer, TenantFolder } from '../../bench/speed/tenants.js'
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

function visitTo(subject: Subject, changed: Partial<Visit> = {}): Load {
  return new Load({
    ...subject,
    issuer: benchIssuer(),
    subscribers,
    publishers: 2,
    channels,
    channelsEach: 1,
    channelPrefix: 'kept:',
    arrivingMax: 4,
    ...changed,
  })
}

describe.each([
  ['Parley', parleyInMemory],
  ['the bare ws loop', wsFloor],
  ['Socket.IO', socketIo],
] as const)('at %s', (name, start) => {
  let load: Load

  beforeAll(async () => {
    load = visitTo(await start(name))
    const came = await load.come()
    expect(came.ready).toBe(subscribers + 2)
  })

  test('every publication reaches each subscriber of its channel, and is counted once', async () => {
    const ran = await load.run(round)
    expect(ran).toMatchObject({ published: 30, offered: 30 * (subscribers / channels), missing: 0 })
    expect(ran.delivered).toBe(ran.offered)
    expect(ran.delivery.p50Ms).toBeGreaterThan(0)
    expect(ran.delivery.maxMs).toBeGreaterThanOrEqual(ran.delivery.p99Ms)
    expect(ran.cpuSeconds.server).toBeGreaterThan(0)
    expect(ran.rssBytes.server).toBeGreaterThan(10_000_000)
  })

  test('who comes again is counted again, and no more', async () => {
    await load.vanish()
    await load.come()
    const ran = await load.run(round)
    expect(ran).toMatchObject({ offered: 30 * (subscribers / channels), missing: 0 })
  })
})

test('who is told to come later comes later', async () => {
  const folder = await TenantFolder.make(1)
  const gateway = await GatewayProcess.start({
    redis: `redis://127.0.0.1:${(await startRedis()).port}`,
    args: ['--tenants', folder.path, '--handshake-rate', '3'],
  })
  const load = visitTo({
    name: 'a gateway that lets in three a second',
    url: `ws://127.0.0.1:${gateway.port}`,
    language: 'parley',
    server: [gateway.program.pid],
    redis: [],
    tenants: 1,
  })
  const came = await load.comeAtOnce(subscribers + 2)
  expect(came).toMatchObject({ ready: subscribers + 2, failures: {} })
  expect(came.postponed).toBeGreaterThanOrEqual(1)
  await folder.remove()
})

describe('at Parley', () => {
  let subject: Subject

  beforeAll(async () => {
    subject = await parleyInMemory('Parley')
  })

  test('acknowledgements set the pace where publishers wait for them', async () => {
    const load = visitTo(subject)
    await load.come()
    const ran = await load.run({ ...round, pace: { kind: 'inFlight', each: 3 } })
    expect(ran.published).toBeGreaterThan(6)
    expect(ran.answered).toBe(ran.published)
    expect(ran).toMatchObject({ missing: 0, refusals: {} })
  })

  test('what a subscriber misses while it is away is recovered, and said to be', async () => {
    const load = visitTo(subject)
    await load.come()
    await load.run(round)
    await load.vanish()
    expect(await load.come()).toMatchObject({ recovered: subscribers })
  })

  test('a refused publish is counted by its code, and its deliveries are missing', async () => {
    const load = visitTo(subject)
    await load.come()
    const ran = await load.run({ ...round, payloadBytes: 20_000, drainMs: 100 })
    expect(ran).toMatchObject({ published: 30, delivered: 0, answered: 30, refusals: { 107: 30 } })
    expect(ran.missing).toBe(ran.offered)
  })

  test('who is turned away is counted by its code', async () => {
    const load = visitTo(subject, { tenants: 2 })
    await expect(load.come()).rejects.toThrow('7 connections failed with 404 NOT_FOUND')
  })
})
