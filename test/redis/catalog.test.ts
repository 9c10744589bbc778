// The catalog from writer to gateways, through a real Redis that is flushed, restored, replaced and stopped.
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { catalogKeys, catalogTag } from '../../src/redis/keys.js'
import { hasReached } from '../../src/catalog/version.js'
import type { WriteOutcome } from '../../src/catalog/redis/writer.js'
import { acmeSecret } from '../support/policies.js'
import {
  keyLineA,
  keyLineB,
  openCatalog,
  openHeartbeats,
  openWriter,
  revisionsOf,
  sealingKeys,
  tenant,
  type CatalogLocation,
  type TestCatalog,
} from '../support/redis-catalog.js'
import { redisKinds, startRedisOf } from '../support/redis-cluster.js'
import { endLinks } from '../support/redis-links.js'
import {
  endRedisProcesses,
  startRedis,
  startSentinelTrio,
  until,
  type RedisProcess,
} from '../support/redis-processes.js'

let redis: RedisProcess | undefined
let url = ''
let admin: Redis
let location: CatalogLocation
let installations = 0
let running: AbortController

beforeEach(() => {
  installations += 1
  location = { url, installation: `parley/test-${installations}` }
  admin = new Redis(redis?.port ?? 0, { lazyConnect: true, maxRetriesPerRequest: 3 })
  running = new AbortController()
})
afterEach(async () => {
  running.abort()
  admin.disconnect()
  await endLinks()
})
afterAll(endRedisProcesses)

const acme = tenant('acme')
const globex = tenant('globex')
const initech = tenant('initech')

function versionOf(outcome: WriteOutcome): { epoch: number; n: number } {
  if (outcome.kind === 'written' || outcome.kind === 'unchanged') return outcome.version
  throw new Error(`nothing was written: ${outcome.kind}`)
}

function keysOfInstallation(): ReturnType<typeof catalogKeys> {
  return catalogKeys(location.installation)
}

/** Backs up all keys of this installation. The returned function restores them. */
async function backUp(): Promise<() => Promise<void>> {
  const names = Object.values(keysOfInstallation())
  const dumps = await Promise.all(names.map(async (name) => [name, await admin.dumpBuffer(name)] as const))
  return async () => {
    await admin.unlink(...names)
    for (const [name, dump] of dumps) if (dump) await admin.restore(name, 0, dump)
  }
}

const firstThree = [acme, globex, initech]

async function openWithThreeTenants(): Promise<
  TestCatalog & { writer: Awaited<ReturnType<typeof openWriter>>['writer'] }
> {
  const { writer } = await openWriter(location)
  const opened = await openCatalog(location)
  await writer.snapshot(firstThree)
  await opened.catalog.refresh()
  opened.changes.length = 0
  return { ...opened, writer }
}

