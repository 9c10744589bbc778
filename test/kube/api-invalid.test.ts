// The objects that the API server refuses, and its messages. The second part compares its verdicts with those
// of the schema that the program uses.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { matchProblem } from '../../src/tenant/channel-match.js'
import { compileTenant } from '../../src/compile/tenant.js'
import { ChatCredential } from '../../src/resources/chat-credential.js'
import { ChatPlan } from '../../src/resources/chat-plan.js'
import { ChatTenant } from '../../src/resources/chat-tenant.js'
import { KubeServer, kubeStartMsMax } from '../support/kube-apiserver.js'
import type { KubeObject } from '../support/kube-client.js'
import {
  apiVersion,
  chatCredential,
  chatPlan,
  chatTenant,
  installCrds,
  refusalsOf,
} from '../support/kube-parley.js'
import { until } from '../support/redis-processes.js'

let server: KubeServer

beforeAll(async () => {
  server = await KubeServer.start()
  await installCrds(server.client)
}, kubeStartMsMax)
afterAll(async () => server?.stop())

const refused = (object: KubeObject): Promise<string[]> =>
  refusalsOf(server.client.create(object, { dryRun: true }))

const rule = (fields: object): KubeObject =>
  chatTenant({ channels: [{ name: 'general', match: { type: 'Literal', value: 'general' }, ...fields }] })
const match = (type: string, value: string): KubeObject => rule({ match: { type, value } })
const subject = (fields: object): KubeObject =>
  rule({ grants: [{ operations: ['Publish'], subjects: [fields] }] })
const auth = (...entries: object[]): KubeObject =>
  chatTenant({ auth: entries.map((fields, index) => ({ name: `key-${index}`, ...fields })) })
const quota = (max: unknown): KubeObject => chatTenant({ quota: { connections: { max } } })

const at = {
  rule: 'spec.channels[0]',
  subject: 'spec.channels[0].grants[0].subjects[0]',
  max: 'spec.quota.connections.max',
}
const durationMessage = 'Write a duration such as "90s", "10m", "24h" or "1h30m".'

