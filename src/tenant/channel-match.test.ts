import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileMatch, matchProblem, type MatchSubject } from './channel-match.js'
import type { ChannelRule } from './policy.js'

const pattern = (value: string): ChannelRule['match'] => ({ type: 'Pattern', value })
const user = (name: string, claims: Record<string, unknown> = {}): MatchSubject => ({
  user: name,
  anonymous: false,
  claims,
})
const guest = (clientId: string): MatchSubject => ({ user: `guest:${clientId}`, anonymous: true, claims: {} })

describe('matches', () => {
  test.each<[ChannelRule['match'], string, boolean]>([
    [{ type: 'Literal', value: 'general' }, 'general', true],
    [{ type: 'Literal', value: 'general' }, 'General', false],
    [{ type: 'Literal', value: 'general' }, 'general:x', false],
    [{ type: 'Prefix', value: 'room:' }, 'room:', true],
    [{ type: 'Prefix', value: 'room:' }, 'room:a:b', true],
    [{ type: 'Prefix', value: 'room:' }, 'room', false],
    [pattern('room:*'), 'room:a', true],
    [pattern('room:*'), 'room:', false],
    [pattern('room:*'), 'room', false],
    [pattern('room:*'), 'room:a:b', false],
    [pattern('room:*'), 'room:a:', false],
    [pattern('room:*'), 'rooms:a', false],
    [pattern('*'), 'a', true],
    [pattern('*'), 'a:b', false],
    [pattern('*:b:*'), 'a:b:c', true],
    [pattern('a::b'), 'a::b', true],
    [pattern('a:*:b'), 'a::b', false],
  ])('%j and "%s": %s', (match, channel, expected) => {
    expect(compileMatch(match).matches(channel, user('u1'))).toBe(expected)
    expect(compileMatch(match).matchesAnySubject(channel)).toBe(expected)
  })

  test.each<[string, MatchSubject, string, boolean]>([
    ['dm:{user}', user('u1'), 'dm:u1', true],
    ['dm:{user}', user('u1'), 'dm:u2', false],
    ['dm:{user}', user('u1'), 'dm:u11', false],
    ['dm:{user}', user(''), 'dm:', false],
    ['dm:{user}', user('a:b'), 'dm:a:b', false],
    ['dm:{user}:{user}', user('u1'), 'dm:u1:u1', true],
    ['dm:{user}', user('*'), 'dm:u1', false],
    ['dm:{user}', user('{user}'), 'dm:u1', false],
    ['team:{claims.team}', user('u1', { team: 'red' }), 'team:red', true],
    ['team:{claims.team}', user('u1', { team: 'red' }), 'team:blue', false],
    ['team:{claims.team}', user('u1', { team: ['blue', 'red'] }), 'team:red', true],
    ['team:{claims.team}', user('u1', { team: [] }), 'team:red', false],
    ['team:{claims.team}', user('u1', { team: 'a:b' }), 'team:a:b', false],
    ['team:{claims.team}', user('u1', { team: '' }), 'team:', false],
    ['team:{claims.team}', user('u1', { team: 7 }), 'team:7', true],
    ['team:{claims.team}', user('u1', { team: true }), 'team:true', true],
    ['team:{claims.team}', user('u1', { team: null }), 'team:null', false],
    ['team:{claims.team}', user('u1'), 'team:undefined', false],
    ['team:{claims.constructor}', user('u1'), 'team:function Object() { [native code] }', false],
    ['org:{claims.org.id}:*', user('u1', { org: { id: 9 } }), 'org:9:x', true],
  ])('fills "%s" for %j in "%s": %s', (value, subject, channel, expected) => {
    expect(compileMatch(pattern(value)).matches(channel, subject)).toBe(expected)
  })

  test.each<[string, MatchSubject, string, boolean]>([
    ['dm:{user}', guest('abc'), 'dm:guest:abc', true],
    ['dm:{user}', guest('abc'), 'dm:guest:abd', false],
    ['dm:{user}', guest('abc'), 'dm:abc', false],
    ['dm:{user}', guest('a:b'), 'dm:guest:a:b', false],
    ['dm:{user}', guest(''), 'dm:guest:', false],
    ['dm:{user}:inbox', guest('abc'), 'dm:guest:abc:inbox', true],
    ['dm:{user}', user('guest:abc'), 'dm:guest:abc', false],
    ['dm:{user}', { user: 'abc', anonymous: true, claims: {} }, 'dm:abc', false],
  ])('a guest fills two segments: "%s" for %j in "%s": %s', (value, subject, channel, expected) => {
    expect(compileMatch(pattern(value)).matches(channel, subject)).toBe(expected)
  })
})