describe.each(redisKinds)('on %s', (kind) => {
  beforeAll(async () => {
    ;({ redis, url } = await startRedisOf(kind, catalogTag))
  })

  describe('a writer', () => {
    test('begins with a complete snapshot, and writes nothing before it', async () => {
      const { writer } = await openWriter(location)
      expect(await writer.put(acme)).toEqual({ kind: 'snapshotNeeded' })
      expect(await writer.remove({ key: 'demo/acme' })).toEqual({ kind: 'snapshotNeeded' })
      expect(await writer.confirm()).toBe('snapshotNeeded')
      expect(await admin.exists(...Object.values(keysOfInstallation()))).toBe(0)
      const { epoch } = versionOf(await writer.snapshot([acme]))
      expect(await writer.put(globex)).toEqual({ kind: 'written', version: { epoch, n: 2 } })
      expect(await writer.confirm()).toBe('confirmed')
    })

    test('writes nothing when the revision is unchanged, and returns the version that contains it', async () => {
      const { writer } = await openWriter(location)
      const first = versionOf(await writer.snapshot([acme]))
      const put = versionOf(await writer.put(globex))
      const last = versionOf(await writer.put(initech))
      await admin.config('RESETSTAT')
      expect(await writer.put(acme)).toEqual({ kind: 'unchanged', version: first })
      expect(await writer.put(globex)).toEqual({ kind: 'unchanged', version: put })
      expect(await writer.remove({ key: 'demo/none' })).toEqual({ kind: 'unchanged', version: last })
      expect(await writer.snapshot([acme, globex, initech])).toEqual({ kind: 'unchanged', version: last })
      const commands = await admin.info('commandstats')
      for (const write of ['hset', 'hdel', 'xadd', 'publish', 'rename']) {
        expect(commands).not.toContain(`cmdstat_${write}:`)
      }
    })

    test('does not remove a tenant that was recreated under the name', async () => {
      const { writer } = await openWriter(location)
      const { catalog } = await openCatalog(location)
      await writer.snapshot([acme])
      await writer.put(tenant('acme', 1, 2))
      expect((await writer.remove({ key: 'demo/acme', tenantId: acme.tenantId })).kind).toBe('unchanged')
      await catalog.refresh()
      expect(catalog.get('demo/acme')?.tenantId).toBe('id-acme-2')
      expect((await writer.remove({ key: 'demo/acme', tenantId: 'id-acme-2' })).kind).toBe('written')
      await catalog.refresh()
      expect([...catalog.all()]).toEqual([])
    })

    test('writes a snapshot of few changes to the log, and begins a new epoch for one of many changes', async () => {
      const { writer } = await openWriter(location)
      const first = versionOf(await writer.snapshot([acme]))
      const few = versionOf(await writer.snapshot([globex, initech]))
      expect(few).toEqual({ epoch: first.epoch, n: 4 })
      const many = Array.from({ length: 250 }, (_, index) => tenant(`t${index}`))
      const newEpoch = versionOf(await writer.snapshot(many))
      expect(newEpoch.epoch).toBeGreaterThan(first.epoch)
      expect(newEpoch.n).toBe(1)
      const { catalog } = await openCatalog(location)
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf(many))
      expect(await admin.ttl(keysOfInstallation().tenants)).toBe(-1)
      expect(await admin.keys(`*${location.installation}:staging*`)).toEqual([])
    })

    test('is refused after a later leader has written, even if that leader wrote the same catalog', async () => {
      const { writer: old } = await openWriter(location, { fence: () => 7 })
      const { epoch } = versionOf(await old.snapshot([acme]))
      const { writer: now } = await openWriter(location, { fence: () => 8 })
      expect(versionOf(await now.snapshot([acme])).epoch).toBeGreaterThan(epoch)
      for (const outcome of [
        await old.put(globex),
        await old.remove({ key: 'demo/acme' }),
        await old.snapshot([globex]),
      ]) {
        expect(outcome).toEqual({ kind: 'fenced' })
      }
      expect(await old.confirm()).toBe('fenced')
      expect((await now.put(globex)).kind).toBe('written')
    })

    test('reads its term at each write, and writes nothing when it has none', async () => {
      let term = 1
      const fence = (): number => {
        if (term === 0) throw new Error('the lease is lost')
        return term
      }
      const { writer } = await openWriter(location, { fence })
      await writer.snapshot([acme])
      term = 0
      await expect(writer.put(globex)).rejects.toThrow('the lease is lost')
      term = 2
      expect(await writer.put(globex)).toEqual({ kind: 'snapshotNeeded' })
      expect((await writer.snapshot([acme, globex])).kind).toBe('written')
    })

    test('reads back the opened policy of a tenant, but not of another tenant or from a malformed record', async () => {
      const { writer } = await openWriter(location)
      await writer.snapshot([acme, globex])
      const ref = { key: 'demo/acme', tenantId: acme.tenantId }
      expect(await writer.readPolicy(ref)).toEqual(acme)
      expect(await writer.readPolicy({ ...ref, tenantId: 'id-acme-2' })).toBeUndefined()
      expect(await writer.readPolicy({ ...ref, key: 'demo/nobody' })).toBeUndefined()
      await admin.hset(keysOfInstallation().tenants, 'demo/globex', 'no JSON')
      const malformed = { key: 'demo/globex', tenantId: globex.tenantId }
      expect(await writer.readPolicy(malformed)).toBeUndefined()
    })

    test('of several concurrent writers only the last one writes, and every version has its own change', async () => {
      const writers = await Promise.all([1, 2, 3, 4].map(async () => openWriter(location)))
      for (const { writer } of writers) await writer.snapshot([])
      const policies = Array.from({ length: 80 }, (_, index) => tenant(`t${index}`))
      const outcomes = await Promise.all(
        policies.map(async (policy, index) => writers[index % writers.length]?.writer.put(policy)),
      )
      const isLast = (_: unknown, index: number) => index % writers.length === writers.length - 1
      const passed = outcomes.filter((outcome, index) => !isLast(outcome, index))
      expect(new Set(passed.map((outcome) => outcome?.kind))).toEqual(new Set(['snapshotNeeded']))
      const written = policies.filter(isLast)
      const numbers = outcomes.filter(isLast).map((outcome) => outcome && versionOf(outcome).n)
      expect(numbers).toEqual(written.map((_, index) => index + 2))
      const { catalog } = await openCatalog(location)
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf(written))
    })

    test('of several concurrent snapshots exactly one remains, complete', async () => {
      const writers = await Promise.all([1, 2, 3].map(async () => openWriter(location)))
      const lists = writers.map((_, writer) =>
        Array.from({ length: 230 }, (__, index) => tenant(`w${writer}-${index}`)),
      )
      await Promise.all(writers.map(async ({ writer }, index) => writer.snapshot(lists[index] ?? [])))
      const { catalog } = await openCatalog(location)
      await catalog.refresh()
      expect(lists.map(revisionsOf)).toContainEqual(revisionsOf(catalog.all()))
    })

    test('never touches another installation', async () => {
      const other = { ...location, installation: `${location.installation}-other` }
      const { writer: otherWriter } = await openWriter(other)
      await otherWriter.snapshot([acme, globex])
      const { writer } = await openWriter(location)
      await writer.snapshot([])
      const { catalog } = await openCatalog(other)
      await catalog.refresh()
      expect([...catalog.all()]).toHaveLength(2)
      expect(await admin.hget(catalogKeys(other.installation).version, 'installation')).toBe(
        other.installation,
      )
    })
  })

  describe('a gateway’s catalog', () => {
    test('serves nothing, and is not synced, before there is a complete catalog', async () => {
      const { catalog } = await openCatalog(location)
      await catalog.refresh()
      expect(catalog.synced).toBe(false)
      expect(catalog.version).toBeUndefined()
      expect(catalog.unavailableReason).toBe('catalog: Redis has no catalog; the controller must publish it')
      const { writer } = await openWriter(location)
      const version = versionOf(await writer.snapshot([]))
      await catalog.refresh()
      expect(catalog.synced).toBe(true)
      expect(catalog.version).toEqual(version)
      expect(catalog.unavailableReason).toBeUndefined()
    })

    test('applies changes in order, each tenant once with its current policy', async () => {
      const { writer } = await openWriter(location)
      const { catalog, changes } = await openCatalog(location)
      await writer.snapshot([acme])
      await catalog.refresh()
      await writer.put(globex)
      await writer.put(tenant('acme', 2))
      await writer.put(initech)
      await writer.remove({ key: 'demo/globex' })
      const version = versionOf(await writer.put(tenant('acme', 3)))
      await catalog.refresh()
      expect(changes).toEqual(['put demo/acme', 'put demo/initech', 'put demo/acme'].toSorted())
      expect(catalog.get('demo/acme')).toEqual(tenant('acme', 3))
      expect(catalog.version).toEqual(version)
    })

    test('holds the new state when it notifies listeners, and reports the version as applied after that', async () => {
      const { writer } = await openWriter(location)
      const { catalog } = await openCatalog(location)
      await writer.snapshot([acme])
      const seen: unknown[] = []
      catalog.listen({ changed: () => seen.push(catalog.get('demo/acme')?.revision, catalog.version) })
      catalog.onApplied(() => seen.push(catalog.version))
      await catalog.refresh()
      expect(seen).toEqual([acme.revision, undefined, { epoch: catalog.version?.epoch, n: 1 }])
    })

    test('does not notify of a tenant that has not changed', async () => {
      const { writer } = await openWriter(location)
      const { catalog, changes } = await openCatalog(location)
      await writer.snapshot([acme, globex])
      await catalog.refresh()
      changes.length = 0
      await admin.del(keysOfInstallation().version)
      await writer.snapshot([acme, globex])
      await catalog.refresh()
      expect(catalog.version?.n).toBe(1)
      expect(changes).toEqual([])
    })

    test('reads the whole catalog when the log does not reach back to its version', async () => {
      const { writer } = await openWriter(location, { logMax: 3 })
      const { catalog, changes } = await openCatalog(location)
      await writer.snapshot([acme, globex])
      await catalog.refresh()
      changes.length = 0
      await writer.remove({ key: 'demo/acme' })
      for (let revision = 2; revision < 8; revision += 1) await writer.put(tenant('globex', revision))
      expect(await admin.xlen(keysOfInstallation().log)).toBe(3)
      await catalog.refresh()
      expect(changes).toEqual(['remove demo/acme', 'put demo/globex'])
      expect(catalog.version?.n).toBe(8)
    })

    test('applies an edit when its notification arrives', async () => {
      const { writer } = await openWriter(location)
      const { catalog } = await openCatalog(location, { pollMs: 60_000 })
      await writer.snapshot([])
      const following = catalog.run(running.signal)
      await until('the catalog', () => catalog.synced)
      const startMs = performance.now()
      await writer.put(acme)
      const edited = await until('the edit', () => catalog.get('demo/acme'), { everyMs: 1 })
      expect(edited).toEqual(acme)
      console.info(
        `an edit was in force after ${Math.round(performance.now() - startMs)} ms, with its notification`,
      )
      running.abort()
      await following
    })

    test('applies an edit whose notification is lost', async () => {
      const { writer } = await openWriter(location)
      const { catalog, link } = await openCatalog(location)
      await writer.snapshot([])
      const following = catalog.run(running.signal)
      await until('the catalog', () => catalog.synced)
      await link.link.current?.client.unsubscribe()
      const startMs = performance.now()
      const version = versionOf(await writer.put(acme))
      await until('the edit', () => hasReached(catalog.version, version), { everyMs: 5 })
      const tookMs = performance.now() - startMs
      console.info(`an edit was in force after ${Math.round(tookMs)} ms, without its notification`)
      expect(catalog.get('demo/acme')).toEqual(acme)
      // The target is 2 s; the test allows five times that for a busy machine.
      expect(tookMs).toBeLessThan(10_000)
      running.abort()
      await following
    })

    test('has an age that grows while no controller confirms the catalog, and shrinks when one does', async () => {
      const { writer } = await openWriter(location)
      const { catalog } = await openCatalog(location)
      await writer.snapshot([acme])
      const now = Number((await admin.time())[0]) * 1000
      await admin.hset(keysOfInstallation().version, 'confirmed', now - 60_000)
      await catalog.refresh()
      expect(catalog.ageMs).toBeGreaterThan(58_000)
      expect(await writer.confirm()).toBe('confirmed')
      await catalog.refresh()
      expect(catalog.ageMs).toBeLessThan(30_000)
    })

    test('malformed records are problems; the other tenants are served, and the last good revisions stay in force', async () => {
      const { writer } = await openWriter(location)
      const { catalog, logged } = await openCatalog(location)
      await writer.snapshot([acme, globex, initech])
      await catalog.refresh()
      const { tenants } = keysOfInstallation()
      const malformedRecords: [string, string][] = [
        ['demo/acme', '{"tenantId": 5, "oops": "c2VjcmV0"}'],
        ['demo/globex', 'no JSON'],
      ]
      await writer.put(tenant('acme', 2))
      await writer.put(tenant('globex', 2))
      await writer.put(tenant('initech', 2))
      for (const [name, record] of malformedRecords) await admin.hset(tenants, name, record)
      await catalog.refresh()
      expect(catalog.problems.map(({ tenant: name, reason }) => `${name} ${reason}`)).toEqual([
        'demo/acme InvalidRecord',
        'demo/globex InvalidRecord',
      ])
      expect(catalog.problems[0]?.message).toContain('namespace (invalid_type)')
      expect(catalog.get('demo/acme')).toEqual(acme)
      expect(catalog.get('demo/initech')).toEqual(tenant('initech', 2))
      expect(logged()).not.toContain('c2VjcmV0')
      await writer.put(tenant('acme', 3))
      await writer.put(tenant('globex', 3))
      await catalog.refresh()
      expect(catalog.problems).toEqual([])
      expect(catalog.get('demo/acme')).toEqual(tenant('acme', 3))
    })

    test('a record is not served under another name', async () => {
      const { writer } = await openWriter(location)
      const { catalog } = await openCatalog(location)
      await writer.snapshot([acme, globex])
      const { tenants } = keysOfInstallation()
      await admin.hset(tenants, 'demo/globex', (await admin.hget(tenants, 'demo/acme')) ?? '')
      await catalog.refresh()
      expect([...catalog.all()]).toEqual([acme])
      expect(catalog.problems[0]?.message).toBe('The record belongs to another tenant, "demo/acme".')
    })

    test('becomes unavailable, but keeps serving, when its keys hold unexpected data', async () => {
      const { writer } = await openWriter(location)
      const { catalog } = await openCatalog(location)
      await writer.snapshot([acme])
      await catalog.refresh()
      await admin.del(keysOfInstallation().version)
      await admin.set(keysOfInstallation().version, 'a string')
      await catalog.refresh()
      expect(catalog.unavailableReason).toContain('WRONGTYPE')
      expect(catalog.get('demo/acme')).toEqual(acme)
    })

    test('a tenant recreated under the name inherits nothing, even when its record is malformed', async () => {
      const { writer } = await openWriter(location)
      const { catalog, changes } = await openCatalog(location)
      await writer.snapshot([acme])
      await catalog.refresh()
      await writer.put(tenant('acme', 1, 2))
      await admin.hset(keysOfInstallation().tenants, 'demo/acme', '{}')
      await catalog.refresh()
      expect(catalog.get('demo/acme')).toBeUndefined()
      expect(changes.at(-1)).toBe('remove demo/acme')
    })
  })

  describe('a Redis that lost or changed something', () => {
    test('flushed: no tenant is removed, a put is refused, and a snapshot repairs the catalog', async () => {
      const { catalog, changes, writer } = await openWithThreeTenants()
      await admin.flushall()
      await catalog.refresh()
      expect(catalog.unavailableReason).toBe('catalog: Redis has no catalog; the controller must publish it')
      expect(await writer.put(acme)).toEqual({ kind: 'snapshotNeeded' })
      expect(await writer.confirm()).toBe('snapshotNeeded')
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf(firstThree))

      const version = versionOf(await writer.snapshot([acme, tenant('globex', 2)]))
      await catalog.refresh()
      expect(catalog.version).toEqual(version)
      expect(changes).toEqual(['remove demo/initech', 'put demo/globex'])
      expect(catalog.unavailableReason).toBeUndefined()
    })

    test('flushed, with a new controller too: the clock makes the new epoch the newer one', async () => {
      const { catalog } = await openWithThreeTenants()
      await admin.flushall()
      const { writer: next } = await openWriter(location)
      await next.snapshot([acme])
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf([acme]))
    })

    test('flushed while a tenant cannot be compiled: gateways that know the tenant keep it', async () => {
      const { catalog, changes, writer } = await openWithThreeTenants()
      await admin.flushall()
      const keep = [
        { key: 'demo/globex', tenantId: globex.tenantId },
        { key: 'demo/initech', tenantId: 'id-initech-2' },
      ]
      await writer.snapshot([acme], keep)
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf([acme, globex]))
      expect(changes).toEqual(['remove demo/initech'])
      const { catalog: fresh } = await openCatalog(location)
      await fresh.refresh()
      expect(revisionsOf(fresh.all())).toEqual(revisionsOf([acme]))
      expect(fresh.problems.map(({ reason, tenant: name }) => `${name} ${reason}`).toSorted()).toEqual([
        'demo/globex NoGoodRevision',
        'demo/initech NoGoodRevision',
      ])
      await writer.put(tenant('globex', 2))
      await fresh.refresh()
      expect(fresh.get('demo/globex')).toEqual(tenant('globex', 2))
    })

    test('kept tenants stay in the same epoch and are carried into a new one', async () => {
      const { writer } = await openWithThreeTenants()
      const keep = [{ key: 'demo/globex', tenantId: globex.tenantId }]
      expect((await writer.snapshot([acme, initech], keep)).kind).toBe('unchanged')
      await writer.snapshot(
        Array.from({ length: 250 }, (_, index) => tenant(`t${index}`)),
        keep,
      )
      const { catalog: fresh } = await openCatalog(location)
      await fresh.refresh()
      expect(fresh.get('demo/globex')).toEqual(globex)
      expect(fresh.get('demo/acme')).toBeUndefined()
      expect(fresh.problems).toEqual([])
    })

    test('restored to an earlier state at runtime: gateways do not go back, and the controller notices', async () => {
      const { catalog, changes, writer } = await openWithThreeTenants()
      const restore = await backUp()
      await writer.remove({ key: 'demo/initech' })
      await writer.put(tenant('acme', 2))
      await catalog.refresh()
      changes.length = 0
      const expected = revisionsOf([tenant('acme', 2), globex])
      await restore()
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(expected)
      expect(catalog.unavailableReason).toContain('which is older than')
      expect(await writer.confirm()).toBe('snapshotNeeded')
      expect(await writer.put(globex)).toEqual({ kind: 'snapshotNeeded' })

      await writer.snapshot([tenant('acme', 2), globex])
      await catalog.refresh()
      expect(catalog.unavailableReason).toBeUndefined()
      expect(revisionsOf(catalog.all())).toEqual(expected)
      expect(changes).toEqual([])
    })

    test('restored while there was no controller: changes of the new controller are not mistaken for earlier ones', async () => {
      const { catalog, writer } = await openWithThreeTenants()
      const restore = await backUp()
      await writer.put(tenant('acme', 2))
      await catalog.refresh()
      await writer.put(tenant('acme', 3))
      await restore()
      const { writer: next } = await openWriter(location)
      // In the old epoch this change would have the number that the gateway has already applied.
      await next.snapshot([tenant('acme', 4), globex, initech])
      await catalog.refresh()
      expect(catalog.get('demo/acme')).toEqual(tenant('acme', 4))
      expect(catalog.unavailableReason).toBeUndefined()
    })

    test('a clock that is behind does not make a new catalog older', async () => {
      const { catalog, writer } = await openWithThreeTenants()
      const { version: versionKey } = keysOfInstallation()
      const future = Date.now() + 1_000_000_000
      await admin.hset(versionKey, 'epoch', future)
      await catalog.refresh()
      expect(catalog.version?.epoch).toBe(future)
      await writer.snapshot([acme])
      await catalog.refresh()
      expect(catalog.version?.epoch).toBe(future)
      await admin.flushall()
      await writer.snapshot([globex])
      await catalog.refresh()
      expect(catalog.version?.epoch).toBe(future + 1)
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf([globex]))
    })

    test('a clock that is behind, with a new controller too: it learns the applied versions from heartbeats', async () => {
      const { catalog } = await openWithThreeTenants()
      const future = Date.now() + 1_000_000_000
      await admin.hset(keysOfInstallation().version, 'epoch', future)
      await catalog.refresh()
      await admin.flushall()
      const { heartbeats } = await openHeartbeats(location, {
        id: 'gw-1',
        report: () => ({
          version: catalog.version,
          problems: [],
          connections: 0,
          ready: true,
          usage: new Map(),
        }),
      })
      const heartbeating = heartbeats.run(running.signal)
      const { writer: next } = await openWriter(location)
      await until('the heartbeat', async () => (await next.readGateways()).length === 1)
      await next.snapshot([tenant('acme', 4)])
      await catalog.refresh()
      expect(catalog.version?.epoch).toBe(future + 1)
      expect(catalog.get('demo/acme')).toEqual(tenant('acme', 4))
      running.abort()
      await heartbeating
    })

    test('the old catalog of an old master is ignored after the new one was applied', async () => {
      const { catalog, writer } = await openWithThreeTenants()
      const restore = await backUp()
      await admin.flushall()
      await writer.snapshot([acme])
      await catalog.refresh()
      await restore()
      await catalog.refresh()
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf([acme]))
    })

    test('out of memory: the write fails, and nothing is partly written', async () => {
      const { catalog, writer } = await openWithThreeTenants()
      await admin.config('SET', 'maxmemory', '1')
      try {
        await expect(writer.put(tenant('acme', 2))).rejects.toThrow('OOM')
        await expect(writer.remove({ key: 'demo/acme' })).rejects.toThrow('OOM')
        await expect(writer.snapshot([])).rejects.toThrow('OOM')
        await expect(
          writer.snapshot(Array.from({ length: 250 }, (_, index) => tenant(`t${index}`))),
        ).rejects.toThrow('OOM')
      } finally {
        await admin.config('SET', 'maxmemory', '0')
      }
      const { catalog: fresh } = await openCatalog(location)
      await fresh.refresh()
      await catalog.refresh()
      expect(revisionsOf(fresh.all())).toEqual(revisionsOf(firstThree))
      expect(fresh.version).toEqual(catalog.version)
      expect((await writer.put(tenant('acme', 2))).kind).toBe('written')
    })

    test('without its scripts: the connection is replaced, and writes work again', async () => {
      const { catalog, link, writer } = await openWithThreeTenants()
      await admin.script('FLUSH')
      await expect(writer.put(tenant('acme', 2))).rejects.toThrow('NOSCRIPT')
      await catalog.refresh()
      await link.link.ready(5_000)
      await until('the write', async () => (await writer.put(tenant('acme', 2))).kind === 'unchanged')
      await catalog.refresh()
      expect(catalog.get('demo/acme')).toEqual(tenant('acme', 2))
    })
  })

  describe('secrets', () => {
    test('sealing keys are rotated without a change of any tenant', async () => {
      const oldKeys = sealingKeys(keyLineA)
      const bothKeys = sealingKeys(keyLineB, keyLineA)
      const newKeys = sealingKeys(keyLineB)
      const { writer: before } = await openWriter(location, { sealing: oldKeys })
      await before.snapshot([acme])
      const { catalog, changes } = await openCatalog(location, { sealing: bothKeys })
      await catalog.refresh()
      changes.length = 0

      const { writer: after } = await openWriter(location, { sealing: bothKeys })
      expect((await after.snapshot([acme])).kind).toBe('written')
      expect((await after.snapshot([acme])).kind).toBe('unchanged')
      await catalog.refresh()
      expect(changes).toEqual([])
      expect(await admin.hget(keysOfInstallation().tenants, 'demo/acme')).not.toContain('sealed:1:a:')

      const { catalog: last } = await openCatalog(location, { sealing: newKeys })
      await last.refresh()
      expect(last.get('demo/acme')).toEqual(acme)
    })

    test('a key that a gateway does not have is a problem that names the key; the last good revision stays in force', async () => {
      const { writer: before } = await openWriter(location)
      await before.snapshot([acme, globex])
      const { catalog, logged } = await openCatalog(location)
      await catalog.refresh()
      const { writer: after } = await openWriter(location, { sealing: sealingKeys(keyLineB, keyLineA) })
      await after.snapshot([tenant('acme', 2), tenant('globex', 2)])
      await catalog.refresh()
      expect(catalog.problems).toHaveLength(2)
      expect(catalog.problems[0]).toEqual({
        tenant: 'demo/acme',
        reason: 'UnknownSealingKey',
        message: 'issuers[0].key.secret is sealed with key "b", but the sealing key file contains only a.',
      })
      expect(revisionsOf(catalog.all())).toEqual(revisionsOf([acme, globex]))
      for (const secret of [acmeSecret.toString('base64'), 'sealed:1:'])
        expect(logged()).not.toContain(secret)
    })

    test('the same holds when only the key has changed, until the right key is used again', async () => {
      const { writer: before } = await openWriter(location)
      await before.snapshot([acme])
      const { catalog, changes } = await openCatalog(location)
      await catalog.refresh()
      changes.length = 0
      for (const fence of [2, 3]) {
        const { writer } = await openWriter(location, {
          sealing: sealingKeys(keyLineB, keyLineA),
          fence: () => fence,
        })
        await writer.snapshot([acme])
        await catalog.refresh()
        expect(catalog.problems).toMatchObject([{ tenant: 'demo/acme', reason: 'UnknownSealingKey' }])
      }
      const { writer: repaired } = await openWriter(location, { fence: () => 4 })
      await repaired.snapshot([acme])
      await catalog.refresh()
      expect(catalog.problems).toEqual([])
      expect(changes).toEqual([])
    })

    test('a secret that is not sealed, or was sealed for another tenant, is refused', async () => {
      const { writer } = await openWriter(location)
      await writer.snapshot([acme, globex])
      const { tenants } = keysOfInstallation()
      const record = (await admin.hget(tenants, 'demo/acme')) ?? ''
      const stolen = record.replace('"name":"acme"', '"name":"globex"').replace('id-acme-1', globex.tenantId)
      await admin.hset(tenants, 'demo/globex', stolen, 'demo/acme', JSON.stringify(acme))
      const { catalog } = await openCatalog(location)
      await catalog.refresh()
      expect([...catalog.all()]).toEqual([])
      expect(catalog.problems.map(({ reason, tenant: name }) => `${name} ${reason}`).toSorted()).toEqual([
        'demo/acme NotSealed',
        'demo/globex DamagedSeal',
      ])
    })
  })

  test('2,000 tenants are published and read without blocking Redis', async () => {
    const policies = Array.from({ length: 2_000 }, (_, index) => tenant(`t${index}`))
    const { writer } = await openWriter(location)
    const { catalog } = await openCatalog(location)
    await admin.config('SET', 'slowlog-log-slower-than', '1000')
    await admin.slowlog('RESET')
    const bytes = () => admin.hstrlen(keysOfInstallation().tenants, 'demo/t0')
    const timed = async (work: () => Promise<unknown>): Promise<number> => {
      const startMs = performance.now()
      await work()
      return Math.round(performance.now() - startMs)
    }
    const publishMs = await timed(async () => writer.snapshot(policies))
    const readMs = await timed(async () => catalog.refresh())
    const againMs = await timed(async () => writer.snapshot(policies))
    const editMs = await timed(async () => {
      await writer.put(tenant('t7', 2))
      await catalog.refresh()
    })
    const slow = (await admin.slowlog('GET', '10')) as [number, number, number, string[]][]
    const slowestUs = Math.max(0, ...slow.map(([, , us]) => us))
    await admin.config('SET', 'slowlog-log-slower-than', '10000')
    console.info(
      `2,000 tenants of ${await bytes()} bytes: published in ${publishMs} ms, read in ${readMs} ms, compared in ${againMs} ms; ` +
        `one edit in ${editMs} ms; Redis’s longest command took ${Math.max(1, Math.round(slowestUs / 1000))} ms`,
    )
    expect([...catalog.all()]).toHaveLength(2_000)
    expect(catalog.get('demo/t7')).toEqual(tenant('t7', 2))
    // Far above the targets of 2 s to serve and 20 ms in Redis, whose measurement includes the time that it
    // waits for a CPU.
    expect(readMs).toBeLessThan(10_000)
    expect(slowestUs).toBeLessThan(250_000)
  })
})

