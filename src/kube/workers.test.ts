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

/** Lets pending promises settle. Workers yield to the event loop before they take the next key. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await setImmediate()
}

function work(reconcile: Reconcile, options: Partial<WorkersOptions> = {}): Promise<void> {
  const workers = new Workers({ queue, reconcile, log, clock: time, after: time.after, meter, ...options })
  return workers.run(ending.signal)
}

/** Returns a reconcile that ends only when the test resolves it. */
function heldReconcile() {
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

async function stop(run: Promise<void>): Promise<void> {
  ending.abort()
  await run
}

test('at most `concurrency` keys are in progress, and no key has two workers', async () => {
  const { running, reconcile } = heldReconcile()
  const run = work(reconcile, { concurrency: 2 })
  for (const key of ['a', 'b', 'c', 'a']) queue.add(key)
  expect([...running.keys()]).toEqual(['a', 'b'])
  queue.add('a')
  running.get('b')?.()
  await settled()
  expect([...running.keys()]).toEqual(['a', 'c'])
  running.get('a')?.()
  await settled()
  expect([...running.keys()], 'the key that was added again').toEqual(['c', 'a'])
  for (const finish of running.values()) finish()
  await stop(run)
})

test('urgent keys have workers of their own', async () => {
  const { running, reconcile } = heldReconcile()
  const run = work(reconcile, { concurrency: 1, urgentExtra: 1 })
  for (const key of ['a', 'b']) queue.add(key)
  expect([...running.keys()]).toEqual(['a'])
  queue.add('c', 'urgent')
  queue.add('d', 'urgent')
  expect([...running.keys()]).toEqual(['a', 'c'])
  running.get('c')?.()
  await settled()
  expect([...running.keys()]).toEqual(['a', 'd'])
  for (const finish of running.values()) finish()
  await settled()
  expect([...running.keys()]).toEqual(['b'])
  running.get('b')?.()
  await stop(run)
})

test('a group whose reconciles do not end leaves workers to others', async () => {
  queue = new KeyQueue({ clock: time, after: time.after, groupOf: (key) => key.slice(0, 1) })
  const { running, reconcile } = heldReconcile()
  const run = work(reconcile, { concurrency: 4, perGroupMax: 2 })
  for (const key of ['a1', 'a2', 'a3', 'a4']) queue.add(key)
  expect([...running.keys()]).toEqual(['a1', 'a2'])
  queue.add('b1')
  expect([...running.keys()]).toEqual(['a1', 'a2', 'b1'])
  for (const finish of running.values()) finish()
  await settled()
  expect([...running.keys()]).toEqual(['a3', 'a4'])
  for (const finish of running.values()) finish()
  await stop(run)
})

test('reconciles without I/O yield to the event loop, so that the lease’s timers can fire', async () => {
  const order: string[] = []
  const reconcile: Reconcile = async (key) => {
    order.push(key)
    return undefined
  }
  const run = work(reconcile, { concurrency: 2 })
  for (let key = 1; key <= 9; key += 1) queue.add(`${key}`)
  const other = setImmediate().then(() => order.push('another callback'))
  while (order.length < 10) await setImmediate()
  await other
  expect(order.indexOf('another callback')).toBeLessThan(4)
  await stop(run)
})

describe('the outcome of a reconcile', () => {
  test('success resets the back-off', async () => {
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
    await stop(run)
  })

  test('a requested requeue happens after its delay', async () => {
    const run = work(async () => ({ requeueAfterMs: 30_000 }))
    queue.add('a')
    await settled()
    expect(time.delaysMs).toEqual([30_000])
    expect(seen).toEqual(['started', 'requeue_after'])
    await stop(run)
  })

  test('a terminal error is not retried and is counted separately', async () => {
    const run = work(async () => {
      throw new TerminalError('the class does not exist')
    })
    queue.add('a')
    await settled()
    expect(queue.size).toBe(0)
    expect(seen).toEqual(['started', 'terminal', 'error'])
    await stop(run)
  })

  test('an error with Retry-After is retried after that delay', async () => {
    const run = work(async () => {
      throw new ApiError('slow down', { code: 429, reason: 'TooManyRequests', retryAfterMs: 9_000 })
    })
    queue.add('a')
    await settled()
    expect(time.delaysMs).toEqual([9_000])
    await stop(run)
  })
})

test('P6: an exception, thrown synchronously or not an Error, is counted as a bug and retried', async () => {
  const thrown: Record<string, () => never> = {
    a: () => {
      throw new TypeError('undefined is not a function')
    },
    b: () => {
      // oxlint-disable-next-line typescript/only-throw-error -- third-party code may do this
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
  await stop(run)
})

test('P15: a Conflict is retried from the start', async () => {
  const run = work(async () => {
    throw new ApiError('the object has been modified', { code: 409, reason: 'Conflict' })
  })
  queue.add('a')
  await settled()
  expect(time.delaysMs).toEqual([5])
  await stop(run)
})

test('a reconcile that exceeds its time is aborted, and keeps its key until it ends', async () => {
  const { running, signals, reconcile } = heldReconcile()
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
  await stop(run)
})

test('after its signal, running reconciles finish, none starts, and signals abort after the grace', async () => {
  const { running, signals, reconcile } = heldReconcile()
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
