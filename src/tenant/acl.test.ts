import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChannelRules, type AclSubject } from './acl.js'
import { compileMatch } from './channel-match.js'
import { claimAt, claimTexts } from './claims.js'
import { operations, type ChannelRule, type Grant, type Operation, type Subject } from './policy.js'

const user = (name: string, facts: Partial<AclSubject> = {}): AclSubject => ({
  user: name,
  anonymous: false,
  roles: [],
  claims: {},
  ...facts,
})
const guest = (clientId: string, facts: Partial<AclSubject> = {}): AclSubject =>
  user(`guest:${clientId}`, { anonymous: true, ...facts })

function rule(name: string, match: ChannelRule['match'], options: Partial<ChannelRule> = {}): ChannelRule {
  return {
    name,
    match,
    grants: [],
    history: null,
    presence: false,
    joinLeave: false,
    sanitize: 'none',
    ...options,
  }
}
const literal = (value: string): ChannelRule['match'] => ({ type: 'Literal', value })
const prefix = (value: string): ChannelRule['match'] => ({ type: 'Prefix', value })
const pattern = (value: string): ChannelRule['match'] => ({ type: 'Pattern', value })
const allow = (granted: Operation[], ...subjects: Subject[]): Grant => ({
  effect: 'Allow',
  operations: granted,
  subjects,
})
const deny = (refused: Operation[], ...subjects: Subject[]): Grant => ({
  effect: 'Deny',
  operations: refused,
  subjects,
})