describe('on a Redis that stops', () => {
  test('keeps serving without Redis, and reports the age of the catalog', async () => {
    const own = await startRedis()
    location = { ...location, url: `redis://127.0.0.1:${own.port}` }
    let aheadMs = 0
    const clock = { epochMs: Date.now, monotonicMs: () => performance.now() + aheadMs }
    const { writer } = await openWriter(location)
    const { catalog } = await openCatalog(location, { clock })
    expect(catalog.ageMs).toBeUndefined()
    await writer.snapshot([acme])
    await catalog.refresh()
    expect(catalog.ageMs).toBeLessThan(5_000)
    await own.kill()
    await until('the loss', () => catalog.unavailableReason)
    aheadMs = 300_000
    await catalog.refresh()
    expect(catalog.get('demo/acme')).toEqual(acme)
    expect(catalog.ageMs).toBeGreaterThanOrEqual(300_000)
  })

  test('restarted with an older file: no gateway goes back, and the snapshot is applied', async () => {
    const own = await startRedis()
    location = { ...location, url: `redis://127.0.0.1:${own.port}` }
    const { catalog, link, writer } = await openWithThreeTenants()
    await own.cli('SAVE')
    await writer.put(tenant('acme', 2))
    await until('the second revision', async () => {
      await catalog.refresh()
      return catalog.get('demo/acme')?.revision === tenant('acme', 2).revision
    })
    const live = link.link.current
    await own.restart()
    await until('a new connection', () => link.link.current && link.link.current !== live)
    await catalog.refresh()
    expect(catalog.get('demo/acme')).toEqual(tenant('acme', 2))
    await until('the writer to need a snapshot', async () => (await writer.confirm()) === 'snapshotNeeded')
    // Another controller without any earlier state recognizes the restart by the new replication id of the
    // master.
    const { writer: next } = await openWriter(location)
    await next.snapshot([tenant('acme', 2), globex])
    await catalog.refresh()
    expect(revisionsOf(catalog.all())).toEqual(revisionsOf([tenant('acme', 2), globex]))
  })

  test('a failover that lost the last writes: no gateway goes back, and the snapshot is applied', async () => {
    const trio = await startSentinelTrio({ downAfterMs: 500, proxied: true })
    location = { ...location, url: trio.url }
    const { catalog, link, writer } = await openWithThreeTenants()
    const old = await trio.master()
    const numberAt = async (node: RedisProcess) => node.cli('HGET', keysOfInstallation().version, 'n')
    await until('replicas in step', async () =>
      (await Promise.all(trio.nodes.map(numberAt))).every((n) => n === '1'),
    )
    old.proxy?.set({ holdToClient: true }, ['replication'])
    expect(versionOf(await writer.put(tenant('acme', 2))).n).toBe(2)
    await catalog.refresh()
    const live = link.link.current
    await old.kill()
    const master = await trio.failedOver(old)
    expect(await numberAt(master)).toBe('1')
    await until('a new connection', () => link.link.current && link.link.current !== live, {
      deadlineMs: 20_000,
    })
    await catalog.refresh()
    expect(catalog.get('demo/acme')).toEqual(tenant('acme', 2))
    await until('the writer to need a snapshot', async () => (await writer.confirm()) === 'snapshotNeeded')
    await writer.snapshot([tenant('acme', 2), globex])
    await catalog.refresh()
    expect(revisionsOf(catalog.all())).toEqual(revisionsOf([tenant('acme', 2), globex]))
    expect(catalog.unavailableReason).toBeUndefined()
  })

  test('Redis contains no secret in any form', async () => {
    const own = await startRedis()
    location = { ...location, url: `redis://127.0.0.1:${own.port}` }
    const { writer } = await openWriter(location)
    await writer.snapshot([acme])
    await writer.put(globex)
    const { catalog } = await openCatalog(location)
    await catalog.refresh()
    const key = catalog.get('demo/acme')?.issuers[0]?.key
    expect(key).toMatchObject({ secret: acmeSecret.toString('base64') })

    const client = new Redis(own.port)
    const held: Buffer[] = []
    for (const name of await client.keys('*')) {
      const type = await client.type(name)
      held.push(Buffer.from(name))
      if (type === 'hash') held.push(...Object.values(await client.hgetallBuffer(name)))
      else if (type === 'stream')
        held.push(...(await client.xrangeBuffer(name, '-', '+')).flatMap(([, fields]) => fields))
      else throw new Error(`this test does not read keys of type ${type}`)
    }
    client.disconnect()
    expect(held.length).toBeGreaterThan(8)
    const everything = Buffer.concat(held)
    const holds = (form: Buffer | string) => everything.indexOf(form) !== -1
    expect(holds('sealed:1:a:')).toBe(true)
    for (const secret of [acmeSecret, Buffer.alloc(32, 'A')]) {
      const part = secret.subarray(0, 12)
      const hex = part.toString('hex')
      // Within longer base64 text the part would begin at one of three offsets.
      const base64 = [0, 1, 2].map((by) => secret.subarray(by, by + 12).toString('base64url'))
      expect([part, hex, hex.toUpperCase(), ...base64].filter(holds)).toEqual([])
    }
  })
})
