// Two clusters use the same installation name on one Redis: the first owns the catalog, and the other changes
// nothing.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { CatalogPublisher } from '../../src/controller/catalog/publisher.js'
import { catalogKeys } from '../../src/redis/keys.js'
import type { Prepare } from '../../src/redis/link.js'
import { RetentionRecords } from '../../src/catalog/redis/retention.js'
import { openWriter, tenant, type CatalogLocation } from '../support/redis-catalog.js'
import { endLinks, recordingLog, startLink } from '../support/redis-links.js'
import { endRedisProcesses, startRedis, until, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let location: CatalogLocation
let installations = 0

beforeAll(async () => {
  redis = await startRedis()
})
beforeEach(() => {
  installations += 1
  location = { url: `redis://127.0.0.1:${redis.port}`, installation: `owned/${installations}` }
})
afterEach(endLinks)
afterAll(endRedisProcesses)

const foreign = { kind: 'foreign', owner: 'one' }

async function retentionRecordsOf(owner: string, fence = 1): Promise<RetentionRecords> {
  const link = {
    createLink: (role: string, prepare: Prepare) => startLink(location.url, { role, prepare }).link,
  }
  return new RetentionRecords({ ...link, installation: location.installation, fence: () => fence, owner })
}

test('the cluster that publishes first owns the catalog; the other writes nothing, even with a later term', async () => {
  const { writer: one } = await openWriter(location, { owner: 'one' })
  const { writer: other } = await openWriter(location, { owner: 'other', fence: () => 1_000 })
  expect(await one.snapshot([tenant('acme')])).toMatchObject({ kind: 'written' })
  expect(await other.snapshot([])).toEqual(foreign)
  expect(await other.confirm()).toBe('snapshotNeeded')
  expect(await other.readOwner()).toBe('one')
  expect(await one.confirm()).toBe('confirmed')
  expect(await one.put(tenant('acme', 2))).toMatchObject({ kind: 'written' })
})

test('a cluster whose catalog was taken over stops immediately', async () => {
  const { writer: one } = await openWriter(location, { owner: 'one' })
  await one.snapshot([tenant('acme')])
  const { writer: other } = await openWriter(location, { owner: 'other', takesOver: 'one' })
  expect(await other.snapshot([tenant('globex')])).toMatchObject({ kind: 'written' })
  const lost = { kind: 'foreign', owner: 'other' }
  expect(await one.put(tenant('acme', 2))).toEqual(lost)
  expect(await one.remove({ key: 'demo/globex' })).toEqual(lost)
  expect(await one.confirm()).toBe('foreign')
  expect(await one.snapshot([])).toEqual(lost)
})

test('only the catalog of the named cluster is taken over, even if its term was later', async () => {
  const { writer: one } = await openWriter(location, { owner: 'one', fence: () => 1_000 })
  await one.snapshot([tenant('acme')])
  const { writer: wrong } = await openWriter(location, { owner: 'other', takesOver: 'two' })
  expect(await wrong.snapshot([])).toEqual(foreign)
  const { writer: right } = await openWriter(location, { owner: 'other', takesOver: 'one' })
  expect(await right.snapshot([])).toMatchObject({ kind: 'written' })
})

test('a catalog without an owner gets its first owner in a new epoch', async () => {
  const { writer: withoutOwner } = await openWriter(location)
  const before = await withoutOwner.snapshot([tenant('acme')])
  const { writer: one } = await openWriter(location, { owner: 'one' })
  const after = await one.snapshot([tenant('acme')])
  expect(after).toMatchObject({ kind: 'written', version: { n: 1 } })
  expect(after).not.toEqual(before)
  expect(await one.readOwner()).toBe('one')
})

test('a catalog that has lost its owner gets another one, but only after the owner had time to return', async () => {
  const orphanedMs = 2_000
  const { writer: one } = await openWriter(location, { owner: 'one' })
  await one.snapshot([tenant('acme')])
  const { writer: other } = await openWriter(location, { owner: 'other' })
  const { log } = recordingLog()
  const ignored = { onChange: () => {}, onUsage: () => {} }
  const publisher = new CatalogPublisher({ writer: other, log, ...ignored, orphanedMs })
  publisher.initialize([])
  const end = new AbortController()
  const publishing = publisher.run(end.signal)
  try {
    await until('a foreign catalog', () => publisher.rolloutOf('demo/mine').kind === 'foreign')
    const { client } = await startLink(location.url).link.ready(5_000)
    const lostAtMs = performance.now()
    await client.del(catalogKeys(location.installation).version)
    await until('a new owner', async () => (await one.readOwner()) === 'other')
    expect(performance.now() - lostAtMs).toBeGreaterThanOrEqual(orphanedMs)
    await until('a catalog of its own', () => publisher.unavailableReason === undefined)
    expect(await other.put(tenant('mine'))).toMatchObject({ kind: 'written' })
  } finally {
    end.abort()
    await publishing
  }
})

test('retention records are written only by the leader of the owner', async () => {
  const { writer } = await openWriter(location, { owner: 'one', fence: () => 5 })
  await writer.snapshot([tenant('acme')])
  const record = { tenant: 'demo/acme', purgeAfterMs: 60_000 }
  const owned = await retentionRecordsOf('one', 5)
  expect(await owned.change(new Map([['id-1', record]]))).toBe('written')
  expect(await (await retentionRecordsOf('one', 4)).change(new Map([['id-1', undefined]]))).toBe('fenced')
  expect(await (await retentionRecordsOf('other', 9)).change(new Map([['id-1', undefined]]))).toBe('foreign')
  expect((await owned.read())?.byTenantId).toEqual(new Map([['id-1', record]]))
  expect(await owned.change(new Map([['id-1', { ...record, goneAtMs: 1 }]]))).toBe('written')
  expect((await owned.read())?.byTenantId.get('id-1')).toMatchObject({ goneAtMs: 1 })
  await owned.change(new Map([['id-1', undefined]]))
  expect((await owned.read())?.byTenantId.size).toBe(0)
})

test('thousands of retention records are written in pages and read', async () => {
  const records = await retentionRecordsOf('one')
  const many = Array.from(
    { length: 2_345 },
    (_, index) => [`id-${index}`, { tenant: `demo/t${index}`, purgeAfterMs: null }] as const,
  )
  expect(await records.change(new Map(many))).toBe('written')
  expect((await records.read())?.byTenantId.size).toBe(2_345)
})
