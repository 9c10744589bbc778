// Electors whose clocks a test moves, on a Lease in memory that keeps the one promise that counts: a write to an old version is refused.
import { beforeEach, describe, expect, test } from 'vitest'
import { ApiError, ApiUnreachableError, NotLeadingError } from '../../src/kube/api-error.js'
import type { Desired } from '../../src/kube/ports.js'
import { Elector } from '../../src/kube/lease.js'
import { ApiObject } from '../../src/kube/object.js'
import { ManualTime } from '../../src/kube/time.testing.js'
import { createLog } from '../../src/log.js'
import { Arrivals, within } from '../support/waiting.js'

const log = createLog({ level: 'silent', name: 'test' })

/** What the API server keeps. */
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

/** An elector of which every pause is ended by the test. */
class Candidate {
  readonly elector: Elector
  readonly led: number[] = []
  readonly lost = new Arrivals<string>('the loss')
  readonly stop = new AbortController()
  readonly run: Promise<void>
  /** How its calls go; replaced by tests. */
  api: Pick<StoredLease, 'get' | 'create' | 'update'> = stored
  readonly #pauses = new Arrivals<{ ms: number; end: () => void }>('a pause')

  constructor(identity: string) {
    this.elector = new Elector({
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

  /** Its turn has ended: it waits. */
  async waits(): Promise<{ ms: number; end: () => void }> {
    return this.#pauses.next()
  }

  /** Lets so much time go by, and it have its turn. */
  async turn(pause: { end: () => void }, ms = 2_000): Promise<{ ms: number; end: () => void }> {
    time.move(ms)
    pause.end()
    return this.waits()
  }
}

describe('who leads', () => {
  test('is who made the lease; it renews every two seconds, and others wait', async () => {
    const first = new Candidate('first')
    let pause = await first.waits()
    expect(pause.ms).toBe(2_000)
    expect(first.led).toEqual([first.elector.term])
    expect(stored.spec).toMatchObject({ holderIdentity: 'first', leaseDurationSeconds: 15 })
    const second = new Candidate('second')
    await second.waits()
    const before = stored.spec.renewTime
    pause = await first.turn(pause)
    expect(stored.spec.renewTime > before).toBe(true)
    expect(second.elector.leading).toBe(false)
    expect(() => second.elector.assertLeading()).toThrow(NotLeadingError)
    expect(() => second.elector.term).toThrow(NotLeadingError)
  })

  test('dies without a word: another leads 15 seconds after it saw the last renewal, in the next term', async () => {
    const first = new Candidate('first')
    await first.waits()
    const second = new Candidate('second')
    let pause = await second.waits()
    pause = await second.turn(pause, 14_999)
    expect(second.elector.leading).toBe(false)
    expect(first.elector.leading, 'and has stopped to believe in itself long before').toBe(false)
    await second.turn(pause, 1)
    expect(second.elector.leading).toBe(true)
    expect(second.elector.term).toBe(first.elector.term + 1)
  })

  test('gives the lease back when it stops: the next one takes it at its next turn', async () => {
    const first = new Candidate('first')
    await first.waits()
    const second = new Candidate('second')
    const pause = await second.waits()
    first.stop.abort()
    await within('the first to end', first.run)
    expect(first.elector.leading).toBe(false)
    expect(first.lost.waiting, 'it wanted to').toEqual([])
    await second.turn(pause)
    expect(second.led).toEqual([first.elector.term + 1])
  })

  test('is another process although it has the same name: the term grows, and it waits like all others', async () => {
    const first = new Candidate('same')
    await first.waits()
    const again = new Candidate('same')
    let pause = await again.waits()
    expect(again.elector.leading).toBe(false)
    pause = await again.turn(pause, 15_000)
    expect(again.elector.term).toBe(first.elector.term + 1)
  })

  test('of two that try at the same time is one', async () => {
    const both = [new Candidate('a'), new Candidate('b')]
    await Promise.all(both.map((candidate) => candidate.waits()))
    expect(both.filter(({ elector }) => elector.leading)).toHaveLength(1)
  })

  test('runs once', async () => {
    const first = new Candidate('first')
    await first.waits()
    await expect(first.elector.run(first.stop.signal)).rejects.toThrow('started before')
  })
})

describe('P16: what was held is not held any more', () => {
  test('P16: after ten seconds without a renewal, to the millisecond, whatever the timers do', async () => {
    const { elector, waits } = new Candidate('first')
    await within('its first turn', Promise.resolve(waits))
    await expect.poll(() => elector.leading).toBe(true)
    time.standStill(9_999)
    expect(() => elector.assertLeading()).not.toThrow()
    time.standStill(1)
    expect(() => elector.assertLeading()).toThrow('not held')
    expect(elector.leading).toBe(false)
  })

  test('P16: after the machine slept, when only the other clock has gone on', async () => {
    const first = new Candidate('first')
    await first.waits()
    time.standStill(20_000, { monotonic: false })
    expect(() => first.elector.assertLeading()).toThrow('not held')
  })

  test('P16: and a process that stood still does not renew, but ends, even when nobody else led', async () => {
    const first = new Candidate('first')
    const pause = await first.waits()
    const { writes } = stored
    time.standStill(30_000)
    pause.end()
    expect(await first.lost.next()).toBe('this process stood still for longer than its lease lasts')
    await within('run() to end', first.run)
    expect(stored.writes).toBe(writes)
  })

  test('P16: time counts from before the renewal was sent, not from its answer', async () => {
    const first = new Candidate('first')
    const pause = await first.waits()
    const update = stored.update.bind(stored)
    first.api = {
      get: () => stored.get(),
      create: (desired) => stored.create(desired),
      update: async (desired) => {
        const answer = await update(desired)
        time.standStill(9_000)
        return answer
      },
    }
    await first.turn(pause)
    expect(first.elector.leading).toBe(true)
    time.standStill(1_000)
    expect(first.elector.leading).toBe(false)
  })

  test('P16: an API server that cannot be reached ends it after ten seconds, not before', async () => {
    const first = new Candidate('first')
    let pause = await first.waits()
    const away = () => Promise.reject(new ApiUnreachableError('connect ECONNREFUSED'))
    first.api = { get: away, create: away, update: away }
    for (let turn = 0; turn < 4; turn += 1) pause = await first.turn(pause)
    expect(first.elector.leading).toBe(true)
    time.move(2_000)
    pause.end()
    expect(await first.lost.next()).toMatch(/stood still|ECONNREFUSED/)
    expect(first.elector.leading).toBe(false)
    await within('run() to end', first.run)
  })

  test('P16: a renewal whose answer was lost is recognised, and is no loss', async () => {
    const first = new Candidate('first')
    let pause = await first.waits()
    const update = stored.update.bind(stored)
    let lose = true
    first.api = {
      get: () => stored.get(),
      create: (desired) => stored.create(desired),
      update: async (desired) => {
        const answer = await update(desired)
        if (!lose) return answer
        lose = false
        throw new ApiUnreachableError('reset')
      },
    }
    for (let turn = 0; turn < 6; turn += 1) pause = await first.turn(pause)
    expect(first.elector.leading).toBe(true)
    expect(first.lost.waiting).toEqual([])
  })

  test('P16: the term is still told after the loss, for the fence of what was written under it', async () => {
    const first = new Candidate('first')
    await first.waits()
    const { term } = first.elector
    time.standStill(60_000)
    expect(first.elector.term).toBe(term)
  })
})
