import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  recordRound,
  decideRebalance,
  resetObservations,
  initialRebalanceState,
  type RebalanceDecision,
  type FleetMember,
  type RebalanceState,
} from './rebalance-policy.js'

const windowMs = 10_000
/** When the fleet below has been the same for long enough. */
const steadyMs = 30_000

const membersOf = (connections: readonly number[], changes: Partial<FleetMember> = {}): FleetMember[] =>
  connections.map((count, index) => ({
    id: `gw-${index}`,
    connections: count,
    ready: true,
    ageMs: 2_000,
    ...changes,
  }))

/** What the first of the fleet decides. */
const look = (memory: RebalanceState, members: readonly FleetMember[], nowMs: number) =>
  decideRebalance(memory, { id: 'gw-0', members, nowMs, windowMs })

/** What it decides as soon as it may. */
function decided(members: readonly FleetMember[]): RebalanceDecision {
  return look(look(initialRebalanceState, members, 0).memory, members, steadyMs)
}

describe('a gateway sheds', () => {
  test('what it has above the mean', () => {
    expect(decided(membersOf([400, 0, 0, 0]))).toMatchObject({ kind: 'shed', count: 300, mean: 100 })
  })

  test.each([
    [1_000, 500],
    [8_000, 1_600],
    [100_000, 5_000],
  ])('of %i at most %i in a round', (connections, most) => {
    expect(decided(membersOf([connections, 0, 0, 0]))).toMatchObject({ kind: 'shed', count: most })
  })

  test('from a fifth above the mean on', () => {
    expect(decided(membersOf([1_260, 900, 900, 900]))).toMatchObject({ kind: 'shed' })
    expect(decided(membersOf([1_190, 950, 930, 930]))).toMatchObject({ kind: 'stay' })
  })

  test('until it is near the mean', () => {
    const { memory } = decided(membersOf([2_000, 1_000, 1_000]))
    const after = recordRound(memory, { sent: 500, takers: 0.5, endedMs: 40_000 })
    expect(look(after, membersOf([1_400, 1_300, 1_300]), 60_000)).toMatchObject({ kind: 'shed' })
    const even = look(after, membersOf([1_360, 1_320, 1_320]), 60_000)
    expect(even).toMatchObject({ kind: 'stay' })
    expect(look(even.memory, membersOf([1_500, 1_250, 1_250]), 120_000)).toMatchObject({ kind: 'stay' })
  })
})

describe('a gateway stays as it is', () => {
  test.each<[string, FleetMember[]]>([
    ['alone', membersOf([1_000])],
    ['below the mean', membersOf([100, 1_000, 1_000])],
    ['with few connections', membersOf([99, 0, 0, 0])],
    ['where chance may have given it more', membersOf([128, 100, 100, 72])],
    [
      'when the others drain or wait for Redis',
      [...membersOf([1_000]), ...membersOf([0, 0, 0], { ready: false }).slice(1)],
    ],
    [
      'when it is not ready itself',
      membersOf([1_000, 0]).map((member, index) => ({ ...member, ready: index > 0 })),
    ],
    ['when one has not told of itself lately', membersOf([1_000, 0, 0], { ageMs: 11_000 })],
    ['when nothing is known of itself', membersOf([0, 1_000, 0]).slice(1)],
    ['when nothing is known', []],
  ])('%s', (_when, members) => {
    expect(decided(members)).toMatchObject({ kind: 'stay' })
  })

  test('until the fleet has been the same for a while', () => {
    const two = membersOf([1_000, 0])
    const three = membersOf([1_000, 0, 0])
    let { memory } = look(initialRebalanceState, two, 0)
    for (const [members, nowMs, kind] of [
      [two, 29_000, 'stay'],
      [three, 30_000, 'stay'],
      [three, 59_000, 'stay'],
      [three, 60_000, 'shed'],
    ] as const) {
      const decision = look(memory, members, nowMs)
      expect([nowMs, decision.kind]).toEqual([nowMs, kind])
      memory = decision.memory
    }
  })

  test('after nothing could be read for a moment', () => {
    const members = membersOf([1_000, 0])
    const { memory } = decided(members)
    expect(look(memory, members, steadyMs + 1)).toMatchObject({ kind: 'shed' })
    expect(look(resetObservations(memory), members, steadyMs + 1)).toMatchObject({ kind: 'stay' })
  })

  test('until all have told of themselves after the last round', () => {
    const members = membersOf([1_000, 0])
    const after = recordRound(decided(members).memory, { sent: 500, takers: 0.5, endedMs: 40_000 })
    expect(look(after, members, 43_900)).toMatchObject({ kind: 'stay' })
    expect(look(after, members, 44_100)).toMatchObject({ kind: 'shed' })
  })
})

