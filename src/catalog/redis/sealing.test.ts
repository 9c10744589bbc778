import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../errors.js'
import { SealError, SealingKeys } from './sealing.js'

const keyA = Buffer.alloc(32, 1).toString('base64')
const keyB = Buffer.alloc(32, 2).toString('base64')
const place = { tenantId: 'id-1', path: 'issuers[0].key.secret' }

function keysOf(...lines: string[]): SealingKeys {
  return SealingKeys.parse(lines.join('\n'), 'sealing.keys')
}

function problemsOf(...lines: string[]): readonly string[] {
  try {
    keysOf(...lines)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

function reasonOf(open: () => string): string {
  try {
    open()
  } catch (error) {
    if (error instanceof SealError) return error.reason
    throw error
  }
  return 'opened'
}

describe('the key file', () => {
  test('has one key a line; comments, empty lines and Windows line ends do not count', () => {
    expect(keysOf('# made in May', '', `a:${keyA}\r`, `b: ${keyB} `).keyId).toBe('a')
  })

  test('may leave out the padding', () => {
    expect(problemsOf(`a:${keyA.replace('=', '')}`)).toEqual([])
  })

  test.each([
    [
      [],
      'Sealing key file "sealing.keys": there is no key in it. One line is "id:key", the key made by: openssl rand -base64 32',
    ],
    [
      [keyA],
      'Sealing key file "sealing.keys", line 1: it must be "id:key"; an id has 1 to 40 letters, digits, dots, underscores and hyphens.',
    ],
    [[`a:${keyA}`, `a:${keyB}`], 'Sealing key file "sealing.keys", line 2: there is a key "a" already.'],
    [['', 'a:not*base64'], 'Sealing key file "sealing.keys", line 2: key "a" is not base64.'],
    [
      ['a:c2hvcnQ='],
      'Sealing key file "sealing.keys", line 1: key "a" has 5 bytes, and 32 are needed: openssl rand -base64 32.',
    ],
  ])('%j is refused with a sentence', (lines, sentence) => {
    expect(problemsOf(...lines)).toEqual([sentence])
  })

  test('tells all that is wrong, and nothing of any key', () => {
    const long = Buffer.alloc(48, 3).toString('base64')
    const problems = problemsOf(keyA, `b:${long}`, `c d:${keyB}`)
    expect(problems).toHaveLength(3)
    for (const key of [keyA, keyB, long]) expect(problems.join()).not.toContain(key.slice(0, 8))
  })
})

describe('a seal', () => {
  test('opens where it was made for, whatever was sealed', () => {
    const keys = keysOf(`a:${keyA}`)
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.string(), (secret, tenantId, path) => {
        const sealed = keys.seal(secret, { tenantId, path })
        expect(keys.open(sealed, { tenantId, path })).toBe(secret)
      }),
    )
  })

  test('is another one each time', () => {
    const keys = keysOf(`a:${keyA}`)
    expect(keys.seal('s', place)).not.toBe(keys.seal('s', place))
  })

  test.each([
    ['another tenant', { ...place, tenantId: 'id-2' }],
    ['another field', { ...place, path: 'issuers[1].key.secret' }],
  ])('does not open for %s', (_, other) => {
    const keys = keysOf(`a:${keyA}`)
    expect(reasonOf(() => keys.open(keys.seal('s', place), other))).toBe('DamagedSeal')
  })

  test('does not open when any character of it was changed', () => {
    const keys = keysOf(`a:${keyA}`)
    const sealed = keys.seal('secret', place)
    const body = sealed.lastIndexOf(':') + 1
    for (let index = body; index < sealed.length; index += 1) {
      const other = sealed[index] === 'A' ? 'B' : 'A'
      const changed = sealed.slice(0, index) + other + sealed.slice(index + 1)
      // The last character holds bits that base64 passes over.
      if (Buffer.from(changed.slice(body), 'base64').equals(Buffer.from(sealed.slice(body), 'base64')))
        continue
      expect(reasonOf(() => keys.open(changed, place))).toBe('DamagedSeal')
    }
  })

  test.each(['', 'c2VjcmV0', 'sealed:2:a:AAAA', 'sealed:1::AAAA'])('is not %j', (text) => {
    expect(reasonOf(() => keysOf(`a:${keyA}`).open(text, place))).toBe('NotSealed')
  })

  test.each(['sealed:1:a:AAAA', 'sealed:1:a:A'])('cannot be as short as %j', (text) => {
    expect(reasonOf(() => keysOf(`a:${keyA}`).open(text, place))).toBe('DamagedSeal')
  })
})

describe('rotation', () => {
  test('the first key seals, all open', () => {
    const before = keysOf(`a:${keyA}`)
    const during = keysOf(`b:${keyB}`, `a:${keyA}`)
    expect(during.open(before.seal('s', place), place)).toBe('s')
    expect(during.seal('s', place)).toMatch(/^sealed:1:b:/)
  })

  test('a key that is gone is named, and neither secret nor key appears', () => {
    const sealed = keysOf(`old:${keyA}`).seal('very secret', place)
    try {
      keysOf(`new:${keyB}`).open(sealed, place)
      expect.unreachable()
    } catch (error) {
      expect(String(error)).toBe(
        'SealError: issuers[0].key.secret is sealed with key "old", and the sealing key file has only new',
      )
    }
  })

  test('another key under the same id opens nothing', () => {
    const sealed = keysOf(`a:${keyA}`).seal('s', place)
    expect(reasonOf(() => keysOf(`a:${keyB}`).open(sealed, place))).toBe('DamagedSeal')
  })
})