test.each<[string, KubeObject, string[]]>([
  ['a negative quota', quota(-1), [`${at.max}: Invalid value: -1`]],
  [
    'a quota that is not an integer',
    quota(1.5),
    [`${at.max}: Invalid value: "number": ${at.max} in body must be of type integer`],
  ],
  [
    'a quota as text',
    quota('10'),
    [`${at.max}: Invalid value: "string": ${at.max} in body must be of type integer`],
  ],
  ['a quota of 2^63', quota(2 ** 63), [`${at.max}: Invalid value: "number"`]],
  ['a quota above the maximum', quota(1_000_001), [`${at.max}: Invalid value: 1000001`]],
  [
    'a burst below the rate',
    chatTenant({ quota: { messages: { publishPerSecond: 10, publishBurst: 5 } } }),
    ['spec.quota.messages.publishBurst: Invalid value: "object": publishBurst is below publishPerSecond'],
  ],
  [
    'a burst below the default rate',
    chatPlan({ limits: { messages: { publishBurst: 5 } } }),
    ['spec.limits.messages.publishBurst: '],
  ],
  [
    'a duration in days',
    chatTenant({ purgeAfter: '31d' }),
    [`spec.purgeAfter: Invalid value: "string": ${durationMessage}`],
  ],
  [
    'a duration of a year and an hour',
    chatTenant({ purgeAfter: '8761h' }),
    ['spec.purgeAfter: Invalid value: "string": Write a duration from "0s" to "8760h".'],
  ],
  [
    'a duration of a thousand centuries',
    chatTenant({ purgeAfter: '999999999h' }),
    ['spec.purgeAfter: Invalid value: "string": Write a duration from'],
  ],
  [
    'a duration of the same length in minutes',
    chatTenant({ purgeAfter: '999999999m999999999m' }),
    ['spec.purgeAfter: Invalid value: "string": Write a duration from'],
  ],
  [
    'a revocation of a user and a token',
    chatTenant({ revocations: [{ user: 'ann', jti: 'x' }] }),
    ['spec.revocations[0]: Invalid value: "object": Name exactly one of user and jti.'],
  ],
  [
    'a revocation of nothing',
    chatTenant({ revocations: [{ expiresAt: '2026-01-31T12:00:00Z' }] }),
    ['spec.revocations[0]: Invalid value: "object": Name exactly one of user and jti.'],
  ],
  [
    'a revocation of a token by time of issue',
    chatTenant({ revocations: [{ jti: 'x', issuedBefore: '2026-01-31T12:00:00Z' }] }),
    ['spec.revocations[0]: Invalid value: "object": issuedBefore belongs to user.'],
  ],
  [
    'a revocation of a guest by time of issue',
    chatTenant({ revocations: [{ user: 'guest:x', issuedBefore: '2026-01-31T12:00:00Z' }] }),
    ['spec.revocations[0]: Invalid value: "object": A guest has no time of issue'],
  ],
  [
    'a revocation of a user with a line break',
    chatTenant({ revocations: [{ user: 'a\nb' }] }),
    ['spec.revocations[0].user: Invalid value: "a\\nb"'],
  ],
  [
    '257 revocations',
    chatTenant({ revocations: Array.from({ length: 257 }, (_, n) => ({ user: `u${n}` })) }),
    ['spec.revocations: Too many: 257: must have at most 256 items'],
  ],
  [
    'a time without a zone',
    chatTenant({ tokensIssuedBefore: '2026-01-31T12:00:00' }),
    ['spec.tokensIssuedBefore: Invalid value: '],
  ],
  [
    'the 30th of February',
    chatTenant({ tokensIssuedBefore: '2026-02-30T12:00:00Z' }),
    ['spec.tokensIssuedBefore: Invalid value: '],
  ],
  [
    'a time in words',
    chatTenant({ tokensIssuedBefore: 'yesterday' }),
    ['spec.tokensIssuedBefore: Invalid value: '],
  ],
  [
    'two rules with one name',
    chatTenant({
      channels: ['a', 'b'].map((value) => ({ name: 'twin', match: { type: 'Literal', value } })),
    }),
    ['spec.channels[1]: Duplicate value: {"name":"twin"}'],
  ],
  [
    'a star in a literal',
    match('Literal', 'a*'),
    [`${at.rule}.match.value: Invalid value: "object": "a*" contains braces or`],
  ],
  [
    'a segment with text and a placeholder',
    match('Pattern', 'a{user}'),
    [`${at.rule}.match.value: Invalid value: "object": "a{user}" is not a valid pattern`],
  ],
  [
    'a pattern with too many segments',
    match('Pattern', 'a:'.repeat(20)),
    [`${at.rule}.match.value: Invalid value: "object": A pattern has at most 16 segments.`],
  ],
  [
    'a regular expression with braces',
    match('Pattern', '(a{1,9}){1,9}'),
    [`${at.rule}.match.value: Invalid value: "object": "(a{1,9}){1,9}" is not a valid pattern`],
  ],
  [
    'a reserved channel name',
    match('Prefix', '$sys'),
    [`${at.rule}.match.value: Invalid value: "object": A channel name may not begin with`],
  ],
  [
    'white space in a channel name',
    match('Literal', 'a b'),
    [`${at.rule}.match.value: Invalid value: "object": White space`],
  ],
  [
    'a bidirectional control character',
    match('Literal', 'a\u202Eb'),
    [`${at.rule}.match.value: Invalid value: "object": White space, control`],
  ],
  [
    'an unknown type of match',
    match('Regex', 'a'),
    [`${at.rule}.match.type: Unsupported value: "Regex": supported values: "Literal", "Prefix", "Pattern"`],
  ],
  [
    'an empty subject',
    subject({}),
    [`${at.subject}: Required value: Set at least one of users, roles, claims`],
  ],
  [
    'a guest with a role',
    subject({ anonymous: true, roles: ['x'] }),
    [`${at.subject}.anonymous: Invalid value: "object": A guest has no token to compare`],
  ],
  [
    'an empty claims map',
    subject({ claims: {} }),
    [`${at.subject}.claims: Required value: Set at least one claim.`],
  ],
  [
    'authenticated: false',
    subject({ authenticated: false }),
    [`${at.subject}.authenticated: Unsupported value: false`],
  ],
  [
    '10,000 rules',
    chatTenant({
      channels: Array.from({ length: 10_000 }, (_, n) => ({
        name: `r${n}`,
        match: { type: 'Literal', value: `c${n}` },
      })),
    }),
    ['spec.channels: Too many: 10000: must have at most 64 items'],
  ],
  [
    'a shared key with a public key',
    auth({ type: 'SharedKey', publicKey: 'x', generate: { algorithm: 'HS256' } }),
    ['spec.auth[0].publicKey: Forbidden: publicKey is allowed only with type PublicKey.'],
  ],
  [
    'a type without its key',
    auth({ type: 'SharedKey' }),
    ['spec.auth[0].type: Required value: Type SharedKey needs exactly one of: keyRef, generate.'],
  ],
  [
    'a type with two keys',
    auth({ type: 'SharedKey', generate: { algorithm: 'HS256' }, keyRef: { name: 's', key: 'k' } }),
    ['spec.auth[0].type: Required value: Type SharedKey needs exactly one of'],
  ],
  [
    'an algorithm of another key type',
    auth({ type: 'PublicKey', publicKey: 'x', algorithms: ['HS256'] }),
    ['spec.auth[0].algorithms: Invalid value: "object": HS256, HS384 and HS512 require'],
  ],
  [
    'a generated key of another type',
    auth({ type: 'PublicKey', generate: { algorithm: 'HS256' } }),
    ['spec.auth[0].generate: Invalid value: "object": HS256 requires'],
  ],
  ...['type', 'provider', 'uri', 'host', 'port', 'tenant'].map((name): [string, KubeObject, string[]] => [
    `a generated key with the name ${name}`,
    auth({ name, type: 'SharedKey', generate: { algorithm: 'HS256' } }),
    ['spec.auth[0].name: Invalid value: "object": A generated key cannot have the name type, provider'],
  ]),
  [
    'a key set in a file',
    auth({ type: 'JWKSURI', jwksURI: 'file:///etc/passwd' }),
    ['spec.auth[0].jwksURI: Invalid value: "string": A key set is fetched over https only.'],
  ],
  [
    'a password in a URL',
    auth({ type: 'JWKSURI', jwksURI: 'https://me:secret@id.example/' }),
    ['spec.auth[0].jwksURI: Invalid value: "string": The URL must not contain'],
  ],
  [
    'an origin with a path',
    chatTenant({ allowedOrigins: ['https://a.example/'] }),
    ['spec.allowedOrigins[0]: Invalid value: "string": "https://a.example/" is not a valid origin'],
  ],
  ['a misspelt field', chatTenant({ chanels: [] }), ['unknown field "spec.chanels"']],
  [
    'a dot in the name',
    chatTenant({}, { name: 'a.b' }),
    ['metadata.name: Invalid value: "object": Use lower-case letters'],
  ],
  [
    'a name that is too long',
    chatTenant({}, { name: 'a'.repeat(64) }),
    ['metadata.name: Too long: may not be more than 63 bytes'],
  ],
  [
    'a plan with a selector that is not used',
    chatPlan({ allowedNamespaces: { selector: {} } }),
    ['spec.allowedNamespaces.selector: Forbidden: A selector is allowed only with "from: Selector".'],
  ],
  [
    'a plan without its selector',
    chatPlan({ allowedNamespaces: { from: 'Selector' } }),
    ['spec.allowedNamespaces.selector: Required value: "from: Selector" needs a selector.'],
  ],
  [
    'a selector expression without values',
    chatPlan({
      allowedNamespaces: {
        from: 'Selector',
        selector: { matchExpressions: [{ key: 'tier', operator: 'In' }] },
      },
    }),
    [
      'spec.allowedNamespaces.selector.matchExpressions[0].values: Invalid value: "object": In and NotIn need',
    ],
  ],
  [
    'an imported key with rotation and secretName',
    chatCredential({ importSecretRef: { name: 's', key: 'k' }, rotation: {}, secretName: 'x' }),
    ['spec.rotation: Forbidden: An imported key', 'spec.secretName: Forbidden: An imported key'],
  ],
])('refuses %s', async (_, object, expected) => {
  const refusals = await refused(object)
  for (const text of expected) expect(refusals).toContainEqual(expect.stringContaining(text))
  // The server may add only these messages.
  const others = refusals.filter((text) => !expected.some((part) => text.includes(part)))
  expect(
    others.filter((text) => !/some validation rules were not checked|less than or equal/.test(text)),
  ).toEqual([])
})