/** A fleet in seconds: gateways that beat every five and look every five, each at its own second; those sent away are back a second later. */
class Fleet {
  readonly #random: () => number
  readonly #balancer: Balancer
  readonly gateways: Simulated[] = []
  seconds = 0
  sent = 0
  readonly gaveUp: number[] = []

  constructor(connections: readonly number[], random: () => number, balancer: Balancer) {
    this.#random = random
    this.#balancer = balancer
    for (const count of connections) this.add(count)
  }

  add(connections = 0): void {
    const id = `gw-${String(this.gateways.length).padStart(2, '0')}`
    const beat = { connections, atS: this.seconds }
    const offsetS = Math.floor(this.#random() * 5)
    this.gateways.push({ id, connections, beat, offsetS, memory: initialRebalanceState, busyUntilS: 0, alive: true })
  }

  /** Its clients go to the others. */
  remove(index: number): void {
    const gateway = this.gateways[index]
    if (!gateway || this.live.length < 2) return
    gateway.alive = false
    this.#comeBack(gateway, gateway.connections)
    gateway.connections = 0
  }

  arrive(clients: number): void {
    const [first] = this.gateways
    if (first) this.#comeBack(first, clients)
  }

  get live(): Simulated[] {
    return this.gateways.filter(({ alive }) => alive)
  }

  get counts(): number[] {
    return this.live.map(({ connections }) => connections)
  }

  get fullestOfMean(): number {
    return (Math.max(...this.counts) * this.counts.length) / this.counts.reduce((sum, count) => sum + count)
  }

  run(seconds: number): void {
    const end = this.seconds + seconds
    for (; this.seconds < end; this.seconds += 1) for (const gateway of this.live) this.#step(gateway)
  }

  #step(gateway: Simulated): void {
    if ((this.seconds + gateway.offsetS) % 5 === 0)
      gateway.beat = { connections: gateway.connections, atS: this.seconds }
    if ((this.seconds + 2 * gateway.offsetS) % 5 !== 0 || this.seconds < gateway.busyUntilS) return
    const members = this.live.map(({ beat, id }) => ({
      id,
      connections: beat.connections,
      ready: true,
      ageMs: (this.seconds - beat.atS) * 1_000,
    }))
    const decision = decideRebalance(gateway.memory, {
      id: gateway.id,
      members,
      nowMs: this.seconds * 1_000,
      windowMs,
    })
    gateway.memory = decision.memory
    if (decision.kind === 'giveUp') this.gaveUp.push(this.seconds)
    if (decision.kind !== 'shed') return
    const { count, takers } = decision
    expect(count).toBeLessThanOrEqual(Math.max(500, gateway.connections / 5))
    gateway.busyUntilS = this.seconds + windowMs / 1_000
    gateway.memory = recordRound(gateway.memory, { sent: count, takers, endedMs: gateway.busyUntilS * 1_000 })
    gateway.connections -= count
    this.sent += count
    this.#comeBack(gateway, count)
  }

  #comeBack(from: Simulated, count: number): void {
    for (let client = 0; client < count; client += 1)
      this.#balancer(this.live, from, this.#random).connections += 1
  }
}

