import { expect, test } from 'vitest'
import { BatchRunner } from './batch-runner.js'

/** A runner whose batches take one item each, and end when the test ends them. */
function open(space = () => Promise.resolve()) {
  const waiting: string[] = []
  const taken: string[] = []
  const failures: unknown[] = []
  const ends: { resolve: () => void; reject: (error: unknown) => void }[] = []
  const running = new BatchRunner({
    waiting: () => waiting.length,
    runBatch: () => {
      taken.push(...waiting.splice(0, 1))
      return new Promise<void>((resolve, reject) => void ends.push({ resolve, reject }))
    },
    onError: (error) => void failures.push(error, ...waiting.splice(0)),
    spacing: space,
  })
  const begin = (job: string): void => {
    waiting.push(job)
    running.start()
  }
  return { begin, ends, failures, idle: () => running.idle(), taken }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('the first batch starts at the end of the turn, and the next one when it has ended', async () => {
  const { begin, ends, taken } = open()
  begin('a')
  begin('b')
  expect(taken).toEqual([])
  await nextTurn()
  expect(taken).toEqual(['a'])
  begin('c')
  await nextTurn()
  expect(taken).toEqual(['a'])
  ends[0]?.resolve()
  await nextTurn()
  expect(taken).toEqual(['a', 'b'])
  ends[1]?.resolve()
  await nextTurn()
  expect(taken).toEqual(['a', 'b', 'c'])
})

test('after a batch throws, the waiting items are answered and later items run', async () => {
  const { begin, ends, failures, taken } = open()
  begin('a')
  begin('b')
  await nextTurn()
  const bug = new Error('a bug')
  ends[0]?.reject(bug)
  await nextTurn()
  expect(failures).toEqual([bug, 'b'])
  begin('c')
  await nextTurn()
  expect(taken).toEqual(['a', 'c'])
})

test('an item that arrives while the last batch ends is run', async () => {
  const { begin, ends, taken } = open()
  begin('a')
  await nextTurn()
  ends[0]?.resolve()
  // The item arrives after the batch and before the runner checks for waiting items.
  queueMicrotask(() => begin('b'))
  await nextTurn()
  await nextTurn()
  expect(taken).toEqual(['a', 'b'])
})

test('when several items wait, the next batch starts after a pause', async () => {
  let spaced: (() => void) | undefined
  const { begin, ends, taken } = open(() => new Promise((resolve) => (spaced = resolve)))
  begin('a')
  begin('b')
  await nextTurn()
  ends[0]?.resolve()
  await nextTurn()
  begin('c')
  await nextTurn()
  expect(taken).toEqual(['a'])
  spaced?.()
  await nextTurn()
  expect(taken).toEqual(['a', 'b'])
})

test('an item that arrives alone never waits, even right after another', async () => {
  const { begin, ends, taken } = open(() => new Promise(() => {}))
  for (const [index, job] of ['a', 'b', 'c'].entries()) {
    begin(job)
    await nextTurn()
    ends[index]?.resolve()
    await nextTurn()
  }
  expect(taken).toEqual(['a', 'b', 'c'])
})

test('idle() resolves when all items have run, including those that arrived meanwhile', async () => {
  const { begin, ends, idle, taken } = open()
  await idle()
  begin('a')
  let isIdle = false
  const ended = idle().then(() => (isIdle = true))
  await nextTurn()
  begin('b')
  ends[0]?.resolve()
  await nextTurn()
  expect([taken, isIdle]).toEqual([['a', 'b'], false])
  ends[1]?.resolve()
  await ended
})