describe('decide', () => {
  test('refuses a channel that no rule covers', () => {
    expect(new ChannelRules([]).decide(user('u1'), 'Subscribe', 'general')).toEqual({
      allowed: false,
      reason: 'noRule',
      message: 'No channel rule of this tenant covers "general".',
    })
  })

  test('allows what a rule grants, and names the rule', () => {
    const rules = new ChannelRules([
      rule('general', literal('general'), { grants: [allow(['Subscribe'], { authenticated: true })] }),
    ])
    expect(rules.decide(user('u1'), 'Subscribe', 'general')).toEqual({ allowed: true, rule: 'general' })
    expect(rules.decide(user('u1'), 'Publish', 'general')).toEqual({
      allowed: false,
      rule: 'general',
      reason: 'noGrant',
      message: 'Rule "general" covers "general", but grants Publish to no one.',
    })
  })

  test('adds up the grants of all matching rules', () => {
    const rules = new ChannelRules([
      rule('one', literal('team:red'), { grants: [allow(['Subscribe'], { authenticated: true })] }),
      rule('all', prefix('team:'), { grants: [allow(['Publish'], { authenticated: true })] }),
    ])
    expect(rules.decide(user('u1'), 'Subscribe', 'team:red').allowed).toBe(true)
    expect(rules.decide(user('u1'), 'Publish', 'team:red')).toEqual({ allowed: true, rule: 'all' })
  })

  test('a Deny in the least specific rule overrides an Allow in the most specific one', () => {
    const rules = new ChannelRules([
      rule('one', literal('team:red'), { grants: [allow(['Publish'], { users: ['mallory'] })] }),
      rule('banned', pattern('*:*'), { grants: [deny(['Publish'], { users: ['mallory'] })] }),
    ])
    expect(rules.decide(user('mallory'), 'Publish', 'team:red')).toEqual({
      allowed: false,
      rule: 'banned',
      reason: 'denied',
      message:
        'Rule "banned" denies Publish to users with a user name that the rule lists, and a Deny overrides every Allow.',
    })
  })

  test('a Deny overrides an Allow within one rule, in any order', () => {
    const grants = [deny(['Publish'], { roles: ['muted'] }), allow(['Publish'], { authenticated: true })]
    for (const ordered of [grants, grants.toReversed()]) {
      const rules = new ChannelRules([rule('general', literal('general'), { grants: ordered })])
      expect(rules.decide(user('u1'), 'Publish', 'general').allowed).toBe(true)
      expect(rules.decide(user('u1', { roles: ['muted'] }), 'Publish', 'general').allowed).toBe(false)
    }
  })

  test('names the role that would help', () => {
    const rules = new ChannelRules([
      rule('news', literal('news'), {
        grants: [allow(['Publish'], { roles: ['admin'] }, { claims: { team: ['press'] } })],
      }),
    ])
    expect(rules.decide(user('u1'), 'Publish', 'news')).toMatchObject({
      reason: 'noGrant',
      message:
        'Rule "news" grants Publish on "news" only to users with role "admin", or users with a matching claim "team".',
    })
  })

  test('names a rule that grants the operation to someone, if there is one', () => {
    const rules = new ChannelRules([
      rule('a-settings', literal('news')),
      rule('b-readers', literal('news'), { grants: [allow(['Subscribe'], { roles: ['reader'] })] }),
    ])
    expect(rules.decide(user('u1'), 'Subscribe', 'news')).toMatchObject({
      rule: 'b-readers',
      reason: 'noGrant',
    })
  })

  test('explains a variable with another value, without naming the value', () => {
    const rules = new ChannelRules([
      rule('team', pattern('team:{claims.team}'), {
        grants: [allow(['Subscribe'], { authenticated: true })],
      }),
    ])
    expect(rules.decide(user('u1', { claims: { team: 'blue' } }), 'Subscribe', 'team:red')).toEqual({
      allowed: false,
      rule: 'team',
      reason: 'noGrant',
      message:
        'Rule "team" covers "team:red" only for users whose claim "team" matches the pattern "team:{claims.team}".',
    })
  })

  test('a guest matches only grants to guests', () => {
    const open = [allow(['Subscribe'], { anonymous: true })]
    const closed = [
      { authenticated: true },
      { users: ['guest:g1'] },
      { roles: ['admin'] },
      { claims: { team: ['red'] } },
      { anonymous: true, users: ['guest:g1'] },
      { anonymous: true, authenticated: true },
      { anonymous: true, claims: { team: ['red'] } },
      { anonymous: true, roles: ['admin'] },
      {},
    ] satisfies Subject[]
    const rules = new ChannelRules([
      rule('open', literal('lobby'), { grants: open }),
      rule('closed', literal('general'), { grants: [allow([...operations], ...closed)] }),
    ])
    const visitor = guest('g1', { roles: ['admin'], claims: { team: 'red' } })
    expect(rules.decide(visitor, 'Subscribe', 'lobby').allowed).toBe(true)
    expect(rules.decide(user('u1'), 'Subscribe', 'lobby').allowed).toBe(false)
    for (const operation of operations)
      expect(rules.decide(visitor, operation, 'general').allowed).toBe(false)
  })

  test('a guest has access to its own inbox and to no user’s', () => {
    const rules = new ChannelRules([
      rule('dm', pattern('dm:{user}'), {
        grants: [allow(['Subscribe'], { authenticated: true }, { anonymous: true })],
      }),
    ])
    expect(rules.decide(guest('g1'), 'Subscribe', 'dm:guest:g1').allowed).toBe(true)
    expect(rules.decide(guest('g1'), 'Subscribe', 'dm:g1').allowed).toBe(false)
    expect(rules.decide(user('guest:g1'), 'Subscribe', 'dm:guest:g1').allowed).toBe(false)
  })

  test('a subject without fields, or with empty fields, matches no one', () => {
    for (const subject of [
      {},
      { users: [] },
      { roles: [] },
      { claims: {} },
      { claims: { team: [] } },
    ] satisfies Subject[]) {
      const rules = new ChannelRules([
        rule('general', literal('general'), { grants: [allow(['Subscribe'], subject)] }),
      ])
      expect(rules.decide(user('u1', { claims: { team: 'red' } }), 'Subscribe', 'general').allowed).toBe(
        false,
      )
    }
  })

  test('an inherited property such as constructor is not a claim', () => {
    const rules = new ChannelRules([
      rule('general', literal('general'), {
        grants: [allow(['Subscribe'], { claims: { 'constructor.name': ['Object'] } })],
      }),
    ])
    expect(rules.decide(user('u1'), 'Subscribe', 'general').allowed).toBe(false)
  })
})

describe('settings', () => {
  const settingsRule = (name: string, match: ChannelRule['match']): ChannelRule =>
    rule(name, match, { presence: true })

  test('are taken entirely from the most specific rule', () => {
    const rules = new ChannelRules([
      rule('all', prefix('team:'), { presence: true, history: { size: 5, ttlMs: 1000 } }),
      rule('red', literal('team:red'), { joinLeave: true, durability: 'accepted', sanitize: 'stripMarkup' }),
    ])
    expect(rules.settings('team:red')).toEqual({
      rule: 'red',
      history: null,
      presence: false,
      joinLeave: true,
      durability: 'accepted',
      sanitize: 'stripMarkup',
    })
    expect(rules.settings('other')).toBeUndefined()
  })

  test('are taken by literal, then longest prefix, then pattern with most literal segments, then name', () => {
    const ranked = [
      settingsRule('z-literal', literal('team:red:x')),
      settingsRule('y-long', prefix('team:red:')),
      settingsRule('x-short', prefix('team:')),
      settingsRule('w-two', pattern('team:red:*')),
      settingsRule('a-one', pattern('team:*:*')),
      settingsRule('b-one', pattern('team:{user}:*')),
    ]
    for (let i = 0; i < ranked.length; i++) {
      expect(new ChannelRules(ranked.slice(i).toReversed()).settings('team:red:x')?.rule).toBe(
        ranked[i]?.name,
      )
    }
  })

  test('do not depend on the subject: a variable matches any value', () => {
    const rules = new ChannelRules([rule('dm', pattern('dm:{user}'), { history: { size: 9, ttlMs: 9 } })])
    expect(rules.settings('dm:u1')?.rule).toBe('dm')
    expect(rules.settings('dm:guest:g1')?.rule).toBe('dm')
    expect(rules.settings('dm:a:b')).toBeUndefined()
  })
})

