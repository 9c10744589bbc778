// Authorization: which users may use which plan in which namespace, and what the roles in manifests/rbac
// allow users and the controller to do.
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { KubeServer, kubeStartMsMax } from '../support/kube-apiserver.js'
import type { KubeClient, KubeObject } from '../support/kube-client.js'
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
let admin: KubeClient

beforeAll(async () => {
  server = await KubeServer.start()
  admin = server.client
  await installCrds(admin)
  for (const name of ['parley', 'team-a', 'team-b']) await admin.create(namespace(name))
  for (const name of ['free', 'gold']) await admin.create(chatPlan({}, name))
  for (const object of await manifestsIn('rbac')) await admin.apply(object)
  for (const object of await manifestsIn('policies')) await admin.apply(object)
  await bind('parley-edit', 'editor')
  await bind('parley-view', 'viewer')
  await bind('parley-plans', 'platform')
  // The server applies new policies and roles after a short delay.
  await until(
    'the policies',
    async () => {
      const [refusal = ''] = await tryCreate(admin.as('editor'))
      return refusal.includes('may not use ChatPlan "free"')
    },
    { deadlineMs: 60_000 },
  )
}, kubeStartMsMax)
afterAll(async () => server?.stop())

/** Binds a cluster role to a user in the whole cluster. */
async function bind(role: string, user: string): Promise<void> {
  await admin.create({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: `${role}-${user}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  })
}

/** Lets the members of `group` use the plan, in one namespace or, with an empty `ns`, in all namespaces. */
async function letUse(plan: string, { group, ns = '' }: { group: string; ns?: string }): Promise<void> {
  const rbac = 'rbac.authorization.k8s.io/v1'
  const name = `use-${plan}-${group}`
  await admin.create({
    apiVersion: rbac,
    kind: 'ClusterRole',
    metadata: { name },
    rules: [{ apiGroups: ['parley.chat'], resources: ['chatplans'], resourceNames: [plan], verbs: ['use'] }],
  })
  await admin.create({
    apiVersion: rbac,
    kind: ns === '' ? 'ClusterRoleBinding' : 'RoleBinding',
    metadata: ns === '' ? { name } : { name, namespace: ns },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: group }],
  })
  const user = admin.as('editor', [group])
  await until(
    'the right to use the plan',
    async () => (await tryCreate(user, { plan, ns: ns || 'team-a' })).length === 0,
  )
}

/** Returns why the user may not create a tenant, or an empty list. The request is a dry run. */
function tryCreate(user: KubeClient, { plan = 'free', ns = 'team-a' } = {}): Promise<string[]> {
  return refusalsOf(
    user.create(chatTenant({ planRef: { name: plan } }, { name: 'tried', ns }), { dryRun: true }),
  )
}

const tenantIn = (ns: string, name = 'acme') => ({ apiVersion, kind: 'ChatTenant', namespace: ns, name })

describe('plans', () => {
  test('a plan requires the verb "use" on it', async () => {
    expect(await tryCreate(admin.as('editor'), { plan: 'gold' })).toEqual([
      expect.stringContaining(
        'spec.planRef.name: "editor" may not use ChatPlan "gold": ask the platform team',
      ),
    ])
    expect(await tryCreate(admin, { plan: 'gold' })).toEqual([])
  })

  test('a ClusterRoleBinding allows the use of its plan only, in every namespace', async () => {
    await letUse('free', { group: 'everybody' })
    const user = admin.as('editor', ['everybody'])
    expect(await tryCreate(user, { ns: 'team-b' })).toEqual([])
    expect(await tryCreate(user, { plan: 'gold', ns: 'team-b' })).toEqual([
      expect.stringContaining('may not use'),
    ])
  })

  test('a RoleBinding allows the use of its plan in its namespace', async () => {
    await letUse('gold', { group: 'rich', ns: 'team-a' })
    const user = admin.as('editor', ['rich'])
    expect(await tryCreate(user, { plan: 'gold', ns: 'team-a' })).toEqual([])
    expect(await tryCreate(user, { plan: 'gold', ns: 'team-b' })).toEqual([
      expect.stringContaining('may not use'),
    ])
  })

  test('the example in docs/access.md gives a team its plan', async () => {
    const page = await readFile(new URL('../../docs/access.md', import.meta.url), 'utf8')
    const [, yaml = ''] = /```yaml\n(.*?)```/s.exec(page) ?? []
    for (const document of parseAllDocuments(yaml)) await admin.apply(document.toJS() as KubeObject)
    const user = admin.as('editor', ['team-a-developers'])
    await until('the plan', async () => (await tryCreate(user, { plan: 'gold' })).length === 0)
    expect(await tryCreate(user, { plan: 'gold', ns: 'team-b' })).toEqual([
      expect.stringContaining('may not use'),
    ])
  })

  test('a tenant can be edited without the right to its plan, but not moved to another plan', async () => {
    await admin.create(chatTenant({ planRef: { name: 'free' } }, { name: 'edited', ns: 'team-b' }))
    const user = admin.as('editor')
    await user.patch(tenantIn('team-b', 'edited'), { spec: { displayName: 'Edited' } })
    expect(
      await refusalsOf(user.patch(tenantIn('team-b', 'edited'), { spec: { planRef: { name: 'gold' } } })),
    ).toEqual([expect.stringContaining('may not use ChatPlan "gold"')])
  })

  test('a plan that does not exist is accepted, because objects may be created in any order', async () => {
    expect(await tryCreate(admin, { plan: 'not-yet' })).toEqual([])
  })

  describe('a plan for some namespaces', () => {
    const bySelector = (selector: object): KubeObject =>
      chatPlan({ allowedNamespaces: { from: 'Selector', selector } }, 'chosen')
    const chosen = { apiVersion, kind: 'ChatPlan', name: 'chosen' }
    const notFor = (ns: string) => [
      expect.stringContaining(
        `spec.planRef.name: ChatPlan "chosen" is not for tenants in namespace "${ns}".`,
      ),
    ]

    beforeEach(async () => {
      await admin.apply(namespace('team-a', { tier: 'gold' }))
      await admin.apply(namespace('team-b', { tier: 'lead', team: 'b' }))
    })

    test.each<[string, KubeObject, string[]]>([
      ['all', chatPlan({ allowedNamespaces: { from: 'All' } }, 'chosen'), ['team-a', 'team-b']],
      ['none', chatPlan({ allowedNamespaces: { from: 'None' } }, 'chosen'), []],
      ['labels', bySelector({ matchLabels: { tier: 'gold' } }), ['team-a']],
      ['a name', bySelector({ matchLabels: { 'kubernetes.io/metadata.name': 'team-b' } }), ['team-b']],
      ['an empty selector', bySelector({}), ['team-a', 'team-b']],
      [
        'In',
        bySelector({ matchExpressions: [{ key: 'tier', operator: 'In', values: ['x', 'lead'] }] }),
        ['team-b'],
      ],
      [
        'NotIn',
        bySelector({ matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['b'] }] }),
        ['team-a'],
      ],
      ['Exists', bySelector({ matchExpressions: [{ key: 'team', operator: 'Exists' }] }), ['team-b']],
      [
        'DoesNotExist',
        bySelector({ matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }] }),
        ['team-a'],
      ],
      [
        'labels and expressions together',
        bySelector({
          matchLabels: { tier: 'lead' },
          matchExpressions: [{ key: 'team', operator: 'DoesNotExist' }],
        }),
        [],
      ],
    ])('is selected by %s', async (_, plan, allowed) => {
      if (await admin.find(chosen)) await admin.delete(chosen)
      await admin.create(plan)
      // The admission plugin reads plans and namespaces from its own caches, which are updated after a short
      // delay.
      await until(`the plan for ${allowed.join(', ') || 'no namespace'}`, async () => {
        for (const ns of ['team-a', 'team-b']) {
          const refusals = await tryCreate(admin, { plan: 'chosen', ns })
          expect(refusals).toEqual(allowed.includes(ns) ? [] : notFor(ns))
        }
        return true
      })
    })
  })
})

describe('roles', () => {
  const credential = { apiVersion, kind: 'ChatCredential', namespace: 'team-a', name: 'bot' }
  const plan = { apiVersion, kind: 'ChatPlan', name: 'free' }
  const denied = (verb: string) => [expect.stringContaining(`cannot ${verb}`)]
  const forged = { status: { tenantID: 'another' } }

  beforeAll(async () => {
    await admin.create(chatTenant({}, { ns: 'team-a' }))
    await admin.create(chatCredential({}, { ns: 'team-a' }))
  })

  test('view reads all three kinds and cannot change them', async () => {
    const user = admin.as('viewer')
    for (const ref of [tenantIn('team-a'), credential, plan]) {
      await user.get(ref)
      await user.list(ref)
    }
    expect(await refusalsOf(user.patch(tenantIn('team-a'), { spec: { suspend: true } }))).toEqual(
      denied('patch'),
    )
    expect(await tryCreate(user)).toEqual(denied('create'))
  })

  test('edit can change tenants and credentials', async () => {
    const user = admin.as('editor')
    await user.patch(tenantIn('team-a'), { spec: { suspend: true } })
    await user.patch(credential, { spec: { role: 'ReadOnly' } })
    expect(await admin.get(tenantIn('team-a'))).toMatchObject({ spec: { suspend: true } })
    expect(await admin.get(credential)).toMatchObject({ spec: { role: 'ReadOnly' } })
    await user.create(chatCredential({}, { ns: 'team-a', name: 'another' }))
    await user.delete({ ...credential, name: 'another' })
    expect(await admin.find({ ...credential, name: 'another' })).toBeUndefined()
  })

  test('edit cannot change plans, status or finalizers', async () => {
    const user = admin.as('editor')
    expect(await refusalsOf(user.patch(plan, { spec: { enforcement: 'Warn' } }))).toEqual(denied('patch'))
    expect(await refusalsOf(user.create(chatPlan({}, 'own')))).toEqual(denied('create'))
    for (const subresource of ['status', 'finalizers']) {
      const answer = await user.request('PATCH', await user.pathOf(tenantIn('team-a'), subresource), {
        body: forged,
        contentType: 'application/merge-patch+json',
      })
      expect(answer).toMatchObject({
        status: 403,
        body: { message: expect.stringContaining(`chattenants/${subresource}`) },
      })
    }
    // A status in a patch of the object itself is ignored.
    await user.patch(tenantIn('team-a'), forged)
    expect((await admin.get(tenantIn('team-a')))['status']).toBeUndefined()
  })

  test('the platform team manages plans and may use all of them', async () => {
    const user = admin.as('platform')
    await user.patch(plan, { spec: { enforcement: 'Warn' } })
    await user.create(chatPlan({}, 'new'))
    await user.delete({ ...plan, name: 'new' })
    expect(await tryCreate(user)).toEqual(denied('create'))
  })

  test('are aggregated to the roles of Kubernetes and of service binding', async () => {
    const roles = await admin.list(
      { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' },
      'labelSelector=app.kubernetes.io%2Fpart-of%3Dparley',
    )
    const labels = roles.map(({ metadata }) => [
      metadata.name,
      Object.keys(Object(metadata['labels'])).filter((label) => !label.startsWith('app.')),
    ])
    expect(Object.fromEntries(labels)).toEqual({
      'parley-view': ['rbac.authorization.k8s.io/aggregate-to-view'],
      'parley-edit': ['rbac.authorization.k8s.io/aggregate-to-edit'],
      'parley-admin': ['rbac.authorization.k8s.io/aggregate-to-admin'],
      'parley-plans': [],
      'parley-service-binding': ['servicebinding.io/controller'],
      'parley-controller': [],
    })
    const aggregated = roles.filter(({ metadata }) =>
      Object.keys(Object(metadata['labels'])).some((label) => label.includes('aggregate-to')),
    )
    const granted = aggregated.flatMap(({ rules }) =>
      rules.flatMap(({ resources, verbs }: { resources: string[]; verbs: string[] }) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
      ),
    )
    expect(granted.filter((right) => /\/|\*|^use|^(?!get|list|watch).* chatplans/.test(right))).toEqual([])
  })
})

describe('the controller', () => {
  const controller = (): KubeClient =>
    admin.as('system:serviceaccount:parley:parley-controller', [
      'system:serviceaccounts',
      'system:serviceaccounts:parley',
    ])

  beforeAll(async () => {
    await admin.create(chatTenant({}, { ns: 'team-b' }))
    await admin.create(chatCredential({}, { ns: 'team-b' }))
  })

  test.each([chatTenant({}, { ns: 'team-b' }), chatCredential({}, { ns: 'team-b' }), chatPlan()])(
    'reads every $kind and writes its status',
    async ({ kind = '', metadata }) => {
      expect(await controller().list({ apiVersion, kind })).not.toEqual([])
      const body = { apiVersion, kind, metadata, status: { observedGeneration: 1 } }
      const fieldManager = 'parley-controller'
      expect(await controller().apply(body, { subresource: 'status', fieldManager })).toMatchObject({
        status: { observedGeneration: 1 },
      })
    },
  )

  test('manages Secrets in every namespace', async () => {
    const ref = { apiVersion: 'v1', kind: 'Secret', namespace: 'team-b', name: 'own' }
    await controller().apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'own', namespace: 'team-b' },
      stringData: { key: 'value' },
    })
    expect(await controller().list({ apiVersion: 'v1', kind: 'Secret' })).toHaveLength(1)
    expect(await controller().get(ref)).toMatchObject({ data: { key: 'dmFsdWU=' } })
    await controller().delete(ref)
  })

  test('writes Events, holds its Lease, and reads namespaces', async () => {
    expect(await controller().list({ apiVersion: 'v1', kind: 'Namespace' })).not.toEqual([])
    const lease = await controller().create({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'parley-controller', namespace: 'parley' },
      spec: { holderIdentity: 'me' },
    })
    const renewed = { ...lease, spec: { holderIdentity: 'other' } }
    expect(await controller().replace(renewed)).toMatchObject({ spec: { holderIdentity: 'other' } })
    const foreign = await admin.create({ ...lease, metadata: { name: 'foreign', namespace: 'parley' } })
    expect(await refusalsOf(controller().replace(foreign))).toEqual([
      expect.stringContaining('cannot update'),
    ])
    const event = await controller().create({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: 'acme.1', namespace: 'team-b' },
      eventTime: '2026-11-20T10:00:00.000000Z',
      action: 'Compile',
      reason: 'InvalidMatch',
      note: 'A sentence.',
      type: 'Warning',
      reportingController: 'parley.chat/controller',
      reportingInstance: 'me',
      regarding: { apiVersion, kind: 'ChatTenant', name: 'acme', namespace: 'team-b' },
    })
    expect(event).toMatchObject({ note: 'A sentence.' })
  })

  test('cannot change a spec, delete a tenant, or hold a Lease in another namespace', async () => {
    const change = { spec: { suspend: true } }
    expect(await refusalsOf(controller().patch(tenantIn('team-b'), change))).toEqual([
      expect.stringContaining('cannot patch'),
    ])
    expect(await refusalsOf(controller().delete(tenantIn('team-b')))).toEqual([
      expect.stringContaining('cannot delete'),
    ])
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'x', namespace: 'team-b' },
      spec: {},
    }
    expect(await refusalsOf(controller().create(lease))).toEqual([expect.stringContaining('cannot create')])
    const map = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'team-b' }
    expect(await refusalsOf(controller().list(map))).toEqual([expect.stringContaining('cannot list')])
  })
})
