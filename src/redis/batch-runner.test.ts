import { expect, test } from 'vitest'
import { Rounds } from './batch-runner.js'

/** Rounds that take one job each, and end when told to. */
function rounds(space = () => Promise.resolve()) {
  const waiting: string[] = []
  const taken: string[] = []
  const failures: unknown[] = []
  const ends: { resolve: () => void; reject: (error: unknown) => void }[] = []
  const running = new Rounds({
    waiting: () => waiting.length,
    round: () => {
      taken.push(...waiting.splice(0, 1))
      return new Promise<void>((resolve, reject) => void ends.push({ resolve, reject }))
    },
    failed: (error) => void failures.push(error, ...waiting.splice(0)),
    space,
  })
  const begin = (job: string): void => {
    waiting.push(job)
    running.begin()
  }
  return { begin, ends, failures, idle: () => running.idle(), taken }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('the first round waits for this turn’s end, the next for the one before', async () => {
  const { begin, ends, taken } = rounds()
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

test('a round that throws answers those that wait, and the next begins anew', async () => {
  const { begin, ends, failures, taken } = rounds()
  begin('a')
  begin('b')
  await nextTurn()
  const fault = new Error('a fault')
  ends[0]?.reject(fault)
  await nextTurn()
  expect(failures).toEqual([fault, 'b'])
  begin('c')
  await nextTurn()
  expect(taken).toEqual(['a', 'c'])
})

test('what comes while the last round ends is not forgotten', async () => {
  const { begin, ends, taken } = rounds()
  begin('a')
  await nextTurn()
  ends[0]?.resolve()
  // After the round, before it is known that none is left.
  queueMicrotask(() => begin('b'))
  await nextTurn()
  await nextTurn()
  expect(taken).toEqual(['a', 'b'])
})

test('where several wait, the next round lets some time pass', async () => {
  let spaced: (() => void) | undefined
  const { begin, ends, taken } = rounds(() => new Promise((resolve) => (spaced = resolve)))
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

test('who comes alone never waits, however soon after another', async () => {
  const { begin, ends, taken } = rounds(() => new Promise(() => {}))
  for (const [index, job] of ['a', 'b', 'c'].entries()) {
    begin(job)
    await nextTurn()
    ends[index]?.resolve()
    await nextTurn()
  }
  expect(taken).toEqual(['a', 'b', 'c'])
})

test('idle when what waited is done with, also what came meanwhile', async () => {
  const { begin, ends, idle, taken } = rounds()
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
