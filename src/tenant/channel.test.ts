import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CommandError } from '../errors.js'
import { parseChannelName } from './channel.js'

function refusal(text: string, maxLength = 255): CommandError {
  try {
    parseChannelName(text, { maxLength })
  } catch (error) {
    if (error instanceof CommandError) return error
    throw error
  }
  throw new Error(`"${text}" was accepted`)
}

describe('parseChannelName', () => {
  test.each([
    'general',
    'team:red',
    'dm:guest:abc',
    'a',
    'a::b',
    ':',
    'Ärger',
    '日本語',
    '👩‍👩‍👧',
    'می‌خواهم',
    '..',
    '[x]?',
    'x$#',
    '0',
  ])('accepts %s', (name) => {
    expect(parseChannelName(name, { maxLength: 255 })).toBe(name)
  })

  test.each([
    ['nothing', ''],
    ['a space', 'a b'],
    ['a tab', 'a\tb'],
    ['CRLF', 'a\r\nSET x'],
    ['NUL', 'a\0'],
    ['DEL', 'a\x7F'],
    ['a C1 control', 'a\u0085'],
    ['another C1 control', 'a\u009B'],
    ['a no-break space', 'a\u00A0b'],
    ['an ideographic space', 'a\u3000b'],
    ['a zero-width space', 'a\u200Bb'],
    ['a byte-order mark', '\uFEFFa'],
    ['a line separator', 'a\u2028b'],
    ['a paragraph separator', 'a\u2029b'],
    ['a right-to-left override', 'a\u202Eb'],
    ['a bidi isolate', 'a\u2066b'],
    ['an Arabic letter mark', 'a\u061Cb'],
    ['a hash tag', '{slot}'],
    ['a closing brace', 'a}'],
    ['a star', 'team:*'],
    ['a lone high surrogate', 'a\uD800'],
    ['a lone low surrogate', '\uDC00a'],
    ['a leading $', '$system'],
    ['a leading #', '#general'],
    ['a decomposed form', 'Ärger'.normalize('NFD')],
    ['a compatibility form of Å', '\u212B'],
  ])('refuses %s', (_, name) => {
    expect(refusal(name).code).toBe('INVALID_CHANNEL')
  })

  test('counts bytes, not characters', () => {
    expect(parseChannelName('éé', { maxLength: 4 })).toBe('éé')
    expect(refusal('ééé', 5).message).toBe('The channel name has 6 bytes; at most 5 are allowed.')
  })

  test('never accepts more than 255 bytes, even if the plan allows more', () => {
    expect(refusal('x'.repeat(256), 10_000).message).toContain('256 bytes')
    expect(refusal('x'.repeat(1_000_000), 10_000_000).message.length).toBeLessThan(100)
  })

  test('identifies the bad character without printing it', () => {
    expect(refusal('ab\u202Ecd').message).toContain('U+202E at position 3')
    expect(refusal('a\x1B[31m').message).not.toContain('\x1B')
  })

  test('an accepted name is short, well-formed, normalised and visible throughout', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 40 }),
        fc.integer({ min: 1, max: 300 }),
        (text, maxLength) => {
          let name: string
          try {
            name = parseChannelName(text, { maxLength })
          } catch (error) {
            return error instanceof CommandError && error.code === 'INVALID_CHANNEL'
          }
          return (
            name === text &&
            Buffer.from(name).toString() === name &&
            Buffer.byteLength(name) <= maxLength &&
            name.normalize() === name &&
            !/[\s{}*]|^[$#]|^$/.test(name)
          )
        },
      ),
    )
  })
})