test('a quota of 0 is accepted and turns something off', async () => {
  expect(await refused(quota(0))).toEqual([])
})

test('rules may overlap and contradict each other, because a deny wins', async () => {
  const grants = ['Allow', 'Deny'].map((effect) => ({
    effect,
    operations: ['Publish'],
    subjects: [{ authenticated: true }],
  }))
  const channels = ['a', 'b'].map((name) => ({ name, match: { type: 'Pattern', value: '*' }, grants }))
  expect(await refused(chatTenant({ channels }))).toEqual([])
})

test('a tenant that is too large for etcd is refused', async () => {
  const users = Array.from({ length: 256 }, (_, n) => `${n}`.padEnd(255, 'x'))
  const grants = Array.from({ length: 64 }, () => ({ operations: ['Publish'], subjects: [{ users }] }))
  const [refusal = ''] = await refusalsOf(server.client.create(rule({ grants })))
  expect(refusal).toMatch(/too large/)
})

test('another API version is not served', async () => {
  const path = '/apis/parley.chat/v2/namespaces/default/chattenants'
  const response = await server.client.request('POST', path, {
    body: { ...chatTenant(), apiVersion: 'parley.chat/v2' },
  })
  expect(response.status).toBe(404)
})

describe('an immutable field', () => {
  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'default', name: 'fixed' }

  test('is the name of a tenant’s Secret, once it is set', async () => {
    await server.client.create(chatTenant({}, { name: 'fixed' }))
    await server.client.patch(ref, { spec: { credentials: { secretName: 'mine' } } })
    for (const credentials of [{ secretName: 'other' }, { secretName: null }, null]) {
      expect(await refusalsOf(server.client.patch(ref, { spec: { credentials } }))).toEqual([
        expect.stringContaining(
          'spec.credentials.secretName: Invalid value: "object": The name of the Secret cannot be changed',
        ),
      ])
    }
    await server.client.patch(ref, { spec: { credentials: { rotation: {} }, displayName: 'Fixed' } })
  })

  test('is the name of a tenant, on which its data and address depend', async () => {
    const [refusal = ''] = await refusalsOf(server.client.patch(ref, { metadata: { name: 'renamed' } }))
    expect(refusal).toMatch(/the name of the object \(renamed\) does not match/)
    expect(await server.client.find({ ...ref, name: 'renamed' })).toBeUndefined()
  })

  test('is the tenant of a credential', async () => {
    await server.client.create(chatCredential({}, { name: 'fixed' }))
    const credential = { apiVersion, kind: 'ChatCredential', namespace: 'default', name: 'fixed' }
    expect(
      await refusalsOf(server.client.patch(credential, { spec: { tenantRef: { name: 'globex' } } })),
    ).toEqual([
      expect.stringContaining(
        'spec.tenantRef.name: Invalid value: "object": The tenant of a key cannot be changed',
      ),
    ])
    await server.client.patch(credential, { spec: { role: 'Admin' } })
  })
})