// A second implementation of the rules, as simple as possible.
function naive(
  rules: readonly ChannelRule[],
  request: { subject: AclSubject; operation: Operation; channel: string },
): boolean {
  const grants = rules
    .filter((candidate) => compileMatch(candidate.match).matches(request.channel, request.subject))
    .flatMap((candidate) => candidate.grants)
    .filter((grant) => grant.operations.includes(request.operation))
    .filter((grant) => grant.subjects.some((spec) => naiveSubject(spec, request.subject)))
  return grants.length > 0 && grants.every((grant) => grant.effect === 'Allow')
}

function naiveSubject(spec: Subject, subject: AclSubject): boolean {
  const keys = Object.keys(spec)
  if (subject.anonymous) return keys.length === 1 && keys[0] === 'anonymous'
  return (
    keys.length > 0 &&
    keys.every((key) => {
      if (key === 'users') return spec.users?.includes(subject.user)
      if (key === 'roles') return spec.roles?.some((role) => subject.roles.includes(role))
      if (key === 'claims') {
        return Object.entries(spec.claims ?? {}).every(([name, values]) =>
          claimTexts(claimAt(subject.claims, name)).some((text) => values.includes(text)),
        )
      }
      return key === 'authenticated'
    })
  )
}

const word = fc.constantFrom('a', 'b', 'guest')
const anyMatch: fc.Arbitrary<ChannelRule['match']> = fc.oneof(
  fc.constantFrom('a', 'a:b', 'b:guest:a').map(literal),
  fc.constantFrom('a', 'a:', 'b:g').map(prefix),
  fc.constantFrom('*', 'a:*', '*:*', 'a:{user}', '*:{claims.team}', '{user}').map(pattern),
)
const anySubject: fc.Arbitrary<Subject> = fc.record(
  {
    users: fc.array(fc.constantFrom('a', 'b', 'guest:a'), { maxLength: 2 }),
    roles: fc.array(word, { maxLength: 2 }),
    claims: fc.dictionary(fc.constant('team'), fc.array(word, { maxLength: 2 }), { minKeys: 1 }),
    authenticated: fc.constant(true as const),
    anonymous: fc.constant(true as const),
  },
  { requiredKeys: [] },
)
const anyGrant: fc.Arbitrary<Grant> = fc.record({
  effect: fc.constantFrom('Allow', 'Allow', 'Deny'),
  operations: fc.subarray([...operations], { minLength: 1 }),
  subjects: fc.array(anySubject, { maxLength: 3 }),
})
const anyRules = fc
  .array(fc.record({ match: anyMatch, grants: fc.array(anyGrant, { maxLength: 3 }) }), { maxLength: 6 })
  .map((drafts) => drafts.map(({ match, grants }, i) => rule(`r${i}`, match, { grants })))
const anyClient: fc.Arbitrary<AclSubject> = fc
  .record({
    name: fc.constantFrom('a', 'b'),
    anonymous: fc.boolean(),
    roles: fc.array(word, { maxLength: 2 }),
    team: fc.oneof(word, fc.array(word)),
  })
  .map(({ name, anonymous, roles, team }) => (anonymous ? guest : user)(name, { roles, claims: { team } }))
const anyChannel = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join(':'))

test('decides as the simple implementation does, in any order of the rules', () => {
  fc.assert(
    fc.property(
      anyRules,
      anyClient,
      fc.constantFrom(...operations),
      anyChannel,
      (rules, subject, operation, channel) => {
        const expected = naive(rules, { subject, operation, channel })
        for (const ordered of [rules, rules.toReversed()]) {
          const decision = new ChannelRules(ordered).decide(subject, operation, channel)
          if (decision.allowed !== expected) return false
        }
        return true
      },
    ),
    { numRuns: 2000 },
  )
})

test('a refusal never reveals users or claim values of the rules', () => {
  const rules = new ChannelRules([
    rule('secret', literal('x'), {
      grants: [allow(['Publish'], { users: ['alice@corp.example'], claims: { team: ['layoffs'] } })],
    }),
    rule('ban', literal('x'), {
      grants: [deny(['Subscribe'], { users: ['bob'], claims: { team: ['layoffs'] } }, { users: ['u1'] })],
    }),
  ])
  for (const operation of operations) {
    expect(JSON.stringify(rules.decide(user('u1'), operation, 'x'))).not.toMatch(/alice|layoffs|bob/)
  }
})
