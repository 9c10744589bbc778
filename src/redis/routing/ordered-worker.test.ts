import { expect, test, vi } from 'vitest'
import { RedisUnavailableError, type LiveRedis, type RedisLink } from '../link.js'
import type { Job } from './job.js'
import { OrderedWorker, outOfOrder, takePartitions, type WaitPolicy } from './ordered-worker.js'

class TestWorker extends OrderedWorker<Job> {
  readonly batches: string[][] = []

  protected override batchLength(queue: readonly Job[]): number {
    return Math.min(queue.length, 2)
  }

  protected override async runBatch(_live: LiveRedis, batch: readonly Job[]): Promise<void> {
    this.batches.push(batch.map(({ key }) => key))
    for (const one of batch) this.settle(one)
  }
}

/** A worker whose link the test opens. A wait for the link fails immediately and advances the clock. */
function open(waiting: WaitPolicy, queueMax = 100) {
  let current: LiveRedis | undefined
  let nowMs = 0
  let waits = 0
  const listeners: ((live: LiveRedis) => void)[] = []
  const refused: string[] = []
  const rerouted: string[] = []
  const retired = new AbortController()
  const link: RedisLink = {
    get current() {
      return current
    },
    unavailableReason: 'Redis is unavailable',
    async ready(waitMs) {
      waits += 1
      nowMs += waitMs
      throw new RedisUnavailableError('none')
    },
    onOpen: (listener) => void listeners.push(listener),
  }
  const worker = new TestWorker({
    link,
    clock: { epochMs: () => nowMs, monotonicMs: () => nowMs },
    retired: retired.signal,
    report: { settled: () => {}, rerouted: ({ key }) => void rerouted.push(key) },
    waiting,
    queueMax,
    spacingMs: 0,
  })
  return {
    batches: worker.batches,
    refused,
    rerouted,
    retire: () => retired.abort(),
    waits: () => waits,
    send: (key: string) =>
      worker.send({
        key,
        partition: 1,
        sinceMs: nowMs,
        refuse: () => void refused.push(key),
        reject: () => {},
      }),
    openLink: () => {
      const live = {} as LiveRedis
      current = live
      for (const listener of listeners) listener(live)
    },
  }
}

test('jobs are executed in batches, in order', async () => {
  const { batches, openLink, send } = open({ kind: 'refuseLate', patienceMs: 1_000 })
  openLink()
  for (const key of ['a', 'b', 'c']) send(key)
  await vi.waitFor(() => expect(batches).toEqual([['a', 'b'], ['c']]))
})

test('`refuseLate` lets each job wait for a connection', async () => {
  const { refused, send, waits } = open({ kind: 'refuseLate', patienceMs: 1_000 })
  send('a')
  await vi.waitFor(() => expect(refused).toEqual(['a']))
  send('b')
  await vi.waitFor(() => expect(refused).toEqual(['a', 'b']))
  expect(waits()).toBe(2)
})

test('after one failed wait `failFast` refuses jobs immediately, until the link opens', async () => {
  const { batches, openLink, refused, send, waits } = open({ kind: 'failFast', patienceMs: 1_000 })
  send('a')
  await vi.waitFor(() => expect(refused).toEqual(['a']))
  send('b')
  await vi.waitFor(() => expect(refused).toEqual(['a', 'b']))
  expect(waits()).toBe(1)
  openLink()
  send('c')
  await vi.waitFor(() => expect(batches).toEqual([['c']]))
})

test('`keepNewest` drops the oldest job of a full queue, and executes the others when the link opens', async () => {
  const { batches, openLink, refused, send, waits } = open({ kind: 'keepNewest' }, 2)
  for (const key of ['a', 'b', 'c']) send(key)
  expect(refused).toEqual(['a'])
  openLink()
  await vi.waitFor(() => expect(batches).toEqual([['b', 'c']]))
  expect(waits()).toBe(0)
})

test('a retired shard returns its jobs, including those that wait for the link to open', async () => {
  const { rerouted, retire, send } = open({ kind: 'keepNewest' })
  for (const key of ['a', 'b']) send(key)
  await new Promise((resolve) => setImmediate(resolve))
  retire()
  await vi.waitFor(() => expect(rerouted).toEqual(['a', 'b']))
})

const job = (key: string, partition = 1): Job => ({
  key,
  partition,
  sinceMs: 0,
  refuse: () => {},
  reject: () => {},
})

test('takePartitions() removes the jobs of the given partitions from a queue, in order', () => {
  const queue = [job('a', 1), job('b', 2), job('c', 1), job('d', 3)]
  expect(takePartitions(queue, new Set([1, 3])).map(({ key }) => key)).toEqual(['a', 'c', 'd'])
  expect(queue.map(({ key }) => key)).toEqual(['b'])
})

test('a job is out of order when a later job with the same key was executed', () => {
  const [a1, b1, a2, b2] = [job('a'), job('b'), job('a'), job('b')]
  const late = outOfOrder([
    { job: a1, done: false },
    { job: b1, done: true },
    { job: a2, done: true },
    { job: b2, done: false },
  ])
  expect([...late]).toEqual([a1])
})
