import { expect, test } from 'vitest'
import { endingSentence, isAnswer, refusalOf, refusalSentence } from './error-text.js'

test('a refusal loses its code and keeps its sentence', () => {
  const refusal = refusalOf({ code: 103, message: 'PERMISSION_DENIED: No rule grants this' })
  expect(refusal.message).toBe('No rule grants this')
  expect(isAnswer(refusal)).toBe(true)
})

test('what is thrown and is no refusal still has words', () => {
  expect(refusalOf(new Error('broken')).message).toBe('broken')
  expect(refusalOf(undefined).message).not.toBe('')
  expect(isAnswer(refusalOf({ code: 1, message: 'timeout' }))).toBe(false)
})

test('a temporary refusal tells how long to wait, as exactly as the server did', () => {
  const said = { code: 111, message: 'QUOTA_EXCEEDED: 50/s of 50/s are used', temporary: true }
  expect(refusalSentence(refusalOf({ ...said, retry_after_ms: 2_100 }))).toBe(
    '50/s of 50/s are used. Try again in 3 s.',
  )
  expect(refusalSentence(refusalOf(said))).toBe('50/s of 50/s are used. Try again in a moment.')
  const named = { ...said, message: 'QUOTA_EXCEEDED: Too fast; try again in 2 s' }
  expect(refusalSentence(refusalOf(named))).toBe('Too fast; try again in 2 s.')
})

test('an ending has our words, and the server’s detail behind them', () => {
  expect(endingSentence(3503, 'force disconnect')).toBe('You were disconnected by an administrator.')
  expect(endingSentence(3504, 'connection limit: the user has 5 of 5')).toBe(
    'There are as many connections as the quota allows. The user has 5 of 5.',
  )
  expect(endingSentence(4999, 'closed for the night')).toBe('Closed for the night.')
})
