import { expect, test } from 'vitest'
import type { Job } from './job.js'
import { outOfOrder, takePartitions } from './ordered-worker.js'

const job = (key: string, partition = 1): Job => ({
  key,
  partition,
  sinceMs: 0,
  refuse: () => {},
  reject: () => {},
})

test('the jobs of a rerouted partition are taken out of a queue, in order', () => {
  const queue = [job('a', 1), job('b', 2), job('c', 1), job('d', 3)]
  expect(takePartitions(queue, new Set([1, 3])).map(({ key }) => key)).toEqual(['a', 'c', 'd'])
  expect(queue.map(({ key }) => key)).toEqual(['b'])
})

test('a job is out of order when a later job with the same key was done', () => {
  const [a1, b1, a2, b2] = [job('a'), job('b'), job('a'), job('b')]
  const late = outOfOrder([
    { job: a1, done: false },
    { job: b1, done: true },
    { job: a2, done: true },
    { job: b2, done: false },
  ])
  expect([...late]).toEqual([a1])
})
