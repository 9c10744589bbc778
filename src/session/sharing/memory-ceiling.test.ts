import { describe, expect, test } from 'vitest'
import { MemoryCeiling, TenantMemory, type MemoryHolder } from './memory-ceiling.js'

/** A connection that holds bytes until it is cut. */
class Holder implements MemoryHolder {
  heldBytes = 0
  isCut = false
  readonly #ceiling: MemoryCeiling
  readonly #memory: TenantMemory

  constructor(ceiling: MemoryCeiling, memory: TenantMemory) {
    this.#ceiling = ceiling
    this.#memory = memory
  }

  hold(bytes: number): void {
    this.heldBytes += bytes
    this.#ceiling.add(this.#memory, bytes)
  }

  cutForMemory(): void {
    this.isCut = true
    this.hold(-this.heldBytes)
  }
}

function fixture(bytesMax = 1_000) {
  const lines: object[] = []
  const tenants = new Map<TenantMemory, { tenant: string; holders: Holder[] }>()
  const deferred: (() => void)[] = []
  const cuts = { count: 0 }
  const ceiling = new MemoryCeiling({
    bytesMax,
    holdersOf: (memory) => tenants.get(memory) ?? { tenant: '', holders: [] },
    log: { warn: (_key, fields) => void lines.push(fields) },
    onCut: (connections) => void (cuts.count += connections),
    defer: (run) => void deferred.push(run),
  })
  const tenant = (name: string, holds: readonly number[]): Holder[] => {
    const memory = new TenantMemory()
    const holders = holds.map(() => new Holder(ceiling, memory))
    tenants.set(memory, { tenant: name, holders })
    holders.forEach((holder, index) => holder.hold(holds[index] ?? 0))
    return holders
  }
  const relieve = (): void => {
    for (const run of deferred.splice(0)) run()
  }
  return { ceiling, cuts, lines, relieve, tenant }
}

const cut = (holders: readonly Holder[]): boolean[] => holders.map(({ isCut }) => isCut)

describe('above the ceiling', () => {
  test('the tenant that holds most loses its largest connections, until enough is free', () => {
    const { ceiling, cuts, lines, relieve, tenant } = fixture()
    const a = tenant('a', [100, 400, 300])
    const b = tenant('b', [150, 150])
    relieve()
    expect([cut(a), cut(b)]).toEqual([
      [false, true, false],
      [false, false],
    ])
    expect(ceiling.bytes).toBe(700)
    expect(cuts.count).toBe(1)
    expect(lines).toMatchObject([{ tenant: 'a', connections: 1, bytesMax: 1_000 }])
  })

  test('a tenant with many small connections is found as well', () => {
    const { ceiling, relieve, tenant } = fixture()
    const a = tenant(
      'a',
      Array.from({ length: 100 }, () => 10),
    )
    const b = tenant('b', [90])
    relieve()
    expect(cut(b)).toEqual([false])
    expect(ceiling.bytes).toBeLessThanOrEqual(800)
    expect(cut(a).filter(Boolean)).toHaveLength(29)
  })

  test('no tenant loses a connection while another holds more', () => {
    const { ceiling, relieve, tenant } = fixture()
    const a = tenant('a', [50, 50, 500])
    const b = tenant('b', [50, 50, 450])
    relieve()
    // Without its largest connection, the first tenant holds less than the second.
    expect([cut(a), cut(b)]).toEqual([
      [false, false, true],
      [false, false, false],
    ])
    expect(ceiling.bytes).toBe(650)
  })

  test('memory that belongs to no connection is not paid for by another tenant', () => {
    const { ceiling, relieve, tenant } = fixture()
    const responses = new TenantMemory()
    ceiling.add(responses, 1_100)
    const b = tenant('b', [10])
    relieve()
    expect(cut(b)).toEqual([false])
  })
})

test('below the ceiling nothing happens', () => {
  const { cuts, lines, relieve, tenant } = fixture()
  const a = tenant('a', [1_000])
  relieve()
  expect([cut(a), cuts.count, lines]).toEqual([[false], 0, []])
})
