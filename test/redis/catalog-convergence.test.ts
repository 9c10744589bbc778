// Whatever is written, lost and read in whatever order: gateways end where the writer is, and drop nobody on the way whom nobody removed.
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
const life = fc.integer({ min: 1, max: 2 })
const reader = fc.integer({ min: 0, max: 1 })

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('put' as const), name, revision, life }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('remove' as const), name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('snapshot' as const), without: fc.subarray(names) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('poll' as const), reader }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('backUp' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('putBack' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('newLeader' as const) }) },
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/** A controller in short: it knows what there should be, and publishes all of it when it is told to. */
class Controller {
  readonly wanted = new Map<string, TenantPolicy>()
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
    this.wanted.set(`demo/${policy.name}`, policy)
    if ((await this.#writer.put(policy)).kind === 'snapshotNeeded') await this.snapshot()
  }

  async remove(key: string): Promise<void> {
    this.wanted.delete(key)
    if ((await this.#writer.remove({ key })).kind === 'snapshotNeeded') await this.snapshot()
  }

  async snapshot(): Promise<void> {
    expect((await this.#writer.snapshot(this.wanted.values())).kind).toMatch(/written|unchanged/)
  }

  async newLeader(): Promise<void> {
    this.#term += 1
    await this.snapshot()
  }

  /** As it would by itself within seconds. */
  async settle(): Promise<void> {
    if ((await this.#writer.confirm()) !== 'confirmed') await this.snapshot()
  }
}

let runs = 0

async function run(steps: readonly Step[]): Promise<void> {
  runs += 1
  const place: CatalogLocation = {
    url: `redis://127.0.0.1:${redis.port}`,
    installation: `parley/run-${runs}`,
  }
  const keys = Object.values(catalogKeys(place.installation))
  const writers = await Promise.all(
    [0, 1].map(async (own) =>
      openWriter(place, {
        logMax: 4,
        fence: () => {
          const { term } = controller
          return term % 2 === own ? term : term - 1
        },
      }),
    ),
  )
  const controller = new Controller(writers.map(({ writer }) => writer))
  const readers: readonly TestCatalog[] = await Promise.all([openCatalog(place), openCatalog(place)])
  /** Ever: a reader may meet an old state first, when Redis was put back before it looked. */
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
        await controller.put(tenant(action.name, action.revision, action.life))
        break
      case 'remove':
        removed.add(`demo/${action.name}`)
        await controller.remove(`demo/${action.name}`)
        break
      case 'snapshot':
        for (const gone of action.without) {
          removed.add(`demo/${gone}`)
          controller.wanted.delete(`demo/${gone}`)
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
      case 'putBack':
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
    expect(revisionsOf(catalog.all())).toEqual(revisionsOf(controller.wanted.values()))
    expect(catalog.problems).toEqual([])
  }
  await endLinks()
}

test('any interleaving converges to the writer’s last state, with no step back and nobody dropped', async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), run), {
    numRuns: 100,
    endOnFailure: false,
  })
}, 120_000)

test('readers that read everything while it changes end where the writer is', async () => {
  const place = { url: `redis://127.0.0.1:${redis.port}`, installation: 'parley/busy' }
  const { writer } = await openWriter(place, { logMax: 50 })
  const wanted = new Map(Array.from({ length: 600 }, (_, index) => [`demo/t${index}`, tenant(`t${index}`)]))
  await writer.snapshot(wanted.values())
  const writing = new AbortController()
  const removed = new Set<string>()
  const write = async () => {
    for (let round = 0; round < 400; round += 1) {
      const own = `t${Math.floor(Math.random() * 600)}`
      if (round % 3 === 0) {
        removed.add(`demo/${own}`)
        wanted.delete(`demo/${own}`)
        await writer.remove({ key: `demo/${own}` })
      } else {
        wanted.set(`demo/${own}`, tenant(own, round))
        await writer.put(tenant(own, round))
      }
      if (round % 100 === 99) {
        await admin.unlink(catalogKeys(place.installation).version)
        await writer.snapshot(wanted.values())
      }
    }
    writing.abort()
  }
  const read = async (): Promise<TestCatalog> => {
    let opened = await openCatalog(place)
    for (let looks = 0; !writing.signal.aborted; looks += 1) {
      // Now and then a new gateway, which must read everything.
      if (looks % 5 === 4) opened = await openCatalog(place)
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
    expect(revisionsOf(catalog.all())).toEqual(revisionsOf(wanted.values()))
  }
}, 60_000)