test('stricter rules do not affect stored values until they are changed', async () => {
  const { client } = server
  const crdRef = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    name: 'chattenants.parley.chat',
  }
  const replaceSpec = async (spec: object): Promise<void> => {
    await client.replace({ ...(await client.get(crdRef)), spec })
  }
  const today = (await client.get(crdRef))['spec']
  const looser = structuredClone(today)
  const { properties } = looser.versions[0].schema.openAPIV3Schema.properties.spec
  delete properties.purgeAfter['x-kubernetes-validations']
  delete properties.channels.items.properties.match['x-kubernetes-validations']

  const channels = [{ name: 'a', match: { type: 'Literal', value: 'a*' } }]
  const old = chatTenant({ purgeAfter: 'soon', channels }, { name: 'old' })
  try {
    await replaceSpec(looser)
    await until('the looser rules', async () => (await refusalsOf(client.create(old))).length === 0)
  } finally {
    await replaceSpec(today)
  }
  await until('the stricter rules', async () => (await refused(chatTenant({ channels }))).length > 0)

  const ref = { apiVersion, kind: 'ChatTenant', namespace: 'default', name: 'old' }
  await client.patch(ref, { spec: { contact: 'bert' } })
  expect(await refusalsOf(client.patch(ref, { spec: { purgeAfter: 'later' } }))).toEqual([
    expect.stringContaining('spec.purgeAfter: '),
  ])
  await client.patch(ref, { spec: { purgeAfter: '1h' } })
}, 60_000)

