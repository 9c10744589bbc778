import { expect, test } from 'vitest'
import { whenAborted, runTaskGroup } from './task-group.js'

test('the first failure aborts the other tasks and is thrown when all have ended', async () => {
  let done = false
  const patient = async (signal: AbortSignal) => {
    await whenAborted(signal)
    done = true
  }
  const failing = async () => {
    throw new Error('the first')
  }
  await expect(runTaskGroup(new AbortController().signal, [patient, failing])).rejects.toThrow('the first')
  expect(done).toBe(true)
})

test('a task group ends with its signal', async () => {
  const stop = new AbortController()
  const running = runTaskGroup(stop.signal, [whenAborted, whenAborted])
  stop.abort()
  await expect(running).resolves.toBeUndefined()
})
