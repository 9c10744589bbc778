import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Locator } from '../topology/locator.js'
import type { Shard, ShardMap } from '../topology/shards.js'
import type { Job } from './job.js'
import { ShardRouter } from './shard-router.js'

interface TestJob extends Job {
  readonly word: string
}

/** A router to two shards. The test ends or reroutes the jobs. */
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
  /** The jobs that were sent to each shard and have not ended. */
  const sent = new Map<Shard, TestJob[]>([
    [a, []],
    [b, []],
  ])
  const router = new ShardRouter<TestJob>({
    shards,
    clock: { epochMs: () => nowMs, monotonicMs: () => nowMs },
    after(delayMs, fire) {
      const timer = { atMs: nowMs + delayMs, fire }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    createWorker: (shard) => ({ send: (job) => sent.get(shard)?.push(job) }),
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
      router.send({
        word,
        partition,
        key: word,
        sinceMs: nowMs,
        refuse: () => refused.push(word),
        reject: () => {},
      })
    },
    /** Ends the first `count` jobs of the shard. */
    settle(shard: Shard, count = 1) {
      for (const job of (sent.get(shard) ?? []).splice(0, count)) router.settled(job)
    },
    reroute(shard: Shard, count = Infinity) {
      for (const job of (sent.get(shard) ?? []).splice(0, count)) router.rerouted(job)
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
  test('sends a job immediately to the holder of its partition', () => {
    const { a, at, hold, send } = rig()
    hold(1, a)
    send('one')
    send('two')
    expect(at(a)).toEqual(['one', 'two'])
  })

  test('sends nothing to a new holder while a job is in flight at the old one', () => {
    const { a, at, b, hold, send, settle } = rig()
    hold(1, a)
    send('one')
    hold(1, b)
    send('two')
    expect(at(b)).toEqual([])
    settle(a)
    expect(at(b)).toEqual(['two'])
  })

  test('does not delay jobs of other partitions meanwhile', () => {
    const { a, at, b, hold, send } = rig()
    hold(1, a)
    send('one')
    hold(1, b)
    hold(2, b)
    send('other', 2)
    expect(at(b)).toEqual(['other'])
  })

  test('sends rerouted jobs to the new holder, before later jobs', () => {
    const { a, at, b, reroute, hold, send } = rig()
    hold(1, a)
    send('one')
    send('two')
    reroute(a, 1)
    send('three')
    expect(at(b)).toEqual([])
    hold(1, b)
    reroute(a)
    expect(at(b)).toEqual(['one', 'two', 'three'])
  })

  test('sends a rerouted job to the same holder again after a pause, and refreshes the map', () => {
    const { a, at, reroute, hold, pass, refreshes, send } = rig()
    hold(1, a)
    send('one')
    reroute(a)
    expect(at(a)).toEqual([])
    expect(refreshes()).toBe(1)
    pass(50)
    expect(at(a)).toEqual(['one'])
  })

  test('refuses a job that has waited too long for a holder', () => {
    const { a, at, hold, pass, refused, send } = rig({ patienceMs: 200 })
    send('one')
    pass(100)
    send('two')
    pass(100)
    expect(refused).toEqual(['one'])
    hold(1, a)
    expect(at(a)).toEqual(['two'])
  })

  test('refuses a job that was rerouted for too long', () => {
    const { a, reroute, hold, pass, refused, send } = rig({ patienceMs: 200 })
    hold(1, a)
    send('one')
    for (let n = 0; n < 5; n += 1) {
      reroute(a)
      pass(50)
    }
    expect(refused).toEqual(['one'])
  })

  test('refuses more jobs than may wait', () => {
    const { refused, send } = rig({ waitingMax: 1 })
    send('one')
    send('two')
    expect(refused).toEqual(['two'])
  })

  test('refuses the waiting jobs when it is closed', () => {
    const { refused, router, send } = rig()
    send('one')
    router.close()
    expect(refused).toEqual(['one'])
  })

  test('ends the jobs of a partition in the order in which they were sent, each once, for any sequence of events', () => {
    const step = fc.oneof(
      fc.constant('send'),
      fc.constantFrom('settle a', 'settle b', 'reroute a', 'reroute b'),
      fc.constantFrom('hold a', 'hold b', 'no holder', 'pass'),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = rig({ patienceMs: Infinity, waitingMax: 1_000 })
        const { a, at, b, reroute, hold, pass, send, settle } = world
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
          if (what === 'reroute a') reroute(a)
          if (what === 'reroute b') reroute(b)
          if (what === 'hold a') hold(1, a)
          if (what === 'hold b') hold(1, b)
          if (what === 'no holder') hold(1, undefined)
          if (what === 'pass') pass(50)
          expect(at(a).length === 0 || at(b).length === 0).toBe(true)
        }
        hold(1, a)
        reroute(b)
        pass(50)
        while (at(a).length > 0) end(a)
        expect(ended).toEqual(Array.from({ length: count }, (_, n) => String(n + 1)))
      }),
    )
  })
})