/** Values that replace every field in turn. Null is not among them, because the API server drops it. */
const oddValues: readonly unknown[] = [
  ...[undefined, true, false, 0, -1, 1.5, 10_000_001, '', 'a', 'A', 'a.b', '10'],
  ...['a*', '{user}', '$x', 'a b', 'x'.repeat(64), 'x'.repeat(300), 'x'.repeat(20_000)],
  ...['1s', '59m', '1h30m', '721h', '9000h', '31d', '999999999h', '000000001h'],
  ...['https://*.example', 'https://u:p@a.example', 'Exists', 'Selector', 'JWKS', 'Pattern', 'ES256'],
  ...[[], ['a'], ['HS256'], ['ES256'], Array.from({ length: 70 }, (_, n) => `a${n}`)],
  ...[{}, { a: 'b' }, { a: ['b'] }, { name: 'a' }, { name: 'a', key: 'k' }, { key: 'k', operator: 'In' }],
]

/** Objects that together have every field. */
const samples: readonly [string, { safeParse(value: unknown): { success: boolean } }, KubeObject[]][] = [
  [
    'ChatPlan',
    ChatPlan,
    [
      chatPlan({
        limits: {
          connections: { max: 10, perUser: 2, connectsPerSecond: 5, commandsPerSecond: 5 },
          messages: { publishPerSecond: 1, publishBurst: 2, maxBytes: 100, fanoutPerSecond: 10 },
          channels: {
            max: 1,
            maxSubscribersPerChannel: 1,
            maxSubscriptionsPerConnection: 1,
            nameMaxLength: 20,
          },
          retention: { historyMessages: 1, historyTTL: '1h', presence: true },
        },
        enforcement: 'Warn',
        preemption: 'ShedIdle',
        allowedNamespaces: {
          from: 'Selector',
          selector: {
            matchLabels: { a: 'b' },
            matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }],
          },
        },
      }),
    ],
  ],
  [
    'ChatTenant',
    ChatTenant,
    [
      chatTenant({
        displayName: 'Acme',
        contact: 'anna',
        hostnames: ['chat.acme.example'],
        allowedOrigins: ['https://acme.example'],
        auth: [
          {
            name: 'shared',
            type: 'SharedKey',
            algorithms: ['HS256'],
            issuer: 'i',
            audience: 'a',
            keyRef: { name: 's', key: 'k' },
            claims: { user: 'sub', name: 'n', roles: 'r', info: 'i' },
          },
        ],
        channels: [
          {
            name: 'general',
            match: { type: 'Literal', value: 'general' },
            grants: [
              {
                effect: 'Deny',
                operations: ['Publish'],
                subjects: [{ users: ['u'], roles: ['r'], claims: { c: ['v'] }, authenticated: true }],
              },
            ],
            history: { size: 1, ttl: '1h' },
            presence: true,
            joinLeave: true,
            durability: 'Accepted',
            sanitize: 'None',
          },
        ],
        quota: {
          connections: { max: 10 },
          messages: { publishPerSecond: 1, publishBurst: 2 },
          channels: { max: 1 },
          retention: { historyTTL: '1h', presence: true },
        },
        suspend: true,
        deletionPolicy: 'Retain',
        purgeAfter: '1h',
        credentials: {
          secretName: 's',
          rotation: { interval: '24h', overlap: '1h' },
          template: { labels: { a: 'b' }, annotations: { a: 'b' } },
        },
      }),
      auth({ type: 'PublicKey', publicKey: 'pem' }, { type: 'JWKS', jwks: { keys: [{ kty: 'RSA' }] } }),
      auth(
        { type: 'JWKSURI', jwksURI: 'https://id.example/' },
        { type: 'SharedKey', generate: { algorithm: 'HS256' } },
      ),
      subject({ anonymous: true }),
    ],
  ],
  [
    'ChatCredential',
    ChatCredential,
    [
      chatCredential({
        role: 'Admin',
        scopes: [{ match: { type: 'Prefix', value: 'a' }, operations: ['Publish'] }],
        ttl: '1h',
        rotation: { interval: '24h', overlap: '1h' },
        secretName: 's',
      }),
      chatCredential({ importSecretRef: { name: 's', key: 'k' } }),
    ],
  ],
]

