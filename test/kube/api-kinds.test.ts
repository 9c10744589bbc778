// The three kinds on a real API server, as kubectl and other clients use them.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ChatTenantStatus } from '../../src/resources/status.js'
import { KubeServer, kubeStartMsMax } from '../support/kube-apiserver.js'
import type { KubeObject } from '../support/kube-client.js'
import {
  apiVersion,
  chatCredential,
  chatPlan,
  chatTenant,
  installCrds,
  manifestsIn,
  namespace,
  refusalsOf,
} from '../support/kube-parley.js'
import { until } from '../support/redis-processes.js'

let server: KubeServer

beforeAll(async () => {
  server = await KubeServer.start()
  await installCrds(server.client)
}, kubeStartMsMax)
afterAll(async () => server?.stop())

const crds = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' }
const tenantRef = (name: string) => ({ apiVersion, kind: 'ChatTenant', namespace: 'default', name })

describe('the definitions', () => {
  test('are established and structural, and their names are accepted', async () => {
    const conditions = async () => {
      const found = await server.client.list(crds)
      const entries = found.map(({ metadata, status }) => [
        metadata.name,
        // A schema that is not structural would add the type NonStructuralSchema.
        status.conditions
          .map(({ status: holds, type }: Record<string, string>) => `${type}=${holds}`)
          .toSorted(),
      ])
      return Object.fromEntries(entries) as Record<string, string[]>
    }
    const good = ['Established=True', 'NamesAccepted=True']
    await expect.poll(conditions).toEqual({
      'chatcredentials.parley.chat': good,
      'chatplans.parley.chat': good,
      'chattenants.parley.chat': good,
    })
  })

  test('are marked as provisioned services for the Service Binding specification', async () => {
    const found = await server.client.list(
      crds,
      'labelSelector=servicebinding.io%2Fprovisioned-service%3Dtrue',
    )
    expect(found.map(({ metadata }) => metadata.name).toSorted()).toEqual([
      'chatcredentials.parley.chat',
      'chattenants.parley.chat',
    ])
  })

  test.each([
    ['chattenant.spec.channels.grants', 'A Deny overrides every Allow, including those of other rules.'],
    ['chatplan.spec.limits.messages', 'The maximum number of deliveries per second. One message'],
    ['chatcredential.status', 'The identifier of the key that is valid now. It is not secret.'],
  ])('explain %s', async (path, text) => {
    // The API server publishes the schema of a kind after a short delay.
    const explanation = await until(`an explanation of ${path}`, () => server.kubectl(['explain', path]))
    expect(explanation.replaceAll(/\s+/g, ' ')).toContain(text)
  })
})

describe('samples', () => {
  test('are accepted unchanged', async () => {
    await server.client.create(namespace('demo'))
    const samples = await manifestsIn('samples')
    expect(samples.map(({ kind }) => kind)).toContain('ChatTenant')
    for (const sample of samples) await server.client.create(sample)
  })

  test('are listed by their short names and by their category', async () => {
    const names = async (kinds: string): Promise<string[]> =>
      (await server.kubectl(['get', kinds, '-n', 'demo', '-o', 'name'])).trim().split('\n').toSorted()
    const all = await names('ct,cplan,cc')
    expect(all).toEqual([
      'chatcredential.parley.chat/acme-backend',
      'chatcredential.parley.chat/globex-backend',
      'chatplan.parley.chat/free',
      'chatplan.parley.chat/premium',
      'chatplan.parley.chat/standard',
      'chattenant.parley.chat/acme',
      'chattenant.parley.chat/globex',
    ])
    expect(await names('parley')).toEqual(all)
  })

  test('are selectable by the plan that they name', async () => {
    const select = async (plan: string): Promise<string> =>
      server.kubectl([
        'get',
        'ct',
        '-n',
        'demo',
        '-o',
        'name',
        '--field-selector',
        `spec.planRef.name=${plan}`,
      ])
    expect(await select('free')).toBe('chattenant.parley.chat/globex\n')
    expect(await select('nothing')).toBe('')
  })
})

