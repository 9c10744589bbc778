import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decideRebalance,
  initialRebalanceState,
  recordRound,
  resetObservations,
  type FleetMember,
  type RebalanceDecision,
  type RebalanceState,
} from './rebalance-policy.js'

const windowMs = 10_000
/** The time after which a fleet that does not change counts as steady. */
const steadyMs = 30_000

const membersOf = (connections: readonly number[], changes: Partial<FleetMember> = {}): FleetMember[] =>
  connections.map((count, index) => ({
    id: `gw-${index}`,
    connections: count,
    ready: true,
    ageMs: 2_000,
    ...changes,
  }))

/** The decision of the first gateway of the fleet. */
const decideAt = (state: RebalanceState, members: readonly FleetMember[], nowMs: number) =>
  decideRebalance(state, { id: 'gw-0', members, nowMs, windowMs })

/** Its first decision after the fleet became steady. */
function decided(members: readonly FleetMember[]): RebalanceDecision {
  return decideAt(decideAt(initialRebalanceState, members, 0).state, members, steadyMs)
}

describe('a gateway evicts', () => {
  test('its sessions above the mean', () => {
    expect(decided(membersOf([400, 0, 0, 0]))).toMatchObject({ kind: 'evict', count: 300, mean: 100 })
  })

  test.each([
    [1_000, 500],
    [8_000, 1_600],
    [100_000, 5_000],
  ])('of %i sessions, at most %i in one round', (connections, most) => {
    expect(decided(membersOf([connections, 0, 0, 0]))).toMatchObject({ kind: 'evict', count: most })
  })

  test('when it has more than a fifth above the mean', () => {
    expect(decided(membersOf([1_260, 900, 900, 900]))).toMatchObject({ kind: 'evict' })
    expect(decided(membersOf([1_190, 950, 930, 930]))).toMatchObject({ kind: 'keep' })
  })

  test('until it is close to the mean', () => {
    const { state } = decided(membersOf([2_000, 1_000, 1_000]))
    const after = recordRound(state, { closed: 500, belowMeanShare: 0.5, endedMs: 40_000 })
    expect(decideAt(after, membersOf([1_400, 1_300, 1_300]), 60_000)).toMatchObject({ kind: 'evict' })
    const balanced = decideAt(after, membersOf([1_360, 1_320, 1_320]), 60_000)
    expect(balanced).toMatchObject({ kind: 'keep' })
    expect(decideAt(balanced.state, membersOf([1_500, 1_250, 1_250]), 120_000)).toMatchObject({
      kind: 'keep',
    })
  })
})

describe('a gateway keeps its sessions', () => {
  test.each<[string, FleetMember[]]>([
    ['when it is the only one', membersOf([1_000])],
    ['when it is below the mean', membersOf([100, 1_000, 1_000])],
    ['when it has few connections', membersOf([99, 0, 0, 0])],
    ['when random placement may explain the difference', membersOf([128, 100, 100, 72])],
    [
      'when the others are not ready',
      [...membersOf([1_000]), ...membersOf([0, 0, 0], { ready: false }).slice(1)],
    ],
    [
      'when it is not ready itself',
      membersOf([1_000, 0]).map((member, index) => ({ ...member, ready: index > 0 })),
    ],
    ['when a heartbeat is stale', membersOf([1_000, 0, 0], { ageMs: 11_000 })],
    ['when its own heartbeat is missing', membersOf([0, 1_000, 0]).slice(1)],
    ['when there are no heartbeats', []],
  ])('%s', (_when, members) => {
    expect(decided(members)).toMatchObject({ kind: 'keep' })
  })

  test('until the fleet has not changed for three windows', () => {
    const two = membersOf([1_000, 0])
    const three = membersOf([1_000, 0, 0])
    let { state } = decideAt(initialRebalanceState, two, 0)
    for (const [members, nowMs, kind] of [
      [two, 29_000, 'keep'],
      [three, 30_000, 'keep'],
      [three, 59_000, 'keep'],
      [three, 60_000, 'evict'],
    ] as const) {
      const decision = decideAt(state, members, nowMs)
      expect([nowMs, decision.kind]).toEqual([nowMs, kind])
      state = decision.state
    }
  })

  test('after the heartbeats could not be read for a moment', () => {
    const members = membersOf([1_000, 0])
    const { state } = decided(members)
    expect(decideAt(state, members, steadyMs + 1)).toMatchObject({ kind: 'evict' })
    expect(decideAt(resetObservations(state), members, steadyMs + 1)).toMatchObject({ kind: 'keep' })
  })

  test('until all heartbeats are newer than the last round', () => {
    const members = membersOf([1_000, 0])
    const after = recordRound(decided(members).state, { closed: 500, belowMeanShare: 0.5, endedMs: 40_000 })
    expect(decideAt(after, members, 43_900)).toMatchObject({ kind: 'keep' })
    expect(decideAt(after, members, 44_100)).toMatchObject({ kind: 'evict' })
  })
})

/**
 * Simulates a fleet in steps of a second. Each gateway sends a heartbeat and decides every five seconds, at
 * its own offset. Clients that are closed reconnect at once.
 */
class Fleet {
  readonly #random: () => number
  readonly #balancer: Balancer
  readonly gateways: Simulated[] = []
  seconds = 0
  closed = 0
  readonly gaveUp: number[] = []