describe('matchesAnySubject', () => {
  test.each([
    ['dm:{user}', 'dm:u1', true],
    ['dm:{user}', 'dm:guest', true],
    ['dm:{user}', 'dm:guest:abc', true],
    ['dm:{user}', 'dm:guest:', false],
    ['dm:{user}', 'dm:other:abc', false],
    ['dm:{user}', 'dm:', false],
    ['{user}:{user}', 'guest:a:guest:b', true],
    ['team:{claims.team}', 'team:red', true],
    ['team:{claims.team}', 'team:guest:red', false],
  ])('"%s" and "%s": %s', (value, channel, expected) => {
    expect(compileMatch(pattern(value)).matchesAnySubject(channel)).toBe(expected)
  })

  const part = fc.constantFrom('a', 'b', 'guest', '')
  const segment = fc.constantFrom('a', 'guest', '*', '{user}', '{claims.team}', '{claims.tags}')
  const subject = fc.record({
    user: fc.constantFrom('a', 'guest', 'guest:a', 'a:b', ''),
    anonymous: fc.boolean(),
    claims: fc.record({ team: part, tags: fc.array(part, { maxLength: 3 }) }),
  })

  test('covers every channel that `matches` covers for some subject', () => {
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 4 }),
        fc.array(part, { minLength: 1, maxLength: 6 }),
        subject,
        (segments, parts, matchSubject) => {
          const match = compileMatch(pattern(segments.join(':')))
          const channel = parts.join(':')
          return !match.matches(channel, matchSubject) || match.matchesAnySubject(channel)
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('a pattern with its variables replaced by values matches the same channels', () => {
    fc.assert(
      fc.property(
        fc.array(segment, { minLength: 1, maxLength: 4 }),
        fc.array(part, { minLength: 1, maxLength: 6 }),
        fc.constantFrom('a', 'b', 'guest'),
        fc.constantFrom('a', 'b'),
        (segments, parts, name, team) => {
          const matchSubject = user(name, { team, tags: team })
          const replaced = segments
            .map((text) => text.replace('{user}', name).replace(/\{claims\.\w+\}/, team))
            .join(':')
          const channel = parts.join(':')
          return (
            compileMatch(pattern(segments.join(':'))).matches(channel, matchSubject) ===
            compileMatch(pattern(replaced)).matches(channel, matchSubject)
          )
        },
      ),
    )
  })

  test('a hostile name does not make a pattern of stars slow', () => {
    const match = compileMatch(pattern(Array.from({ length: 16 }, () => '*').join(':')))
    const startMs = performance.now()
    for (let i = 0; i < 1000; i++) match.matchesAnySubject('a:'.repeat(127))
    expect(performance.now() - startMs).toBeLessThan(1000)
  })
})

describe('specificity', () => {
  test('ranks a literal above a longer prefix, a shorter prefix, a pattern with more literals, and one with fewer', () => {
    const ranked: ChannelRule['match'][] = [
      { type: 'Literal', value: 'a' },
      { type: 'Prefix', value: 'team:red' },
      { type: 'Prefix', value: 'team:' },
      pattern('team:red:{user}'),
      pattern('team:*:{user}'),
      pattern('*'),
    ]
    const specificities = ranked.map((match) => compileMatch(match).specificity)
    expect(specificities).toEqual(specificities.toSorted((a, b) => b - a))
    expect(new Set(specificities).size).toBe(ranked.length)
  })
})

describe('matchProblem', () => {
  test.each(['dm:{user}', '*', 'a:*:{claims.org.id}', 'a::b', '{claims.https-roles}'])(
    'accepts the pattern "%s"',
    (value) => {
      expect(matchProblem(pattern(value))).toBeUndefined()
    },
  )

  test.each<[ChannelRule['match'], string]>([
    [pattern(''), 'The value is empty'],
    [{ type: 'Prefix', value: '' }, 'The value is empty'],
    [pattern('team-*'), '"team-*" is not a valid segment'],
    [pattern('team:**'), '"**" is not a valid segment'],
    [pattern('team:{team}'), '"{team}" is not a valid segment'],
    [pattern('team:{claims.}'), '"{claims.}" is not a valid segment'],
    [pattern('team:{claims.a'), '"{claims.a" is not a valid segment'],
    [pattern('team:x{user}'), '"x{user}" is not a valid segment'],
    [pattern('team:{claims.a}{claims.b}'), 'is not a valid segment'],
    [pattern('$sys:*'), 'may not begin with "$"'],
    [pattern('a b:*'), 'U+0020'],
    [pattern(Array.from({ length: 17 }, () => '*').join(':')), '17 segments'],
    [{ type: 'Literal', value: 'dm:{user}' }, 'only in type Pattern'],
    [{ type: 'Prefix', value: 'dm:*' }, 'only in type Pattern'],
    [{ type: 'Literal', value: '#x' }, 'may not begin with "#"'],
  ])('reports what is wrong with %j', (match, words) => {
    expect(matchProblem(match)).toContain(words)
    expect(() => compileMatch(match)).toThrow(words)
  })
})