type Path = readonly (string | number)[]

function pathsIn(value: unknown, path: Path): Path[] {
  if (typeof value !== 'object' || value === null) return [path]
  const steps = Array.isArray(value) ? [...value.keys()] : Object.keys(value)
  return [path, ...steps.flatMap((step) => pathsIn(Reflect.get(value, step), [...path, step]))]
}

function withValue(object: KubeObject, path: Path, value: unknown): KubeObject {
  const changed = structuredClone(object)
  const parent = path.slice(0, -1).reduce<object>((around, step) => Reflect.get(around, step), changed)
  const last = path.at(-1) ?? ''
  if (value !== undefined) Reflect.set(parent, last, value)
  else if (Array.isArray(parent)) parent.splice(Number(last), 1)
  else Reflect.deleteProperty(parent, last)
  return changed
}

/**
 * Returns whether the object compiles. The compiler finds problems that the schema does not, and the API
 * server refuses some of them.
 */
function compiles(object: KubeObject): boolean {
  const credential = ChatCredential.safeParse(object)
  if (credential.success) return credential.data.spec.scopes.every((scope) => !matchProblem(scope.match))
  const tenant = ChatTenant.safeParse(object)
  if (!tenant.success) return true
  const plan = ChatPlan.parse(chatPlan())
  const secret = (): Uint8Array => new Uint8Array(64)
  return 'policy' in compileTenant({ tenant: tenant.data, plan, tenantId: 'id', secret })
}

test('the API server and the program’s schema agree on every combination of keys in auth', async () => {
  const keys = {
    keyRef: { name: 's', key: 'k' },
    publicKey: 'pem',
    jwks: { keys: [{ kty: 'RSA' }] },
    jwksURI: 'https://id.example/',
    generate: { algorithm: 'ES256' },
  }
  const subsets = Object.entries(keys).reduce<object[]>(
    (before, [name, value]) => before.flatMap((subset) => [subset, { ...subset, [name]: value }]),
    [{}],
  )
  const accepted: string[] = []
  for (const type of ['SharedKey', 'PublicKey', 'JWKS', 'JWKSURI']) {
    for (const subset of subsets) {
      const object = auth({ type, ...subset })
      const agreed = ChatTenant.safeParse(object).success
      expect([type, Object.keys(subset), (await refused(object)).length === 0]).toEqual([
        type,
        Object.keys(subset),
        agreed,
      ])
      if (agreed) accepted.push(`${type} ${Object.keys(subset).join(' ')}`)
    }
  }
  expect(accepted).toEqual([
    'SharedKey keyRef',
    'PublicKey generate',
    'PublicKey publicKey',
    'PublicKey keyRef',
    'JWKS jwks',
    'JWKSURI jwksURI',
  ])
})

test.each(samples)(
  '%s: the API server and the program’s schema agree on every odd value in every field',
  async (_, schema, objects) => {
    const cases = objects.flatMap((object) =>
      pathsIn(object['spec'], ['spec']).flatMap((path) =>
        oddValues.map((value) => ({ path, value, object: withValue(object, path, value) })),
      ),
    )
    for (const object of objects) expect(schema.safeParse(object).success).toBe(true)

    const disagreements: string[] = []
    let agreedToRefuse = 0
    let agreedToAccept = 0
    const queue = cases.values()
    const judge = async (): Promise<void> => {
      for (const { object, value, path } of queue) {
        const accepted = schema.safeParse(object).success
        const refusals = await refused(object)
        if (accepted === (refusals.length === 0)) {
          if (accepted) agreedToAccept += 1
          else agreedToRefuse += 1
        } else if (!accepted || compiles(object)) {
          const what = accepted
            ? `refused by the API server alone: ${refusals.join(' ')}`
            : 'refused by the schema alone'
          disagreements.push(`${path.join('.')} = ${JSON.stringify(value)?.slice(0, 60)}: ${what}`)
        }
      }
    }
    await Promise.all(Array.from({ length: 8 }, judge))
    expect(disagreements).toEqual([])
    // The comparison must have had enough cases of both kinds.
    expect(agreedToRefuse).toBeGreaterThan(500)
    expect(agreedToAccept).toBeGreaterThan(50)
  },
  300_000,
)