  constructor(connections: readonly number[], random: () => number, balancer: Balancer) {
    this.#random = random
    this.#balancer = balancer
    for (const count of connections) this.add(count)
  }

  add(connections = 0): void {
    const id = `gw-${String(this.gateways.length).padStart(2, '0')}`
    const heartbeat = { connections, atS: this.seconds }
    const offsetS = Math.floor(this.#random() * 5)
    this.gateways.push({
      id,
      connections,
      heartbeat,
      offsetS,
      state: initialRebalanceState,
      busyUntilS: 0,
      alive: true,
    })
  }

  /** Removes a gateway; its clients reconnect to the others. */
  remove(index: number): void {
    const gateway = this.gateways[index]
    if (!gateway || this.live.length < 2) return
    gateway.alive = false
    this.#reconnect(gateway, gateway.connections)
    gateway.connections = 0
  }

  arrive(clients: number): void {
    const [first] = this.gateways
    if (first) this.#reconnect(first, clients)
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
      gateway.heartbeat = { connections: gateway.connections, atS: this.seconds }
    if ((this.seconds + 2 * gateway.offsetS) % 5 !== 0 || this.seconds < gateway.busyUntilS) return
    const members = this.live.map(({ heartbeat, id }) => ({
      id,
      connections: heartbeat.connections,
      ready: true,
      ageMs: (this.seconds - heartbeat.atS) * 1_000,
    }))
    const decision = decideRebalance(gateway.state, {
      id: gateway.id,
      members,
      nowMs: this.seconds * 1_000,
      windowMs,
    })
    gateway.state = decision.state
    if (decision.kind === 'giveUp') this.gaveUp.push(this.seconds)
    if (decision.kind !== 'evict') return
    const { belowMeanShare, count } = decision
    expect(count).toBeLessThanOrEqual(Math.max(500, gateway.connections / 5))
    gateway.busyUntilS = this.seconds + windowMs / 1_000
    gateway.state = recordRound(gateway.state, {
      closed: count,
      belowMeanShare,
      endedMs: gateway.busyUntilS * 1_000,
    })
    gateway.connections -= count
    this.closed += count
    this.#reconnect(gateway, count)
  }

  #reconnect(from: Simulated, count: number): void {
    for (let client = 0; client < count; client += 1)
      this.#balancer(this.live, from, this.#random).connections += 1
  }
}

interface Simulated {
  readonly id: string
  readonly offsetS: number
  connections: number
  heartbeat: { connections: number; atS: number }
  state: RebalanceState
  busyUntilS: number
  alive: boolean
}

type Balancer = (live: Simulated[], from: Simulated, random: () => number) => Simulated

const anyOf: Balancer = (live, from, random) => live[Math.floor(random() * live.length)] ?? from
const emptiest: Balancer = (live, from) =>
  live.reduce((least, one) => (one.connections < least.connections ? one : least), from)
const sticky: Balancer = (live, from, random) => (from.alive ? from : anyOf(live, from, random))

/** A linear congruential generator: the numbers are the same on every run. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const seeds = fc.nat().map(randomFrom)
/** A fixed seed, so that every run tests the same fleets. */
const runs = { seed: 6, numRuns: 60 }

describe('a fleet', () => {
  test.each<[string, Balancer]>([
    ['random', anyOf],
    ['least connections', emptiest],
  ])('that grows becomes even within three minutes behind a balancer of the kind: %s', (_kind, balancer) => {
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

  test('of one full gateway and three empty ones becomes even within five minutes', () => {
    const fleet = new Fleet([50_000], randomFrom(1), anyOf)
    for (let count = 0; count < 3; count += 1) fleet.add()
    fleet.run(300)
    expect(fleet.fullestOfMean).toBeLessThan(1.25)
  })

  test('that is as even as random placement allows closes few sessions', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 2, max: 10 }), (random, size) => {
        const fleet = new Fleet(
          Array.from({ length: size }, () => 0),
          random,
          anyOf,
        )
        fleet.arrive(400 * size)
        fleet.run(600)
        expect(fleet.closed).toBeLessThan(200)
      }),
      runs,
    )
  })

  test('behind a balancer with session affinity stops to rebalance for an hour', () => {
    fc.assert(
      fc.property(seeds, fc.integer({ min: 500, max: 30_000 }), (random, connections) => {
        const fleet = new Fleet([connections, 0], random, sticky)
        fleet.run(3_000)
        expect(fleet.gaveUp).toHaveLength(1)
        expect(fleet.closed).toBeLessThanOrEqual(4 * Math.max(500, connections / 5))
        fleet.run(1_500)
        expect(fleet.gaveUp).toHaveLength(2)
      }),
      runs,
    )
  })

  test('in which gateways come and go loses no client, and becomes even when it is steady', () => {
    const events = fc.array(
      fc.record({ afterS: fc.integer({ min: 1, max: 60 }), remove: fc.option(fc.nat(20)) }),
      { maxLength: 12 },
    )
    fc.assert(
      fc.property(seeds, events, (random, changes) => {
        const fleet = new Fleet([2_000, 2_000, 2_000], random, anyOf)
        for (const { afterS, remove } of changes) {
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
