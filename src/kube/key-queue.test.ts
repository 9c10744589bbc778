import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { KeyQueue } from './key-queue.js'
import { namespaceOfKey } from './object.js'
import { ManualTime } from './time.testing.js'

let time: ManualTime
let queue: KeyQueue

beforeEach(() => {
  time = new ManualTime()
  queue = new KeyQueue({ clock: time, after: time.after })
})

describe('a key', () => {
  test('that is added twice is taken once, in the order of its first addition', () => {
    for (const key of ['a', 'b', 'a']) queue.add(key)
    expect(queue.depth).toBe(2)
    expect([queue.take(), queue.take(), queue.take()]).toEqual(['a', 'b', undefined])
  })

  test('that is added while in progress is taken once more, after it is done', () => {
    queue.add('a')
    queue.take()
    queue.add('a')
    queue.add('a')
    expect(queue.take()).toBeUndefined()
    queue.done('a')
    expect(queue.take()).toBe('a')
    queue.done('a')
    expect(queue.take()).toBeUndefined()
  })

  test('is announced to the listener when it can be taken, and not before', () => {
    let calls = 0
    queue.onAvailable(() => (calls += 1))
    queue.add('a')
    queue.take()
    queue.add('a')
    expect(calls).toBe(1)
    queue.done('a')
    expect(calls).toBe(2)
  })
})

describe('a delayed key', () => {
  test('is due at the earliest of several times, regardless of their order', () => {
    queue.addAfter('a', 50)
    queue.addAfter('a', 10)
    queue.addAfter('a', 30)
    expect(time.delaysMs).toEqual([10])
    time.move(9)
    expect(queue.depth).toBe(0)
    time.move(1)
    expect(queue.take()).toBe('a')
    expect(time.pending).toBe(0)
  })

  test('is due immediately when the delay is zero', () => {
    queue.addAfter('a', 0)
    expect(queue.take()).toBe('a')
  })
})

describe('back-off', () => {
  const delays = (count: number) =>
    Array.from({ length: count }, () => {
      queue.addRateLimited('a')
      const [delay = 0] = time.delaysMs
      time.move(delay)
      return delay
    })

  test('doubles from 5 ms to 1,000 s, until the key is forgotten', () => {
    expect(delays(5)).toEqual([5, 10, 20, 40, 80])
    expect(delays(20).at(-1)).toBe(1_000_000)
    queue.forget('a')
    expect(delays(1)).toEqual([5])
  })

  test('is separate for each key', () => {
    delays(10)
    queue.addRateLimited('b')
    expect(time.delaysMs).toEqual([5])
  })
})

describe('priorities and groups', () => {
  const byPrefix = (key: string) => key.slice(0, 1)

  beforeEach(() => {
    queue = new KeyQueue({ clock: time, after: time.after, groupOf: byPrefix })
  })

  /** Takes and finishes all keys that may be taken. */
  function takeAll(): string[] {
    const taken: string[] = []
    for (let key = queue.take(); key !== undefined; key = queue.take()) {
      taken.push(key)
      queue.done(key)
    }
    return taken
  }

  test('a waiting key that becomes urgent moves to the front, and never back', () => {
    for (const key of ['a1', 'a2', 'a3']) queue.add(key)
    queue.add('a3', 'urgent')
    queue.add('a3')
    expect(queue.depth).toBe(3)
    expect(takeAll()).toEqual(['a3', 'a1', 'a2'])
  })

  test('an urgent key waits for one key of each other namespace at most, however many those have', () => {
    const tested = new KeyQueue({ clock: time, after: time.after, groupOf: namespaceOfKey })
    const namespaces = Array.from({ length: 50 }, (_, index) => `a${index}`)
    for (const priority of ['normal', 'urgent'] as const)
      for (const space of namespaces)
        for (let index = 0; index < 20; index += 1) tested.add(`${space}/${priority}-${index}`, priority)
    tested.add('b/denied', 'urgent')
    let turns = 0
    for (let key = tested.take(); key !== undefined && key !== 'b/denied'; key = tested.take()) {
      tested.done(key)
      turns += 1
    }
    // After three urgent keys comes a normal one, so that those are not starved.
    expect(turns).toBeLessThanOrEqual(namespaces.length * (4 / 3))
  })

  test('a key that becomes urgent while in progress is urgent afterwards', () => {
    queue.add('a1')
    queue.take()
    queue.add('a1')
    queue.add('a1', 'urgent')
    queue.add('b1', 'urgent')
    queue.add('b2')
    queue.done('a1')
    expect(takeAll()).toEqual(['b1', 'a1', 'b2'])
  })

  test('an urgent key that fails stays urgent when it is due again', () => {
    queue.add('a1', 'urgent')
    queue.take()
    queue.addRateLimited('a1')
    queue.done('a1')
    queue.add('a2')
    time.move(5)
    expect(takeAll()).toEqual(['a1', 'a2'])
  })

  test('of several delays the earliest and the most urgent takes effect', () => {
    queue.addAfter('a1', 10)
    queue.addAfter('a1', 20, 'urgent')
    queue.add('a2')
    time.move(10)
    expect(takeAll()).toEqual(['a1', 'a2'])
    queue.addAfter('a1', 20, 'urgent')
    queue.addAfter('a1', 10)
    queue.add('a2')
    time.move(10)
    expect(takeAll()).toEqual(['a1', 'a2'])
    expect(time.pending).toBe(0)
  })

  test('a failing key of one group waits alone', () => {
    for (let failure = 0; failure < 10; failure += 1) queue.addRateLimited('a1')
    queue.add('b1')
    expect(takeAll()).toEqual(['b1'])
  })

  test('a group has at most `perGroupMax` keys in progress, and one urgent key more', () => {
    for (const key of ['a1', 'a2', 'a3', 'b1']) queue.add(key)
    const take = () => queue.take({ perGroupMax: 2 })
    expect([take(), take(), take(), take()]).toEqual(['a1', 'b1', 'a2', undefined])
    queue.add('a4', 'urgent')
    queue.add('a5', 'urgent')
    expect([take(), take()]).toEqual(['a4', undefined])
    queue.done('a1')
    expect(take()).toBe('a5')
  })

  test('the depth and the age of the oldest key are known by priority', () => {
    queue.add('a1')
    time.move(3_000)
    queue.add('a2')
    queue.add('b1', 'urgent')
    time.move(1_000)
    expect(queue.waitingIn('normal')).toEqual({ depth: 2, oldestSeconds: 4 })
    expect(queue.waitingIn('urgent')).toEqual({ depth: 1, oldestSeconds: 1 })
    expect(queue.largestGroup()).toEqual({ group: 'a', size: 2 })
    takeAll()
    expect(queue.waitingIn('urgent')).toEqual({ depth: 0, oldestSeconds: 0 })
  })
})

