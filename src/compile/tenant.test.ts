import { describe, expect, test } from 'vitest'
import { compileTenant, tenantIdFromName } from './tenant.js'
import { planOf, policyOf, problemsOf, tenantOf } from './compile.testing.js'
import { TenantPolicy } from '../tenant/policy.js'

const rule = (fields: object): object => ({
  channels: [{ name: 'general', match: { type: 'Literal', value: 'general' }, ...fields }],
})

describe('compileTenant', () => {
  test('a minimal tenant gets the limits of the plan and grants nothing', () => {
    const policy = policyOf({})
    expect(TenantPolicy.parse(policy)).toEqual(policy)
    expect(policy).toMatchObject({
      tenantId: 't1',
      namespace: 'demo',
      name: 'acme',
      suspended: false,
      enforcement: 'Enforce',
      preemption: 'Never',
      limits: {
        connections: { max: 1000 },
        messages: { publishPerSecond: 100, publishBurst: 100 },
        retention: { historyTtlMs: 86_400_000 },
      },
      allowedOrigins: [],
      issuers: [],
      channels: [],
    })
  })

  test('survives a round trip through JSON', () => {
    const policy = policyOf({ ...rule({ history: { size: 5 } }), displayName: 'Acme' })
    expect(TenantPolicy.parse(JSON.parse(JSON.stringify(policy)))).toEqual(policy)
  })

  test('reports a missing plan', () => {
    expect(problemsOf({}, { plan: undefined })).toEqual([
      'PlanNotFound spec.planRef.name: There is no ChatPlan "free". Create it, or name an existing plan.',
    ])
  })

  test('reports every problem together', () => {
    const spec = {
      ...rule({ match: { type: 'Pattern', value: 'a-*' } }),
      allowedOrigins: ['acme.example'],
      quota: { connections: { max: 1001 } },
    }
    expect(problemsOf(spec).map((text) => text.split(':')[0])).toEqual([
      'QuotaAbovePlan spec.quota.connections.max',
      'InvalidMatch spec.channels[0].match.value',
      'InvalidOrigin spec.allowedOrigins[0]',
    ])
  })

  test('uses the default namespace when the tenant names none', () => {
    const tenant = { ...tenantOf({}), metadata: { name: 'acme' } }
    const compiled = compileTenant({ tenant, plan: planOf({}), tenantId: 't1', secret: () => undefined })
    expect(compiled).toMatchObject({ policy: { namespace: 'default' } })
  })
})

describe('namespaces', () => {
  const gold = planOf({
    allowedNamespaces: { from: 'Selector', selector: { matchLabels: { tier: 'gold' } } },
  })

  test('a plan with a selector accepts namespaces with the labels', () => {
    expect(problemsOf({}, { plan: gold, namespaceLabels: { tier: 'gold' } })).toEqual([])
  })

  test.each([undefined, {}, { tier: 'silver' }])(
    'a plan with a selector refuses a namespace with %j',
    (namespaceLabels) => {
      expect(problemsOf({}, { plan: gold, namespaceLabels })).toEqual([
        'NamespaceNotAllowed spec.planRef.name: Plan "free" is not for tenants in namespace "demo".',
      ])
    },
  )

  test('a plan for None refuses every namespace', () => {
    expect(problemsOf({}, { plan: planOf({ allowedNamespaces: { from: 'None' } }) })).toHaveLength(1)
  })
})

