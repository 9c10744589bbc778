import fc from 'fast-check'
import { expect, test } from 'vitest'
import { globMatches } from './glob.js'

test.each<[string, string, boolean]>([
  ['*', '', true],
  ['', '', true],
  ['', 'a', false],
  ['room:*', 'room:1', true],
  ['room:*', 'rooms', false],
  ['*:1', 'room:1', true],
  ['*:1', 'room:12', false],
  ['r?om', 'room', true],
  ['r?om', 'rom', false],
  ['a*b*c', 'a--b--bc', true],
  ['a*b*c', 'a--c--b', false],
  ['a.c', 'abc', false],
  ['[a]', '[a]', true],
])('%j and %j: %s', (pattern, text, expected) => {
  expect(globMatches(pattern, text)).toBe(expected)
})

test('agrees with an equivalent regular expression', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', ':'), maxLength: 12 })
  const patterns = fc.string({ unit: fc.constantFrom('a', 'b', ':', '*', '?'), maxLength: 8 })
  fc.assert(
    fc.property(patterns, letters, (pattern, text) => {
      const regex = new RegExp(`^${pattern.replaceAll('*', '.*').replaceAll('?', '.')}$`)
      expect(globMatches(pattern, text)).toBe(regex.test(text))
    }),
  )
})

test('is fast for a pattern that makes backtracking matchers slow', () => {
  const pattern = '*a'.repeat(127)
  // A backtracking matcher takes exponential time here.
  expect(globMatches(pattern, `${'a'.repeat(126)}${'b'.repeat(129)}`)).toBe(false)
})
