import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { overtaken, Router, takeOf, type Job } from './shard-router.js'
import type { Shard, ShardMap } from '../topology/shards.js'
import type { Locator } from '../topology/locator.js'

interface Word extends Job {
  readonly word: string
}

/** Shards are names; whoever holds a partition does what it is told by hand. */
function rig({ patienceMs = 1_000, waitingMax = 100 } = {}) {
  let nowMs = 0
  const holders = new Map<number, Shard>()
  const listeners = new Set<() => void>()
  const timers = new Set<{ atMs: number; fire: () => void }>()
  const refused: string[] = []
  let refreshes = 0
  const shardOf = (name: string): Shard => ({
    name,
    locator: {} as Locator,
    retired: new AbortController().signal,
  })
  const [a, b] = [shardOf('a'), shardOf('b')]
  const shards: ShardMap = {
    shards: [a, b],
    holderOf: (partition) => holders.get(partition),
    onChange: (listener) => (listeners.add(listener), () => listeners.delete(listener)),
    refresh: () => (refreshes += 1),
  }
  /** What each shard was sent and has not ended. */
  const sent = new Map<Shard, Word[]>([
    [a, []],
    [b, []],
  ])
  const router = new Router<Word>({
    shards,
    clock: { epochMs: () => nowMs, monotonicMs: () => nowMs },
    after(delayMs, fire) {
      const timer = { atMs: nowMs + delayMs, fire }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    laneOf: (shard) => ({ send: (job) => sent.get(shard)?.push(job) }),
    patienceMs,
    waitingMax,
  })
  return {
    a,
    b,
    router,
    refused,
    refreshes: () => refreshes,
    at: (shard: Shard) => (sent.get(shard) ?? []).map(({ word }) => word),
    hold(partition: number, shard: Shard | undefined) {
      if (shard) holders.set(partition, shard)
      else holders.delete(partition)
      for (const listener of listeners) listener()
    },
    send(word: string, partition = 1) {
      router.send({ word, partition, key: word, sinceMs: nowMs, refuse: () => refused.push(word) })
    },
    /** Ends the first so many that lie at the shard. */
    settle(shard: Shard, count = 1) {
      for (const job of (sent.get(shard) ?? []).splice(0, count)) router.settled(job)
    },
    giveBack(shard: Shard, count = Infinity) {
      for (const job of (sent.get(shard) ?? []).splice(0, count)) router.elsewhere(job)
    },
    pass(ms: number) {
      nowMs += ms
      for (const timer of [...timers]) {
        if (timer.atMs > nowMs) continue
        timers.delete(timer)
        timer.fire()
      }
    },
  }
}

describe('a router', () => {
  test('sends to the holder at once', () => {
    const { a, at, hold, send } = rig()
    hold(1, a)
    send('one')
    send('two')
    expect(at(a)).toEqual(['one', 'two'])
  })

  test('sends nothing to a new holder while something is under way at the old one', () => {
    const { a, at, b, hold, send, settle } = rig()
    hold(1, a)
    send('one')
    hold(1, b)
    send('two')
    expect(at(b)).toEqual([])
    settle(a)
    expect(at(b)).toEqual(['two'])
  })

  test('other partitions do not wait for that', () => {
    const { a, at, b, hold, send } = rig()
    hold(1, a)
    send('one')
    hold(1, b)
    hold(2, b)
    send('other', 2)
    expect(at(b)).toEqual(['other'])
  })

  test('what was given back goes to the new holder, before what came later', () => {
    const { a, at, b, giveBack, hold, send } = rig()
    hold(1, a)
    send('one')
    send('two')
    giveBack(a, 1)
    send('three')
    expect(at(b)).toEqual([])
    hold(1, b)
    giveBack(a)
    expect(at(b)).toEqual(['one', 'two', 'three'])
  })

  test('goes to the same holder again after a pause, and the map is looked at', () => {
    const { a, at, giveBack, hold, pass, refreshes, send } = rig()
    hold(1, a)
    send('one')
    giveBack(a)
    expect(at(a)).toEqual([])
    expect(refreshes()).toBe(1)
    pass(50)
    expect(at(a)).toEqual(['one'])
  })

  test('waits for a holder, but not for ever', () => {
    const { a, at, hold, pass, refused, send } = rig({ patienceMs: 200 })
    send('one')
    pass(100)
    send('two')
    pass(100)
    expect(refused).toEqual(['one'])
    hold(1, a)
    expect(at(a)).toEqual(['two'])
  })

  test('what is always given back is refused in the end', () => {
    const { a, giveBack, hold, pass, refused, send } = rig({ patienceMs: 200 })
    hold(1, a)
    send('one')
    for (let n = 0; n < 5; n += 1) {
      giveBack(a)
      pass(50)
    }
    expect(refused).toEqual(['one'])
  })

  test('more than may wait are refused', () => {
    const { refused, send } = rig({ waitingMax: 1 })
    send('one')
    send('two')
    expect(refused).toEqual(['two'])
  })

  test('at its end it refuses whoever waits', () => {
    const { refused, router, send } = rig()
    send('one')
    router.close()
    expect(refused).toEqual(['one'])
  })

  test('whatever happens to it, a partition’s jobs end in the order in which they were sent, each once', () => {
    const step = fc.oneof(
      fc.constant('send' as const),
      fc.constantFrom('settle a' as const, 'settle b' as const, 'back a' as const, 'back b' as const),
      fc.constantFrom('hold a' as const, 'hold b' as const, 'nobody' as const, 'pass' as const),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = rig({ patienceMs: Infinity, waitingMax: 1_000 })
        const { a, at, b, giveBack, hold, pass, send, settle } = world
        const ended: string[] = []
        let count = 0
        const end = (shard: Shard) => {
          ended.push(...at(shard).slice(0, 1))
          settle(shard)
        }
        for (const what of steps) {
          if (what === 'send') send(String((count += 1)))
          if (what === 'settle a') end(a)
          if (what === 'settle b') end(b)
          if (what === 'back a') giveBack(a)
          if (what === 'back b') giveBack(b)
          if (what === 'hold a') hold(1, a)
          if (what === 'hold b') hold(1, b)
          if (what === 'nobody') hold(1, undefined)
          if (what === 'pass') pass(50)
          expect(at(a).length === 0 || at(b).length === 0).toBe(true)
        }
        hold(1, a)
        giveBack(b)
        pass(50)
        while (at(a).length > 0) end(a)
        expect(ended).toEqual(Array.from({ length: count }, (_, n) => String(n + 1)))
      }),
    )
  })
})

const job = (key: string, partition = 1): Job => ({ key, partition, sinceMs: 0, refuse: () => {} })

test('what may not go before something given back is taken out of a queue, in order', () => {
  const queue = [job('a', 1), job('b', 2), job('c', 1), job('d', 3)]
  expect(takeOf(queue, new Set([1, 3])).map(({ key }) => key)).toEqual(['a', 'c', 'd'])
  expect(queue.map(({ key }) => key)).toEqual(['b'])
})

test('a job is overtaken by a later one of the same key alone', () => {
  const [a1, b1, a2, b2] = [job('a'), job('b'), job('a'), job('b')]
  const late = overtaken([
    { job: a1, happened: false },
    { job: b1, happened: true },
    { job: a2, happened: true },
    { job: b2, happened: false },
  ])
  expect([...late]).toEqual([a1])
})
