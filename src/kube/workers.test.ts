import { setImmediate } from 'node:timers/promises'
import { beforeEach, describe, expect, test } from 'vitest'
import { createLog } from '../log.js'
import { ApiError, TerminalError } from './api-error.js'
import { KeyQueue } from './key-queue.js'
import type { Reconcile } from './ports.js'
import { ManualTime } from './time.testing.js'
import { Workers, type WorkersOptions } from './workers.js'

const log = createLog({ level: 'silent', name: 'test' })

let time: ManualTime
let queue: KeyQueue
let seen: string[]
let ending: AbortController

beforeEach(() => {
  time = new ManualTime()
  queue = new KeyQueue({ clock: time, after: time.after })
  seen = []
  ending = new AbortController()
})

const meter = {
  started: () => seen.push('started'),
  ended: (result: string) => seen.push(result),
  terminal: () => seen.push('terminal'),
  panicked: () => seen.push('panicked'),
  timedOut: () => seen.push('timed out'),
}

/** All promises that can go on have gone on: workers wait a turn of the event loop before the next key. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await setImmediate()
}

function work(reconcile: Reconcile, options: Partial<WorkersOptions> = {}): Promise<void> {
  const workers = new Workers({ queue, reconcile, log, clock: time, after: time.after, meter, ...options })
  return workers.run(ending.signal)
}

/** A reconcile that ends when the test says so. */
function held() {
  const running = new Map<string, (error?: unknown) => void>()
  const signals = new Map<string, AbortSignal>()
  const reconcile: Reconcile = (key, signal) =>
    new Promise((resolve, reject) => {
      signals.set(key, signal)
      running.set(key, (error) => {
        running.delete(key)
        if (error === undefined) resolve(undefined)
        else reject(error)
      })
    })
  return { running, signals, reconcile }
}

async function end(run: Promise<void>): Promise<void> {
  ending.abort()
  await run
}

test('at most so many keys are worked on at a time, and no key twice', async () => {
  const { running, reconcile } = held()
  const run = work(reconcile, { concurrency: 2 })
  for (const key of ['a', 'b', 'c', 'a']) queue.add(key)
  expect([...running.keys()]).toEqual(['a', 'b'])
  queue.add('a')
  running.get('b')?.()
  await settled()
  expect([...running.keys()]).toEqual(['a', 'c'])
  running.get('a')?.()
  await settled()
  expect([...running.keys()], 'once more afterwards').toEqual(['c', 'a'])
  for (const finish of running.values()) finish()
  await end(run)
})

test('keys that need no call leave their turns to everything else: to the lease’s timers, above all', async () => {
  const order: string[] = []
  const reconcile: Reconcile = async (key) => {
    order.push(key)
    return undefined
  }
  const run = work(reconcile, { concurrency: 2 })
  for (let key = 1; key <= 9; key += 1) queue.add(`${key}`)
  const other = setImmediate().then(() => order.push('somebody else'))
  while (order.length < 10) await setImmediate()
  await other
  expect(order.indexOf('somebody else')).toBeLessThan(4)
  await end(run)
})

describe('an outcome', () => {
  test('of success forgets the failures before it', async () => {
    let failures = 2
    const run = work(async () => {
      if ((failures -= 1) >= 0) throw new Error('not yet')
      return undefined
    })
    queue.add('a')
    await settled()
    expect(time.delaysMs).toEqual([5])
    time.move(5)
    await settled()
    expect(time.delaysMs).toEqual([10])
    time.move(10)
    await settled()
    expect(queue.size).toBe(0)
    expect(seen.filter((word) => word !== 'started')).toEqual(['error', 'error', 'success'])
    await end(run)
  })

  test('that wants to come back does, after its time', async () => {
    const run = work(async () => ({ requeueAfterMs: 30_000 }))
    queue.add('a')
    await settled()
    expect(time.delaysMs).toEqual([30_000])
    expect(seen).toEqual(['started', 'requeue_after'])
    await end(run)
  })

  test('that is terminal is not tried again, and counted apart', async () => {
    const run = work(async () => {
      throw new TerminalError('the plan is gone')
    })
    queue.add('a')
    await settled()
    expect(queue.size).toBe(0)
    expect(seen).toEqual(['started', 'terminal', 'error'])
    await end(run)
  })

  test('of an API server that named a time comes back then', async () => {
    const run = work(async () => {
      throw new ApiError('slow down', { code: 429, reason: 'TooManyRequests', retryAfterMs: 9_000 })
    })
    queue.add('a')
    await settled()
    expect(time.delaysMs).toEqual([9_000])
    await end(run)
  })
})

test('P6: an exception, thrown at once or later, or no Error at all, is counted and tried again', async () => {
  const thrown: Record<string, () => never> = {
    a: () => {
      throw new TypeError('undefined is not a function')
    },
    b: () => {
      // oxlint-disable-next-line typescript/only-throw-error -- what others' code may do
      throw 'text'
    },
  }
  const run = work((key) => thrown[key]?.() ?? Promise.resolve(undefined))
  queue.add('a')
  queue.add('b')
  queue.add('c')
  await settled()
  expect(seen.filter((word) => word === 'panicked')).toHaveLength(2)
  expect(time.delaysMs).toEqual([5, 5])
  expect(seen.filter((word) => word === 'success')).toHaveLength(1)
  await end(run)
})

test('P15: a Conflict is tried again from the start', async () => {
  const run = work(async () => {
    throw new ApiError('the object has been modified', { code: 409, reason: 'Conflict' })
  })
  queue.add('a')
  await settled()
  expect(time.delaysMs).toEqual([5])
  await end(run)
})

test('a reconcile that takes too long hears of it, and keeps its key until it ends', async () => {
  const { running, signals, reconcile } = held()
  const run = work(reconcile, { timeoutMs: 1_000 })
  queue.add('a')
  time.move(1_000)
  expect(signals.get('a')?.aborted).toBe(true)
  expect(seen).toEqual(['started', 'timed out'])
  queue.add('a')
  expect(running.size).toBe(1)
  running.get('a')?.(signals.get('a')?.reason)
  await settled()
  expect(running.size).toBe(1)
  running.get('a')?.()
  await end(run)
})

test('the end lets what is running end, begins nothing, and gives up after the grace', async () => {
  const { running, signals, reconcile } = held()
  const run = work(reconcile, { graceMs: 5_000, concurrency: 1 })
  queue.add('a')
  queue.add('b')
  ending.abort()
  await settled()
  expect(signals.get('a')?.aborted).toBe(false)
  time.move(5_000)
  expect(signals.get('a')?.aborted).toBe(true)
  running.get('a')?.()
  await run
  expect(running.size).toBe(0)
  expect(time.pending).toBe(0)
})