describe('quota', () => {
  const plan = planOf({
    limits: {
      messages: { publishPerSecond: 50, publishBurst: 200 },
      retention: { historyMessages: 10, historyTTL: '1h', presence: false },
    },
  })

  test('lowers the limits that it names', () => {
    const { limits } = policyOf(
      { quota: { connections: { max: 3 }, channels: { nameMaxLength: 20 } } },
      { plan },
    )
    expect(limits.connections).toMatchObject({ max: 3, perUser: 20 })
    expect(limits.channels).toMatchObject({ nameMaxLength: 20, max: 1000 })
    expect(limits.messages).toMatchObject({ publishPerSecond: 50, publishBurst: 200 })
  })

  test('a lower rate without a burst does not keep the burst of the plan', () => {
    expect(
      policyOf({ quota: { messages: { publishPerSecond: 5 } } }, { plan }).limits.messages,
    ).toMatchObject({ publishPerSecond: 5, publishBurst: 5 })
  })

  test('0 is a valid limit', () => {
    expect(policyOf({ quota: { connections: { max: 0 } } }, { plan }).limits.connections.max).toBe(0)
  })

  test.each<[object, string]>([
    [
      { connections: { perUser: 21 } },
      'spec.quota.connections.perUser: The quota asks for connections.perUser 21; plan "free" allows 20.',
    ],
    [
      { messages: { publishBurst: 201 } },
      'spec.quota.messages.publishBurst: The quota asks for messages.publishBurst 201; plan "free" allows 200.',
    ],
    [
      { retention: { historyTTL: '61m' } },
      'spec.quota.retention.historyTTL: The quota asks for retention.historyTTL 61m; plan "free" allows 1h.',
    ],
    [
      { retention: { presence: true } },
      'spec.quota.retention.presence: The quota asks for retention.presence true; plan "free" allows false.',
    ],
    [
      { retention: { historyMessages: 11 } },
      'The quota asks for retention.historyMessages 11; plan "free" allows 10.',
    ],
  ])('a quota above the plan is a problem with both values: %j', (quota, words) => {
    expect(problemsOf({ quota }, { plan })).toEqual([expect.stringContaining(words)])
  })

  test('history is reduced to the retention without a problem', () => {
    const policy = policyOf(rule({ history: { size: 100, ttl: '24h' }, presence: true }), { plan })
    expect(policy.channels[0]).toMatchObject({ history: { size: 10, ttlMs: 3_600_000 }, presence: false })
  })

  test('recovery can be limited to the newest message', () => {
    const policy = policyOf(rule({ history: { size: 5, ttl: '1h', recovery: 'Cache' } }), { plan })
    expect(policy.channels[0]?.history).toEqual({ size: 5, ttlMs: 3_600_000, newestOnly: true })
  })

  test('a retention of no messages turns history off', () => {
    const policy = policyOf({
      ...rule({ history: { size: 100 } }),
      quota: { retention: { historyMessages: 0 } },
    })
    expect(policy.channels[0]?.history).toBeNull()
  })
})

test('rules are converted to the form that gateways read', () => {
  const grants = [{ operations: ['Publish'], subjects: [{ roles: ['admin'] }] }]
  const [compiled] = policyOf(
    rule({ grants, joinLeave: true, durability: 'Replicated', sanitize: 'StripMarkup' }),
  ).channels
  expect(compiled).toEqual({
    name: 'general',
    match: { type: 'Literal', value: 'general' },
    grants: [{ effect: 'Allow', ...grants[0] }],
    history: null,
    presence: false,
    joinLeave: true,
    durability: 'replicated',
    sanitize: 'stripMarkup',
  })
})

describe('durability', () => {
  const message =
    'asks for durability Durable, but this installation has no archive, so every publish would be refused. Use Replicated, Accepted, or omit the field.'

  test.each(['Accepted', 'Replicated', undefined])('%s is accepted', (durability) => {
    expect(problemsOf(rule({ durability }))).toEqual([])
  })

  test('Durable is refused while there is no archive, with every plan', () => {
    const plans = [
      planOf({}),
      planOf({ enforcement: 'DryRun', limits: { retention: { historyMessages: 0 } } }),
    ]
    for (const plan of plans) {
      expect(problemsOf(rule({ durability: 'Durable' }), { plan })).toEqual([
        `DurabilityUnavailable spec.channels[0].durability: Rule "general" ${message}`,
      ])
    }
  })

  test('every rule that asks for Durable is reported, beside the other problems', () => {
    const channels = ['a', 'b', 'c'].map((name) => ({
      name,
      match: { type: 'Literal', value: name },
      ...(name !== 'b' && { durability: 'Durable' }),
    }))
    const problems = problemsOf({ channels, allowedOrigins: ['acme.example'] })
    expect(problems.map((text) => text.split(':')[0])).toEqual([
      'DurabilityUnavailable spec.channels[0].durability',
      'DurabilityUnavailable spec.channels[2].durability',
      'InvalidOrigin spec.allowedOrigins[0]',
    ])
  })
})

