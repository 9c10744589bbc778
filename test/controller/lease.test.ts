// Electors whose clocks the test moves. Their Lease is in memory and refuses a write to an old version, as
// the API server does.
import { beforeEach, describe, expect, test } from 'vitest'
import { ApiError, ApiUnreachableError, NotLeadingError } from '../../src/kube/api-error.js'
import type { Desired } from '../../src/kube/ports.js'
import { LeaseElector } from '../../src/kube/lease.js'
import { ApiObject } from '../../src/kube/object.js'
import { ManualTime } from '../../src/kube/time.testing.js'
import { createLog } from '../../src/log.js'
import { Arrivals, within } from '../support/waiting.js'

const log = createLog({ level: 'silent', name: 'test' })

/** The Lease as the API server stores it. */
class StoredLease {
  lease: ApiObject | undefined
  writes = 0
  #version = 0

  async get(): Promise<ApiObject> {
    if (!this.lease) throw new ApiError('none', { code: 404, reason: 'NotFound' })
    return this.lease
  }

  async create(desired: Desired): Promise<ApiObject> {
    if (this.lease) throw new ApiError('there', { code: 409, reason: 'AlreadyExists' })
    return this.#store(desired, `uid-${this.#version}`)
  }

  async update(desired: Desired & { metadata: { resourceVersion?: string } }): Promise<ApiObject> {
    const { uid, resourceVersion } = desired.metadata
    const now = this.lease?.metadata
    if (!now || uid !== now.uid || resourceVersion !== now.resourceVersion) {
      throw new ApiError('the object has been modified', { code: 409, reason: 'Conflict' })
    }
    return this.#store(desired, now.uid)
  }

  get spec() {
    return this.lease?.['spec'] as {
      holderIdentity: string
      leaseTransitions: number
      renewTime: string
      leaseDurationSeconds: number
    }
  }

  #store(desired: Desired, uid: string): ApiObject {
    this.writes += 1
    this.#version += 1
    const metadata = { ...desired.metadata, uid, resourceVersion: String(this.#version) }
    this.lease = ApiObject.parse({
      ...desired,
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata,
    })
    return this.lease
  }
}

let stored: StoredLease
let time: ManualTime

beforeEach(() => {
  stored = new StoredLease()
  time = new ManualTime()
})

/** An elector whose pauses are ended by the test. */
class Candidate {
  readonly elector: LeaseElector
  readonly led: number[] = []
  readonly lost = new Arrivals<string>('the loss of the lease')
  readonly stop = new AbortController()
  readonly run: Promise<void>
  /** The API that it calls. Tests replace it. */
  api: Pick<StoredLease, 'get' | 'create' | 'update'> = stored
  readonly #pauses = new Arrivals<{ ms: number; end: () => void }>('a pause')

  constructor(identity: string) {
    this.elector = new LeaseElector({
      objects: {
        get: () => this.api.get(),
        create: (_kind, desired) => this.api.create(desired),
        update: (_kind, desired) => this.api.update(desired),
      },
      name: { name: 'parley', namespace: 'parley' },
      identity,
      clock: time,
      log,
      onLeading: () => this.led.push(this.elector.term),
      onLost: (reason) => this.lost.push(reason),
      random: () => 0.5,
      pause: (ms, signal) =>
        new Promise((resolve) => {
          this.#pauses.push({ ms, end: resolve })
          signal.addEventListener('abort', () => resolve(), { once: true })
        }),
    })
    this.run = this.elector.run(this.stop.signal)
  }

  /** Resolves when the elector has ended its attempt and waits for the next one. */
  async waits(): Promise<{ ms: number; end: () => void }> {
    return this.#pauses.next()
  }

