import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { divideEvictions, noEvictions, tenantLoads, type TenantLoad } from './rebalance-tenants.js'

/** Loads of tenants from their connections on each gateway; the first gateway decides. */
function loadsOf(tenants: Record<string, readonly number[]>): Map<string, TenantLoad> {
  const gateways = Array.from({ length: Object.values(tenants)[0]?.length ?? 0 }, (_, index) => ({
    id: `gw-${index}`,
    ready: true,
    usage: new Map(
      Object.entries(tenants).map(([tenant, on]) => [tenant, { connections: on[index] ?? 0 }] as const),
    ),
  }))
  return tenantLoads(gateways, 'gw-0')
}

const divided = (tenants: Record<string, readonly number[]>, count: number) =>
  Object.fromEntries(divideEvictions(loadsOf(tenants), count, noEvictions).counts)

const sumOf = (counts: Iterable<number>): number => [...counts].reduce((sum, one) => sum + one, 0)

describe('tenantLoads()', () => {
  test('counts ready gateways only, and tenants with connections on this one', () => {
    const usage = (entries: Record<string, number>) =>
      new Map(Object.entries(entries).map(([tenant, connections]) => [tenant, { connections }]))
    const loads = tenantLoads(
      [
        { id: 'a', ready: true, usage: usage({ acme: 30 }) },
        { id: 'b', ready: true, usage: usage({ acme: 10, beta: 5 }) },
        { id: 'c', ready: false, usage: usage({ acme: 900 }) },
      ],
      'a',
    )
    expect(loads).toEqual(new Map([['acme', { own: 30, mean: 20 }]]))
  })
})

describe('divideEvictions()', () => {
  test.each([2, 3, 4, 10, 100])(
    'takes only sessions of the tenant that put 400 on one of %i gateways',
    (gateways) => {
      const empty = Array.from({ length: gateways - 1 }, () => 0)
      const mean = 450 / gateways
      const counts = divided({ attacker: [400, ...empty], other: [50, ...empty] }, Math.floor(450 - mean))
      expect(Object.keys(counts)).toEqual(['attacker'])
      expect(counts['attacker']).toBe(Math.floor(400 - 400 / gateways))
    },
  )

  test('leaves a large tenant alone that is spread evenly', () => {
    expect(divided({ attacker: [5_000, 0, 0], other: [510, 500, 490] }, 3_000)).toEqual({ attacker: 3_000 })
  })

  test('lowers the largest excess first, down to the next one', () => {
    expect(divided({ a: [1_000, 0], b: [600, 0], c: [300, 0] }, 350)).toEqual({ a: 275, b: 75 })
  })

  test('after a scale-up takes sessions of small tenants, together', () => {
    const tenants = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`tenant-${n}`, [6, 0, 0]]))
    expect(sumOf(Object.values(divided(tenants, 500)))).toBe(500)
    expect(sumOf(Object.values(divided(tenants, 5_000)))).toBe(800)
  })

  test('continues a tenant until it is close to its mean', () => {
    const loads = loadsOf({ a: [1_150, 1_000, 1_000] })
    expect(divideEvictions(loads, 500, noEvictions).counts.size).toBe(0)
    const before = { counts: new Map([['a', 500]]), ofRest: false }
    expect([...divideEvictions(loads, 500, before).counts.values()]).toEqual([100])
  })

  const tenants = fc.dictionary(
    fc.string({ minLength: 1, maxLength: 3 }),
    fc.record({ own: fc.nat({ max: 3_000 }), mean: fc.double({ min: 0, max: 3_000, noNaN: true }) }),
    { maxKeys: 30 },
  )

  test('never takes more than the count, or than a tenant has above its mean', () => {
    fc.assert(
      fc.property(tenants, fc.nat({ max: 5_000 }), (loads, count) => {
        const { counts } = divideEvictions(new Map(Object.entries(loads)), count, noEvictions)
        expect(sumOf(counts.values())).toBeLessThanOrEqual(count)
        for (const [tenant, taken] of counts) {
          const { mean = 0, own = 0 } = loads[tenant] ?? {}
          expect(taken).toBeGreaterThan(0)
          expect(taken).toBeLessThanOrEqual(own - mean)
        }
      }),
    )
  })

  test('takes all of the count while tenants are far above their share', () => {
    fc.assert(
      fc.property(tenants, fc.nat({ max: 5_000 }), (loads, count) => {
        const far = Object.values(loads).filter(
          ({ mean, own }) => own >= 100 && own - mean > Math.max(0.2 * mean, 3 * Math.sqrt(mean)),
        )
        const excess = sumOf(far.map(({ mean, own }) => Math.floor(own - mean)))
        const { counts } = divideEvictions(new Map(Object.entries(loads)), count, noEvictions)
        expect(sumOf(counts.values())).toBeGreaterThanOrEqual(Math.min(count, excess))
      }),
    )
  })

  test('takes nothing of a tenant while another one is further above its share', () => {
    fc.assert(
      fc.property(tenants, fc.nat({ max: 5_000 }), (loads, count) => {
        const all = new Map(
          Object.entries(loads).map(([tenant, { mean, own }]) => [tenant, { own: own + 4_000, mean }]),
        )
        const { counts } = divideEvictions(all, count, noEvictions)
        const left = (tenant: string) => {
          const { mean = 0, own = 0 } = all.get(tenant) ?? {}
          return Math.floor(own - mean) - (counts.get(tenant) ?? 0)
        }
        const most = Math.max(...[...all.keys()].map(left))
        for (const tenant of counts.keys()) expect(left(tenant)).toBeGreaterThanOrEqual(most - 1)
      }),
    )
  })
})