interface Simulated {
  readonly id: string
  readonly offsetS: number
  connections: number
  beat: { connections: number; atS: number }
  memory: RebalanceState
  busyUntilS: number
  alive: boolean
}

type Balancer = (live: Simulated[], from: Simulated, random: () => number) => Simulated

const anyOf: Balancer = (live, from, random) => live[Math.floor(random() * live.length)] ?? from
const emptiest: Balancer = (live, from) =>
  live.reduce((least, one) => (one.connections < least.connections ? one : least), from)
const sticky: Balancer = (live, from, random) => (from.alive ? from : anyOf(live, from, random))

/** Small numbers of which each follows from the last: the same on every run. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const seeds = fc.nat().map(randomFrom)
/** The same fleets on every run. */
const runs = { seed: 6, numRuns: 60 }

describe('a fleet', () => {
  test.each<[string, Balancer]>([
    ['random', anyOf],
    ['least connections', emptiest],
  ])('that grows evens out within three minutes behind a balancer of the kind: %s', (_kind, balancer) => {
    const fleets = fc.record({
      random: seeds,
      before: fc.integer({ min: 1, max: 4 }),
      more: fc.integer({ min: 1, max: 6 }),
      each: fc.integer({ min: 1_000, max: 5_000 }),
    })
    fc.assert(
      fc.property(fleets, ({ before, each, more, random }) => {
        const fleet = new Fleet(
          Array.from({ length: before }, () => each),
          random,
          balancer,
        )
        fleet.run(60)
        for (let count = 0; count < more; count += 1) fleet.add()
        fleet.run(180)
        expect(fleet.counts.reduce((sum, count) => sum + count)).toBe(before * each)
        expect(fleet.fullestOfMean).toBeLessThan(1.25)
        expect(fleet.gaveUp).toEqual([])
      }),
      runs,
    )
  })

  test('of one full pod and three empty ones is even within five minutes', () => {
    const fleet = new Fleet([50_000], randomFrom(1), anyOf)
    for (let count = 0; count < 3; count += 1) fleet.add()
    fleet.run(300)
    expect(fleet.fullestOfMean).toBeLessThan(1.25)
  })

  test('that is as even as chance makes it is left alone', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 2, max: 10 }), (random, size) => {
        const fleet = new Fleet(
          Array.from({ length: size }, () => 0),
          random,
          anyOf,
        )
        fleet.arrive(400 * size)
        fleet.run(600)
        expect(fleet.sent).toBeLessThan(200)
      }),
      runs,
    )
  })

  test('whose clients stay where they were is given up on, for an hour', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 500, max: 30_000 }), (random, connections) => {
        const fleet = new Fleet([connections, 0], random, sticky)
        fleet.run(3_000)
        expect(fleet.gaveUp).toHaveLength(1)
        expect(fleet.sent).toBeLessThanOrEqual(4 * Math.max(500, connections / 5))
        fleet.run(1_500)
        expect(fleet.gaveUp).toHaveLength(2)
      }),
      runs,
    )
  })

  test('in which gateways come and go loses nobody, and evens out when it is at rest', () => {
    const events = fc.array(
      fc.record({ afterS: fc.integer({ min: 1, max: 60 }), remove: fc.option(fc.nat(20)) }),
      { maxLength: 12 },
    )
    fc.assert(
      fc.property(seeds, events, (random, happenings) => {
        const fleet = new Fleet([2_000, 2_000, 2_000], random, anyOf)
        for (const { afterS, remove } of happenings) {
          fleet.run(afterS)
          if (remove === null) fleet.add()
          else fleet.remove(remove)
        }
        fleet.run(300)
        expect(fleet.counts.reduce((sum, count) => sum + count)).toBe(6_000)
        expect(fleet.fullestOfMean).toBeLessThan(1.25)
        expect(fleet.gaveUp).toEqual([])
      }),
      runs,
    )
  })
})