describe('revision', () => {
  test('is the same for the same policy, in any order of the fields', () => {
    const spec = { displayName: 'Acme', quota: { connections: { max: 5, perUser: 1 } } }
    const reordered = { quota: { connections: { perUser: 1, max: 5 } }, displayName: 'Acme' }
    expect(policyOf(spec).revision).toBe(policyOf(reordered).revision)
    expect(policyOf(spec).revision).toMatch(/^[0-9a-f]{16}$/)
  })

  test.each([{ displayName: 'B' }, { suspend: true }, { quota: { connections: { max: 1 } } }, rule({})])(
    'changes with %j',
    (spec) => {
      expect(policyOf(spec).revision).not.toBe(policyOf({}).revision)
    },
  )

  test('does not change with fields that gateways never see', () => {
    expect(policyOf({ contact: 'x', purgeAfter: '1h' }).revision).toBe(policyOf({}).revision)
  })
})

test('ids from names are stable, and no two tenants share one', () => {
  expect(tenantIdFromName('demo', 'acme')).toBe(tenantIdFromName('demo', 'acme'))
  expect(tenantIdFromName('demo', 'acme')).toMatch(/^[0-9a-f]{32}$/)
  expect(
    new Set([tenantIdFromName('a', 'b-c'), tenantIdFromName('a-b', 'c'), tenantIdFromName('b-c', 'a')]).size,
  ).toBe(3)
})

describe('generated keys', () => {
  const auth = [{ name: 'backend', type: 'SharedKey', generate: { algorithm: 'HS256' } }]
  const now = Buffer.from('the key of today, which is long enough')
  const before = Buffer.from('the key of yesterday, long enough too')
  const secret = (name: string, key: string) =>
    name === 'acme-credentials' && key === 'backend' ? now : undefined
  const keysOf = (policy: TenantPolicy) =>
    policy.issuers.map(({ key, name }) => [name, key.type === 'SharedKey' && key.secret])

  test('two keys of one source are valid during a rotation, the current one first', () => {
    const policy = policyOf(
      { auth },
      { secret, previousKey: (name) => (name === 'backend' ? before : undefined) },
    )
    expect(keysOf(policy)).toEqual([
      ['backend', now.toString('base64')],
      ['backend', before.toString('base64')],
    ])
    expect(policy.revision).not.toBe(policyOf({ auth }, { secret }).revision)
  })

  test('a previous key that is no longer valid is left out without a problem', () => {
    const policy = policyOf({ auth }, { secret, previousKey: () => Buffer.from('short') })
    expect(keysOf(policy)).toHaveLength(1)
  })

  test('an entry without generate has no previous key', () => {
    const own = [{ name: 'own', type: 'SharedKey', keyRef: { name: 's', key: 'k' } }]
    expect(keysOf(policyOf({ auth: own }, { secret: () => now, previousKey: () => before }))).toHaveLength(1)
  })
})

test('API keys are part of the policy, and an empty list changes nothing', () => {
  const key = {
    id: 'k1',
    credential: 'bot',
    sha256: '0'.repeat(64),
    role: 'Publisher' as const,
    scopes: [],
    expiresAtMs: 1,
  }
  const policy = policyOf({}, { apiKeys: [key] })
  expect(TenantPolicy.parse(JSON.parse(JSON.stringify(policy))).apiKeys).toEqual([key])
  expect(policyOf({}, { apiKeys: [] })).toEqual(policyOf({}))
})
