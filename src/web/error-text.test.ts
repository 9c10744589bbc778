import { expect, test } from 'vitest'
import { disconnectText, isServerRefusal, parseRefusal, refusalText } from './error-text.js'

test('a refusal keeps its message without the error code', () => {
  const refusal = parseRefusal({ code: 103, message: 'PERMISSION_DENIED: No rule grants this' })
  expect(refusal.message).toBe('No rule grants this')
  expect(isServerRefusal(refusal)).toBe(true)
})

test('an error that is no refusal still has a message', () => {
  expect(parseRefusal(new Error('broken')).message).toBe('broken')
  expect(parseRefusal(undefined).message).not.toBe('')
  expect(isServerRefusal(parseRefusal({ code: 1, message: 'timeout' }))).toBe(false)
})

test('a temporary refusal says how long to wait, as exactly as the server does', () => {
  const said = { code: 111, message: 'QUOTA_EXCEEDED: 50/s of 50/s are used', temporary: true }
  expect(refusalText(parseRefusal({ ...said, retry_after_ms: 2_100 }))).toBe(
    '50/s of 50/s are used. Try again in 3 s.',
  )
  expect(refusalText(parseRefusal(said))).toBe('50/s of 50/s are used. Try again in a moment.')
  const named = { ...said, message: 'QUOTA_EXCEEDED: Too fast; try again in 2 s' }
  expect(refusalText(parseRefusal(named))).toBe('Too fast; try again in 2 s.')
})

test('a disconnect has a text for its code, followed by the detail of the server', () => {
  expect(disconnectText(3503, 'force disconnect')).toBe('You were disconnected by an administrator.')
  expect(disconnectText(3504, 'connection limit: the user has 5 of 5')).toBe(
    'The limit on connections is reached. The user has 5 of 5.',
  )
  expect(disconnectText(4999, 'closed for the night')).toBe('Closed for the night.')
})
