import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ChatCredential } from './chat-credential.js'
import { ChatPlan } from './chat-plan.js'
import { ChatTenant } from './chat-tenant.js'

const apiVersion = 'parley.chat/v1alpha1'
const plan = (spec: unknown): unknown => ({ apiVersion, kind: 'ChatPlan', metadata: { name: 'free' }, spec })
const tenant = (spec: object): unknown => ({
  apiVersion,
  kind: 'ChatTenant',
  metadata: { name: 'acme' },
  spec: { planRef: { name: 'free' }, ...spec },
})
const credential = (spec: object): unknown => ({
  apiVersion,
  kind: 'ChatCredential',
  metadata: { name: 'bot' },
  spec: { tenantRef: { name: 'acme' }, ...spec },
})

/** `path: message` of each issue. */
function problems(schema: z.ZodType, value: unknown): string[] {
  return (
    schema
      .safeParse(value)
      .error?.issues.map((issue) => `${z.core.toDotPath(issue.path)}: ${issue.message}`) ?? []
  )
}

const rule = (fields: object): unknown =>
  tenant({ channels: [{ name: 'general', match: { type: 'Literal', value: 'general' }, ...fields }] })
const subjects = (...list: unknown[]): unknown =>
  rule({ grants: [{ operations: ['Publish'], subjects: list }] })
const auth = (fields: object): unknown => tenant({ auth: [{ name: 'key', ...fields }] })

describe('ChatPlan', () => {
  test('an empty spec is a plan with the documented defaults', () => {
    expect(ChatPlan.parse(plan({})).spec).toMatchObject({
      limits: {
        connections: { max: 1000, perUser: 20 },
        messages: { publishPerSecond: 100, maxBytes: 16_384 },
        retention: { historyTTL: '24h', presence: true },
      },
      enforcement: 'Enforce',
      preemption: 'Never',
      allowedNamespaces: { from: 'All' },
    })
  })

  test.each([-1, 1.5, '10', 2 ** 63, Number.NaN, null, [10]])('refuses %j connections', (max) => {
    expect(problems(ChatPlan, plan({ limits: { connections: { max } } }))[0]).toMatch(
      /^spec\.limits\.connections\.max: /,
    )
  })

  test.each<[object, string]>([
    [{ limits: { messages: { maxBytes: 65_537 } } }, 'spec.limits.messages.maxBytes: '],
    [
      { limits: { messages: { publishPerSecond: 10, publishBurst: 9 } } },
      'spec.limits.messages.publishBurst: publishBurst (9) is below publishPerSecond (10)',
    ],
    [{ limits: { channels: { nameMaxLength: 256 } } }, 'spec.limits.channels.nameMaxLength: '],
    [
      { limits: { retention: { historyTTL: '31d' } } },
      'spec.limits.retention.historyTTL: Write a duration such as',
    ],
    [
      { limits: { retention: { historyTTL: '721h' } } },
      'spec.limits.retention.historyTTL: Write a duration from "1s" to "720h".',
    ],
    [{ limit: {} }, 'spec: Unrecognized key: "limit"'],
    [
      { allowedNamespaces: { from: 'Selector' } },
      'spec.allowedNamespaces.selector: "from: Selector" needs a selector.',
    ],
    [
      {
        allowedNamespaces: {
          from: 'Selector',
          selector: { matchExpressions: [{ key: 'tier', operator: 'In' }] },
        },
      },
      'spec.allowedNamespaces.selector.matchExpressions[0].values: In needs at least one value.',
    ],
  ])('refuses %j and names the field', (spec, words) => {
    expect(problems(ChatPlan, plan(spec))).toEqual([expect.stringContaining(words)])
  })
})

