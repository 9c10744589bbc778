// A property test of the catalog: after any sequence of writes, losses and reads, gateways have the state of
// the writer, and they never remove a tenant that the writer has not removed.
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { catalogKeys } from '../../src/redis/keys.js'
import { hasReached } from '../../src/catalog/version.js'
import type { CatalogWriter } from '../../src/catalog/redis/writer.js'
import type { TenantPolicy } from '../../src/tenant/policy.js'
import {
  openCatalog,
  openWriter,
  revisionsOf,
  tenant,
  type CatalogLocation,
  type TestCatalog,
} from '../support/redis-catalog.js'
import { endLinks } from '../support/redis-links.js'
import { endRedisProcesses, startRedis, type RedisProcess } from '../support/redis-processes.js'

let redis: RedisProcess
let admin: Redis

beforeAll(async () => {
  redis = await startRedis()
  admin = new Redis(redis.port, { lazyConnect: true, maxRetriesPerRequest: 3 })
})
afterEach(endLinks)
afterAll(async () => {
  admin.disconnect()
  await endRedisProcesses()
})

const names = ['a', 'b', 'c', 'd', 'e']
const name = fc.constantFrom(...names)
const revision = fc.integer({ min: 1, max: 3 })
const incarnation = fc.integer({ min: 1, max: 2 })
const reader = fc.integer({ min: 0, max: 1 })

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('put' as const), name, revision, incarnation }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('remove' as const), name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('snapshot' as const), without: fc.subarray(names) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('poll' as const), reader }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('backUp' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restore' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('newLeader' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/**
 * A minimal controller: it knows the desired tenants, and publishes all of them when the writer needs a
 * snapshot.
 */
class Controller {
  readonly desired = new Map<string, TenantPolicy>()
  readonly #writers: readonly CatalogWriter[]
  #term = 0

  constructor(writers: readonly CatalogWriter[]) {
    this.#writers = writers
  }

  get #writer(): CatalogWriter {
    const writer = this.#writers[this.#term % this.#writers.length]
    if (!writer) throw new Error('no writer')
    return writer
  }

  get term(): number {
    return this.#term
  }

  async put(policy: TenantPolicy): Promise<void> {
    this.desired.set(`demo/${policy.name}`, policy)
    if ((await this.#writer.put(policy)).kind === 'snapshotNeeded') await this.snapshot()
  }

  async remove(key: string): Promise<void> {
    this.desired.delete(key)
    if ((await this.#writer.remove({ key })).kind === 'snapshotNeeded') await this.snapshot()
  }

  async snapshot(): Promise<void> {
    expect((await this.#writer.snapshot(this.desired.values())).kind).toMatch(/written|unchanged/)
  }

  async newLeader(): Promise<void> {
    this.#term += 1
    await this.snapshot()
  }

  /** Confirms the catalog and repairs it if necessary, as a controller does within seconds. */
  async settle(): Promise<void> {
    if ((await this.#writer.confirm()) !== 'confirmed') await this.snapshot()
  }
}

let runs = 0

async function run(steps: readonly Step[]): Promise<void> {
  runs += 1
  const location: CatalogLocation = {
    url: `redis://127.0.0.1:${redis.port}`,
    installation: `parley/run-${runs}`,
  }
  const keys = Object.values(catalogKeys(location.installation))
  const writers = await Promise.all(
    [0, 1].map(async (parity) =>
      openWriter(location, {
        logMax: 4,
        fence: () => {
          const { term } = controller
          return term % 2 === parity ? term : term - 1
        },
      }),
    ),
  )
  const controller = new Controller(writers.map(({ writer }) => writer))
  const readers: readonly TestCatalog[] = await Promise.all([openCatalog(location), openCatalog(location)])
  /**
   * All tenants that were ever removed: a reader may read an old state first, when Redis was restored before
   * its first read.
   */
  const removed = new Set<string>()
  let backup: [string, Buffer][] = []

  const poll = async (index: number) => {
    const { catalog, changes } = readers[index] as TestCatalog
    const before = catalog.version
    changes.length = 0
    await catalog.refresh()
    for (const change of changes) {
      const [kind, key = ''] = change.split(' ')
      if (kind === 'remove') expect(removed).toContain(key)
    }
    if (before) expect(hasReached(catalog.version, before)).toBe(true)
  }

  await controller.snapshot()
  for (const action of steps) {
    switch (action.op) {
      case 'put':
        await controller.put(tenant(action.name, action.revision, action.incarnation))
        break
      case 'remove':
        removed.add(`demo/${action.name}`)
        await controller.remove(`demo/${action.name}`)
        break
      case 'snapshot':
        for (const gone of action.without) {
          removed.add(`demo/${gone}`)
          controller.desired.delete(`demo/${gone}`)
        }
        await controller.snapshot()
        break
      case 'poll':
        await poll(action.reader)
        break
      case 'flush':
        await admin.unlink(...keys)
        break
      case 'backUp':
        backup = []
        for (const key of keys) {
          const dump = await admin.dumpBuffer(key)
          if (dump) backup.push([key, dump])
        }
        break
      case 'restore':
        await admin.unlink(...keys)
        for (const [key, dump] of backup) await admin.restore(key, 0, dump)
        break
      case 'newLeader':
        await controller.newLeader()
        break
    }
  }
  await controller.settle()
  for (const [index, { catalog }] of readers.entries()) {
    await poll(index)
    expect(revisionsOf(catalog.all())).toEqual(revisionsOf(controller.desired.values()))
    expect(catalog.problems).toEqual([])
  }
  await endLinks()
}

test('any interleaving converges to the last state of the writer, without an older version or a wrong removal', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), run), {
    numRuns: 100,
    endOnFailure: false,
  })
}, 120_000)

test('readers that read the whole catalog while it changes converge to the state of the writer', async () => {
  const location = { url: `redis://127.0.0.1:${redis.port}`, installation: 'parley/busy' }
  const { writer } = await openWriter(location, { logMax: 50 })
  const desired = new Map(Array.from({ length: 600 }, (_, index) => [`demo/t${index}`, tenant(`t${index}`)]))
  await writer.snapshot(desired.values())
  const writing = new AbortController()
  const removed = new Set<string>()
  const write = async () => {
    for (let round = 0; round < 400; round += 1) {
      const tenantName = `t${Math.floor(Math.random() * 600)}`
      if (round % 3 === 0) {
        removed.add(`demo/${tenantName}`)
        desired.delete(`demo/${tenantName}`)
        await writer.remove({ key: `demo/${tenantName}` })
      } else {
        desired.set(`demo/${tenantName}`, tenant(tenantName, round))
        await writer.put(tenant(tenantName, round))
      }
      if (round % 100 === 99) {
        await admin.unlink(catalogKeys(location.installation).version)
        await writer.snapshot(desired.values())
      }
    }
    writing.abort()
  }
  const read = async (): Promise<TestCatalog> => {
    let opened = await openCatalog(location)
    for (let reads = 0; !writing.signal.aborted; reads += 1) {
      // Every fifth read is that of a new gateway, which must read the whole catalog.
      if (reads % 5 === 4) opened = await openCatalog(location)
      await opened.catalog.refresh()
      for (const change of opened.changes.splice(0)) {
        const [kind, key = ''] = change.split(' ')
        if (kind === 'remove') expect(removed).toContain(key)
      }
    }
    await opened.catalog.refresh()
    return opened
  }
  const [, ...readers] = await Promise.all([write(), read(), read()])
  for (const { catalog } of readers) {
    expect(revisionsOf(catalog.all())).toEqual(revisionsOf(desired.values()))
  }
}, 60_000)
