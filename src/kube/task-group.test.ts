import { expect, test } from 'vitest'
import { ended, together } from './task-group.js'

test('the first that fails ends the others, and is what is thrown when all have ended', async () => {
  let done = false
  const patient = async (signal: AbortSignal) => {
    await ended(signal)
    done = true
  }
  const failing = async () => {
    throw new Error('the first')
  }
  await expect(together(new AbortController().signal, [patient, failing])).rejects.toThrow('the first')
  expect(done).toBe(true)
})

test('ends with its signal', async () => {
  const stop = new AbortController()
  const running = together(stop.signal, [ended, ended])
  stop.abort()
  await expect(running).resolves.toBeUndefined()
})