describe('ChatTenant', () => {
  test('needs a plan and nothing else', () => {
    expect(ChatTenant.parse(tenant({})).spec).toMatchObject({
      auth: [],
      channels: [],
      allowedOrigins: [],
      suspend: false,
      deletionPolicy: 'Delete',
      purgeAfter: '24h',
    })
    expect(problems(ChatTenant, { ...Object(tenant({})), spec: {} })).toEqual([
      expect.stringContaining('spec.planRef'),
    ])
  })

  test('accepts what kubectl prints, with uid, managed fields and status', () => {
    const metadata = { name: 'acme', namespace: 'demo', uid: 'u-1', managedFields: [{}], generation: 2 }
    expect(problems(ChatTenant, { ...Object(tenant({})), metadata, status: { conditions: [] } })).toEqual([])
  })

  test('a quota leaves out what the plan decides', () => {
    expect(ChatTenant.parse(tenant({ quota: { connections: { max: 5 } } })).spec.quota).toEqual({
      connections: { max: 5 },
    })
  })

  test('claims have default names', () => {
    const parsed = ChatTenant.parse(auth({ type: 'SharedKey', keyRef: { name: 's', key: 'k' } }))
    expect(parsed.spec.auth[0]?.claims).toEqual({ user: 'sub', name: 'name', roles: 'roles', info: 'info' })
  })

  test.each<[string, unknown, string]>([
    ['a subject without keys', subjects({}), '.subjects[0]: Set at least one of users'],
    ['a guest with a role', subjects({ anonymous: true, roles: ['x'] }), '.anonymous: A guest has no token'],
    ['a guest by name', subjects({ users: ['guest:1'] }), '.users: No user name begins with "guest:"'],
    ['empty claims', subjects({ claims: {} }), '.claims: Set at least one claim.'],
    ['authenticated: false', subjects({ authenticated: false }), '.authenticated: '],
    ['no subjects', subjects(), '.subjects: '],
    [
      'no operations',
      rule({ grants: [{ operations: [], subjects: [{ authenticated: true }] }] }),
      '.operations: ',
    ],
    [
      'an unknown operation',
      rule({ grants: [{ operations: ['Moderate'], subjects: [{ authenticated: true }] }] }),
      '.operations[0]: ',
    ],
    ['history without a bound', rule({ history: { ttl: '1h' } }), 'spec.channels[0].history.size: '],
    [
      'two rules of one name',
      tenant({ channels: [0, 1].map(() => ({ name: 'a', match: { type: 'Literal', value: 'a' } })) }),
      'spec.channels[1].name: The name "a" is already used',
    ],
    [
      '65 rules',
      tenant({
        channels: Array.from({ length: 65 }, (_, i) => ({
          name: `r${i}`,
          match: { type: 'Literal', value: 'a' },
        })),
      }),
      'spec.channels: ',
    ],
    [
      'a name in capitals',
      { ...Object(tenant({})), metadata: { name: 'ACME' } },
      'metadata.name: Use lower-case',
    ],
    ['another version', { ...Object(tenant({})), apiVersion: 'parley.chat/v2' }, 'apiVersion: '],
    [
      'HS256 with a public key',
      auth({ type: 'PublicKey', publicKey: 'x', algorithms: ['HS256'] }),
      'spec.auth[0].algorithms: HS256 cannot be used with type PublicKey.',
    ],
    [
      'RS256 with a shared key',
      auth({ type: 'SharedKey', keyRef: { name: 's', key: 'k' }, algorithms: ['HS256', 'RS256'] }),
      'RS256 cannot be used with',
    ],
    [
      'the algorithm none',
      auth({ type: 'SharedKey', keyRef: { name: 's', key: 'k' }, algorithms: ['none'] }),
      'spec.auth[0].algorithms[0]: ',
    ],
    [
      'no key',
      auth({ type: 'SharedKey' }),
      'spec.auth[0].type: Type SharedKey needs exactly one of: keyRef, generate.',
    ],
    [
      'keys of another type',
      auth({ type: 'JWKS', jwks: { keys: [{ kty: 'RSA' }] }, publicKey: 'x' }),
      'spec.auth[0].publicKey: Type JWKS does not accept publicKey.',
    ],
    [
      'keys over http',
      auth({ type: 'JWKSURI', jwksURI: 'http://x.example/jwks' }),
      'spec.auth[0].jwksURI: A key set is fetched over https only.',
    ],
    [
      'a generated key that does not fit',
      auth({ type: 'PublicKey', generate: { algorithm: 'HS256' } }),
      'spec.auth[0].generate: HS256 cannot be used',
    ],
  ])('refuses %s', (_, value, words) => {
    expect(problems(ChatTenant, value)).toEqual([expect.stringContaining(words)])
  })
})

describe('ChatCredential', () => {
  test('needs a tenant and nothing else', () => {
    expect(ChatCredential.parse(credential({})).spec).toMatchObject({ role: 'Publisher', scopes: [] })
  })

  test('an imported key is not rotated', () => {
    const value = credential({ importSecretRef: { name: 's', key: 'k' }, rotation: {} })
    expect(problems(ChatCredential, value)).toEqual([
      'spec.rotation: An imported key cannot be rotated or stored in another Secret by the controller: its owner replaces it.',
    ])
  })
})
