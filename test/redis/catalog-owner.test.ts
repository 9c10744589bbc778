// Two clusters that call their installation the same on one Redis: the first has it, and the other one does no harm.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { CatalogPublisher } from '../../src/controller/catalog/publisher.js'
import { catalogKeys } from '../../src/redis/keys.js'
import type { Prepare } from '../../src/redis/link.js'
import { RetentionRecords } from '../../src/catalog/redis/retention.js'
import { openWriter, tenant, type CatalogLocation } from '../support/redis-catalog.js'
import { endLinks, recordingLog, startLink } from '../support/redis-links.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let place: CatalogLocation
let installations = 0

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(() => {
  installations += 1
  place = { url: `redis://127.0.0.1:${redis.port}`, installation: `owned/${installations}` }
})
afterEach(endLinks)
afterAll(endRedisProcesses)

const foreign = { kind: 'foreign', owner: 'one' }

async function remainsOf(owner: string, fence = 1): Promise<RetentionRecords> {
  const link = {
    createLink: (role: string, prepare: Prepare) => startLink(place.url, { role, prepare }).link,
  }
  return new RetentionRecords({ ...link, installation: place.installation, fence: () => fence, owner })
}

test('the one that publishes first owns the catalog; the other writes nothing, whatever its term', async () => {
  const { writer: one } = await openWriter(place, { owner: 'one' })
  const { writer: other } = await openWriter(place, { owner: 'other', fence: () => 1_000 })
  expect(await one.snapshot([tenant('acme')])).toMatchObject({ kind: 'written' })
  expect(await other.snapshot([])).toEqual(foreign)
  expect(await other.confirm()).toBe('snapshotNeeded')
  expect(await other.readOwner()).toBe('one')
  expect(await one.confirm()).toBe('confirmed')
  expect(await one.put(tenant('acme', 2))).toMatchObject({ kind: 'written' })
})

test('one that has lost its catalog to another stops at once', async () => {
  const { writer: one } = await openWriter(place, { owner: 'one' })
  await one.snapshot([tenant('acme')])
  const { writer: other } = await openWriter(place, { owner: 'other', takesOver: 'one' })
  expect(await other.snapshot([tenant('globex')])).toMatchObject({ kind: 'written' })
  const lost = { kind: 'foreign', owner: 'other' }
  expect(await one.put(tenant('acme', 2))).toEqual(lost)
  expect(await one.remove({ key: 'demo/globex' })).toEqual(lost)
  expect(await one.confirm()).toBe('foreign')
  expect(await one.snapshot([])).toEqual(lost)
})

test('only the cluster that is named is taken over, also when its term was later', async () => {
  const { writer: one } = await openWriter(place, { owner: 'one', fence: () => 1_000 })
  await one.snapshot([tenant('acme')])
  const { writer: wrong } = await openWriter(place, { owner: 'other', takesOver: 'two' })
  expect(await wrong.snapshot([])).toEqual(foreign)
  const { writer: right } = await openWriter(place, { owner: 'other', takesOver: 'one' })
  expect(await right.snapshot([])).toMatchObject({ kind: 'written' })
})

test('a catalog of nobody becomes its first owner’s, in a new epoch', async () => {
  const { writer: nobody } = await openWriter(place)
  const before = await nobody.snapshot([tenant('acme')])
  const { writer: one } = await openWriter(place, { owner: 'one' })
  const after = await one.snapshot([tenant('acme')])
  expect(after).toMatchObject({ kind: 'written', version: { n: 1 } })
  expect(after).not.toEqual(before)
  expect(await one.readOwner()).toBe('one')
})

test('a catalog that has lost its owner becomes another’s, but not before the owner could have come back', async () => {
  const orphanedMs = 2_000
  const { writer: one } = await openWriter(place, { owner: 'one' })
  await one.snapshot([tenant('acme')])
  const { writer: other } = await openWriter(place, { owner: 'other' })
  const { log } = recordingLog()
  const unheard = { onChange: () => {}, onUsage: () => {} }
  const keeper = new CatalogPublisher({ writer: other, log, ...unheard, orphanedMs })
  keeper.initialize([])
  const end = new AbortController()
  const kept = keeper.run(end.signal)
  try {
    await until('another’s catalog', () => keeper.rolloutOf('demo/mine').kind === 'foreign')
    const { client } = await startLink(place.url).link.ready(5_000)
    const lostAtMs = performance.now()
    await client.del(catalogKeys(place.installation).version)
    await until('a new owner', async () => (await one.readOwner()) === 'other')
    expect(performance.now() - lostAtMs).toBeGreaterThanOrEqual(orphanedMs)
    await until('a catalog of its own', () => keeper.unavailableReason === undefined)
    expect(await other.put(tenant('mine'))).toMatchObject({ kind: 'written' })
  } finally {
    end.abort()
    await kept
  }
})

test('what becomes of tenants’ data is written by the leader of the owner alone', async () => {
  const { writer } = await openWriter(place, { owner: 'one', fence: () => 5 })
  await writer.snapshot([tenant('acme')])
  const will = { tenant: 'demo/acme', purgeAfterMs: 60_000 }
  const ours = await remainsOf('one', 5)
  expect(await ours.change(new Map([['id-1', will]]))).toBe('written')
  expect(await (await remainsOf('one', 4)).change(new Map([['id-1', undefined]]))).toBe('fenced')
  expect(await (await remainsOf('other', 9)).change(new Map([['id-1', undefined]]))).toBe('foreign')
  expect((await ours.read())?.byTenantId).toEqual(new Map([['id-1', will]]))
  expect(await ours.change(new Map([['id-1', { ...will, goneAtMs: 1 }]]))).toBe('written')
  expect((await ours.read())?.byTenantId.get('id-1')).toMatchObject({ goneAtMs: 1 })
  await ours.change(new Map([['id-1', undefined]]))
  expect((await ours.read())?.byTenantId.size).toBe(0)
})

test('thousands are written and read in pages', async () => {
  const remains = await remainsOf('one')
  const many = Array.from(
    { length: 2_345 },
    (_, index) => [`id-${index}`, { tenant: `demo/t${index}`, purgeAfterMs: null }] as const,
  )
  expect(await remains.change(new Map(many))).toBe('written')
  expect((await remains.read())?.byTenantId.size).toBe(2_345)
})