describe('a tenant', () => {
  test('gets the same defaults as in the program, and no empty lists', async () => {
    const { spec } = await server.client.create(chatTenant({}, { name: 'plain' }))
    expect(spec).toEqual({
      planRef: { name: 'free' },
      suspend: false,
      deletionPolicy: 'Delete',
      purgeAfter: '24h',
      credentials: {},
    })
  })

  test('may revoke 256 users, tokens and guests', async () => {
    const times = { expiresAt: '2027-01-31T12:00:00.5+02:00' }
    const revocations = [
      { user: 'ann', issuedBefore: '2026-01-31T12:00:00Z' },
      { user: 'guest:abc', ...times },
      { jti: 'x'.repeat(255), ...times },
      ...Array.from({ length: 253 }, (_, n) => ({ user: `${n}${'ü'.repeat(250)}` })),
    ]
    const tokensIssuedBefore = '2026-01-31T12:00:00Z'
    const { spec } = await server.client.create(
      chatTenant({ revocations, tokensIssuedBefore }, { name: 'revoking' }),
    )
    expect(spec).toMatchObject({ revocations, tokensIssuedBefore })
  })

  test('is created without a status, even if the request has one', async () => {
    const status = { tenantID: 'another-tenant', conditions: [] }
    const made = await server.client.create({ ...chatTenant({}, { name: 'claims' }), status })
    expect(made['status']).toBeUndefined()
    const changed = await server.client.patch(tenantRef('claims'), { status })
    expect(changed['status']).toBeUndefined()
  })

  test('merges the rules of several field managers by name', async () => {
    const rules = (name: string): KubeObject =>
      chatTenant({ channels: [{ name, match: { type: 'Literal', value: name } }] }, { name: 'merged' })
    await server.client.apply(rules('one'), { fieldManager: 'team' })
    const { spec } = await server.client.apply(rules('two'), { fieldManager: 'platform' })
    expect(spec.channels.map(({ name }: { name: string }) => name)).toEqual(['one', 'two'])
  })

  test('shows its readiness and usage in kubectl get', async () => {
    const time = '2026-11-20T10:00:00Z'
    const status: ChatTenantStatus = {
      observedGeneration: 1,
      conditions: ['Ready', 'Programmed'].map((type) => ({
        type,
        status: 'True',
        reason: 'AllGood',
        message: 'All gateways enforce the policy.',
        lastTransitionTime: time,
        observedGeneration: 1,
      })),
      tenantID: 'tenant-1',
      revision: 'abc',
      dataplane: { gateways: 2, synced: 2, lastProgrammedTime: time },
      effective: { plan: 'free', limits: { connections: { max: 100 } }, channelRules: 0 },
      usage: { connections: 42, peakConnections: 50, publishRate: 3, rejected: 0, asOf: time },
      binding: { name: 'row-credentials' },
      credentials: { activeKeyIDs: ['k1'], nextRotation: time, secretResourceVersion: '7' },
      endpoints: [{ type: 'Chat', url: 'wss://chat.example/default/row/ws' }],
    }
    await server.client.create(chatTenant({}, { name: 'row' }))
    const object = { apiVersion, kind: 'ChatTenant', metadata: { name: 'row', namespace: 'default' }, status }
    const written = await server.client.apply(object, {
      fieldManager: 'parley-controller',
      subresource: 'status',
    })
    // The API server prunes nothing, because it knows every field that the controller writes.
    expect(written['status']).toEqual(status)
    expect(ChatTenantStatus.parse(written['status'])).toEqual(status)

    const [head = '', row = ''] = (await server.kubectl(['get', 'ct', 'row', '-o', 'wide'])).split('\n')
    const columns = [
      'NAME',
      'PLAN',
      'READY',
      'CONNECTIONS',
      'LIMIT',
      'PROGRAMMED',
      'REASON',
      'ENDPOINT',
      'TENANTID',
      'AGE',
    ]
    expect(head.trim().split(/\s+/)).toEqual(columns)
    const cells = [
      'row',
      'free',
      'True',
      '42',
      '100',
      'True',
      'AllGood',
      'wss://chat.example/default/row/ws',
      'tenant-1',
    ]
    expect(row.trim().split(/\s+/).slice(0, -1)).toEqual(cells)
    const narrow = (await server.kubectl(['get', 'ct', 'row'])).split('\n')[0]
    expect(narrow?.trim().split(/\s+/)).toEqual(['NAME', 'PLAN', 'READY', 'CONNECTIONS', 'LIMIT', 'AGE'])

    await server.kubectl(['wait', '--for=condition=Programmed', 'ct/row', '--timeout=10s'])
  })

  test('cannot have two conditions of one type', async () => {
    const condition = {
      type: 'Ready',
      status: 'True',
      reason: 'Ok',
      message: 'Yes.',
      lastTransitionTime: '2026-11-20T10:00:00Z',
    }
    await server.client.create(chatTenant({}, { name: 'twice' }))
    const status = { conditions: [condition, condition] }
    expect(
      await refusalsOf(server.client.patch(tenantRef('twice'), { status }, { subresource: 'status' })),
    ).toEqual([expect.stringContaining('status.conditions[1]: Duplicate value')])
  })
})

test('a plan gets the default of every limit', async () => {
  const { spec } = await server.client.create(chatPlan({ allowedNamespaces: {} }, 'defaults'))
  expect(spec).toMatchObject({
    limits: {
      connections: { max: 1000, perUser: 20, connectsPerSecond: 100, commandsPerSecond: 50 },
      messages: { publishPerSecond: 100, maxBytes: 16_384, fanoutPerSecond: 10_000 },
      retention: { historyMessages: 1000, historyTTL: '24h', presence: true },
    },
    enforcement: 'Enforce',
    preemption: 'Never',
    allowedNamespaces: { from: 'All' },
  })
})

test('a credential is selectable by its tenant', async () => {
  for (const tenant of ['acme', 'globex'])
    await server.client.create(chatCredential({ tenantRef: { name: tenant } }, { name: `bot-of-${tenant}` }))
  const found = await server.client.list(
    { apiVersion, kind: 'ChatCredential', namespace: 'default' },
    'fieldSelector=spec.tenantRef.name%3Dacme',
  )
  expect(found.map(({ metadata }) => metadata.name)).toEqual(['bot-of-acme'])
})
