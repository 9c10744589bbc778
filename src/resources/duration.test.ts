import { expect, test } from 'vitest'
import { parseDuration } from './duration.js'

test.each([
  ['10m', 600_000],
  ['24h', 86_400_000],
  ['1h30m', 5_400_000],
  ['1m500ms', 60_500],
  ['0s', 0],
  ['90s', 90_000],
])('%s is %d ms', (text, expectedMs) => {
  expect(parseDuration(text)).toBe(expectedMs)
})

test.each([
  '',
  '10',
  'm',
  '1d',
  '-1s',
  '1.5h',
  ' 1s',
  '1s ',
  '1 s',
  '1S',
  'PT1H',
  '9999999999h',
  '1h30',
  '１s',
])('"%s" is not a duration', (text) => {
  expect(parseDuration(text)).toBeUndefined()
})

test('a long text is not slow to parse', () => {
  const startMs = performance.now()
  parseDuration(`${'1s'.repeat(50_000)}x`)
  expect(performance.now() - startMs).toBeLessThan(500)
})