test('P20: the queue keeps no state for keys that are done and forgotten', () => {
  for (let index = 0; index < 10_000; index += 1) {
    const key = `object-${index}`
    queue.add(key)
    queue.addRateLimited(key)
  }
  expect(queue.size).toBe(10_000)
  for (let pass = 0; pass < 2; pass += 1) {
    for (let key = queue.take(); key !== undefined; key = queue.take()) {
      queue.forget(key)
      queue.done(key)
    }
    time.move(10)
  }
  expect(queue.size).toBe(0)
})

test('a closed queue accepts no key and has no timer', () => {
  queue.add('running')
  queue.take()
  queue.add('running')
  queue.add('waiting')
  queue.addAfter('later', 10)
  queue.close()
  queue.add('late')
  queue.addAfter('later', 10)
  queue.done('running')
  expect(queue.take()).toBeUndefined()
  expect(time.pending).toBe(0)
  expect(queue.size).toBe(0)
})

test('the meter gets every addition, retry, wait and duration', () => {
  const seen: string[] = []
  queue = new KeyQueue({
    clock: time,
    after: time.after,
    meter: {
      added: () => seen.push('added'),
      retried: () => seen.push('retried'),
      waited: (seconds) => seen.push(`waited ${seconds}`),
      worked: (seconds) => seen.push(`worked ${seconds}`),
    },
  })
  queue.add('a')
  queue.add('a')
  time.move(2_000)
  queue.take()
  time.move(3_000)
  expect(queue.unfinishedSeconds()).toEqual([3])
  queue.done('a')
  queue.addRateLimited('a')
  expect(seen).toEqual(['added', 'waited 2', 'worked 3', 'retried'])
})

test('for any sequence of calls, a key has one worker at a time and each addition is followed by work', () => {
  const key = fc.constantFrom('a1', 'a2', 'b1')
  const step = fc.oneof(
    fc.record({ do: fc.constant('add' as const), key }),
    fc.record({ do: fc.constant('urge' as const), key }),
    fc.record({ do: fc.constant('later' as const), key }),
    fc.record({ do: fc.constant('take' as const), key }),
    fc.record({ do: fc.constant('done' as const), key }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = new ManualTime()
      const groupOf = (name: string) => name.slice(0, 1)
      const tested = new KeyQueue({ clock, after: clock.after, groupOf })
      const working = new Set<string>()
      const due = new Set<string>()
      const take = () => {
        const taken = tested.take({ perGroupMax: 2 })
        if (taken === undefined) return false
        expect(working.has(taken)).toBe(false)
        working.add(taken)
        due.delete(taken)
        return true
      }
      const finish = (name: string) => {
        working.delete(name)
        tested.done(name)
      }
      for (const { do: what, key: name } of steps) {
        if (what === 'take') take()
        else if (what === 'done') {
          if (working.has(name)) finish(name)
        } else {
          if (what === 'add') tested.add(name)
          else if (what === 'urge') tested.add(name, 'urgent')
          else tested.addAfter(name, 5)
          due.add(name)
        }
      }
      clock.move(5)
      for (const name of [...working]) finish(name)
      while (take()) for (const name of [...working]) finish(name)
      expect([...due]).toEqual([])
    }),
  )
})