  /** Moves time by `ms` and lets the elector make its next attempt. */
  async attempt(pause: { end: () => void }, ms = 2_000): Promise<{ ms: number; end: () => void }> {
    time.move(ms)
    pause.end()
    return this.waits()
  }
}

describe('a leader', () => {
  test('creates the lease and renews it every two seconds, while others wait', async () => {
    const first = new Candidate('first')
    let pause = await first.waits()
    expect(pause.ms).toBe(2_000)
    expect(first.led).toEqual([first.elector.term])
    expect(stored.spec).toMatchObject({ holderIdentity: 'first', leaseDurationSeconds: 15 })
    const second = new Candidate('second')
    await second.waits()
    const before = stored.spec.renewTime
    pause = await first.attempt(pause)
    expect(stored.spec.renewTime > before).toBe(true)
    expect(second.elector.leading).toBe(false)
    expect(() => second.elector.assertLeading()).toThrow(NotLeadingError)
    expect(() => second.elector.term).toThrow(NotLeadingError)
  })

  test('that dies is followed, in the next term, 15 seconds after its last renewal was seen', async () => {
    const first = new Candidate('first')
    await first.waits()
    const second = new Candidate('second')
    let pause = await second.waits()
    pause = await second.attempt(pause, 14_999)
    expect(second.elector.leading).toBe(false)
    expect(first.elector.leading, 'it regards the lease as lost long before').toBe(false)
    await second.attempt(pause, 1)
    expect(second.elector.leading).toBe(true)
    expect(second.elector.term).toBe(first.elector.term + 1)
  })

  test('releases the lease when it stops, and the standby acquires it at its next attempt', async () => {
    const first = new Candidate('first')
    await first.waits()
    const second = new Candidate('second')
    const pause = await second.waits()
    first.stop.abort()
    await within('the first to end', first.run)
    expect(first.elector.leading).toBe(false)
    expect(first.lost.waiting, 'a stop is not a loss').toEqual([])
    await second.attempt(pause)
    expect(second.led).toEqual([first.elector.term + 1])
  })

  test('is not confused with another process of the same name, which waits and gets a new term', async () => {
    const first = new Candidate('same')
    await first.waits()
    const again = new Candidate('same')
    let pause = await again.waits()
    expect(again.elector.leading).toBe(false)
    pause = await again.attempt(pause, 15_000)
    expect(again.elector.term).toBe(first.elector.term + 1)
  })

  test('is exactly one of two processes that try at the same time', async () => {
    const both = [new Candidate('a'), new Candidate('b')]
    await Promise.all(both.map((candidate) => candidate.waits()))
    expect(both.filter(({ elector }) => elector.leading)).toHaveLength(1)
  })

  test('of a Lease that was deleted never has a lower term, however fast leaders change', async () => {
    const first = new Candidate('first')
    await first.waits()
    first.stop.abort()
    await within('the first to end', first.run)
    const second = new Candidate('second')
    const pause = await second.waits()
    expect(second.led, 'its term would be ahead of the clock').toEqual([])
    await second.attempt(pause, 1_000)
    expect(second.led).toEqual([first.elector.term + 1])
    second.stop.abort()
    await within('the second to end', second.run)
    stored.lease = undefined
    const third = new Candidate('third')
    await third.waits()
    expect(third.elector.term).toBeGreaterThanOrEqual(second.elector.term)
  })

  test('does not wait for its own clock when the term comes from a clock that is far ahead', async () => {
    const first = new Candidate('first')
    await first.waits()
    first.stop.abort()
    await within('the first to end', first.run)
    const { lease } = stored
    stored.lease = ApiObject.parse({ ...lease, spec: { ...stored.spec, leaseTransitions: 2_000_000_000 } })
    const second = new Candidate('second')
    await second.waits()
    expect(second.led).toEqual([2_000_000_001])
  })

  test('can run once only', async () => {
    const first = new Candidate('first')
    await first.waits()
    await expect(first.elector.run(first.stop.signal)).rejects.toThrow('started before')
  })
})

describe('P16: the lease is not held any more', () => {
  test('P16: after ten seconds without a renewal, to the millisecond, regardless of the timers', async () => {
    const { elector, waits } = new Candidate('first')
    await within('its first attempt', Promise.resolve(waits))
    await expect.poll(() => elector.leading).toBe(true)
    time.stall(9_999)
    expect(() => elector.assertLeading()).not.toThrow()
    time.stall(1)
    expect(() => elector.assertLeading()).toThrow('not held')
    expect(elector.leading).toBe(false)
  })

  test('P16: after the machine slept, when only the wall clock has advanced', async () => {
    const first = new Candidate('first')
    await first.waits()
    time.stall(20_000, { monotonic: false })
    expect(() => first.elector.assertLeading()).toThrow('not held')
  })

  test('P16: after a stall, and the process does not renew but ends, even when no other process led', async () => {
    const first = new Candidate('first')
    const pause = await first.waits()
    const { writes } = stored
    time.stall(30_000)
    pause.end()
    expect(await first.lost.next()).toBe('this process stalled for longer than its lease lasts')
    await within('run() to end', first.run)
    expect(stored.writes).toBe(writes)
  })

  test('P16: as counted from before the renewal was sent, not from its response', async () => {
    const first = new Candidate('first')
    const pause = await first.waits()
    const update = stored.update.bind(stored)
    first.api = {
      get: () => stored.get(),
      create: (desired) => stored.create(desired),
      update: async (desired) => {
        const response = await update(desired)
        time.stall(9_000)
        return response
      },
    }
    await first.attempt(pause)
    expect(first.elector.leading).toBe(true)
    time.stall(1_000)
    expect(first.elector.leading).toBe(false)
  })

  test('P16: ten seconds after the API server became unreachable, not before', async () => {
    const first = new Candidate('first')
    let pause = await first.waits()
    const away = () => Promise.reject(new ApiUnreachableError('connect ECONNREFUSED'))
    first.api = { get: away, create: away, update: away }
    for (let attempt = 0; attempt < 4; attempt += 1) pause = await first.attempt(pause)
    expect(first.elector.leading).toBe(true)
    time.move(2_000)
    pause.end()
    expect(await first.lost.next()).toMatch(/stalled|ECONNREFUSED/)
    expect(first.elector.leading).toBe(false)
    await within('run() to end', first.run)
  })

  test('P16: a renewal whose response was lost is recognised and is not a loss', async () => {
    const first = new Candidate('first')
    let pause = await first.waits()
    const update = stored.update.bind(stored)
    let lose = true
    first.api = {
      get: () => stored.get(),
      create: (desired) => stored.create(desired),
      update: async (desired) => {
        const response = await update(desired)
        if (!lose) return response
        lose = false
        throw new ApiUnreachableError('reset')
      },
    }
    for (let attempt = 0; attempt < 6; attempt += 1) pause = await first.attempt(pause)
    expect(first.elector.leading).toBe(true)
    expect(first.lost.waiting).toEqual([])
  })

  test('P16: the term stays readable, as the fence of earlier writes', async () => {
    const first = new Candidate('first')
    await first.waits()
    const { term } = first.elector
    time.stall(60_000)
    expect(first.elector.term).toBe(term)
  })
})
