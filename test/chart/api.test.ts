// The API objects of the chart: CRDs, admission policies and roles. Other tests cover their contents; these
// tests check that the chart installs them unchanged.
import { describe, expect, test } from 'vitest'
import { manifestsIn } from '../support/kube-parley.js'
import { find, kinds, render, type Tree } from './rendering.js'

function expectSame(objects: Tree[], expected: Tree): void {
  const found = find(objects, expected.kind, expected.metadata.name)
  const { metadata, ...rest } = expected
  const { metadata: foundMetadata, ...foundRest } = found
  expect(foundRest).toEqual(rest)
  expect(foundMetadata.labels).toMatchObject(metadata.labels)
  for (const [name, value] of Object.entries(metadata.annotations ?? {}))
    expect(foundMetadata.annotations[name]).toBe(value)
}

describe('CRDs', () => {
  test('are installed with the release, and kept when it is uninstalled', async () => {
    const objects = await render({})
    const crds = await manifestsIn('crds')
    expect(crds).toHaveLength(3)
    for (const crd of crds) {
      expectSame(objects, crd)
      const { annotations } = find(objects, 'CustomResourceDefinition', crd.metadata.name).metadata
      expect(annotations['helm.sh/resource-policy']).toBe('keep')
    }
  })

  test('are removed with the release, or not installed at all, when the values say so', async () => {
    const objects = await render({ crds: { keep: false } })
    for (const { kind, metadata } of objects)
      if (kind === 'CustomResourceDefinition')
        expect(metadata.annotations ?? {}).not.toHaveProperty('helm.sh/resource-policy')
    const without = await render({ crds: { enabled: false } })
    expect(kinds(without).filter((name) => name.startsWith('CustomResourceDefinition'))).toEqual([])
  })
})

test('admission policies are installed with the release unless the values disable them', async () => {
  const policies = await manifestsIn('policies')
  expect(policies.length).toBeGreaterThan(0)
  for (const policy of policies) expectSame(await render({}), policy)
  const without = await render({ admissionPolicies: { enabled: false } })
  expect(kinds(without).filter((name) => name.startsWith('Validating'))).toEqual([])
})

describe('roles', () => {
  test('for users are installed with the release unless the values disable them', async () => {
    const userRoles = (await manifestsIn('rbac')).filter(
      ({ metadata }) => metadata.name !== 'parley-controller',
    )
    expect(userRoles.length).toBeGreaterThan(0)
    for (const role of userRoles) expectSame(await render({}), role)
    const without = await render({ rbac: { people: false } })
    expect(kinds(without).filter((name) => name.startsWith('ClusterRole parley-'))).toEqual([])
  })

  test('grant the controller its permissions, under the names of the release', async () => {
    const objects = await render({}, { name: 'team', namespace: 'tools' })
    const manifests = (await manifestsIn('rbac')).filter(
      ({ metadata }) => metadata.name === 'parley-controller',
    )
    const rulesOf = (all: Tree[], kind: string) => find(all, kind, '-controller').rules
    expect(rulesOf(objects, 'ClusterRole')).toEqual(rulesOf(manifests, 'ClusterRole'))
    // The Lease has the name of the release too.
    const { args } = find(objects, 'Deployment', '-controller').spec.template.spec.containers[0]
    expect(args).toContain('--lease-name=team-parley-controller')
    const [create, keep] = rulesOf(manifests, 'Role')
    expect(rulesOf(objects, 'Role')).toEqual([create, { ...keep, resourceNames: ['team-parley-controller'] }])

    const account = { kind: 'ServiceAccount', name: 'team-parley-controller', namespace: 'tools' }
    expect(find(objects, 'ServiceAccount', '-controller').metadata).toMatchObject({
      name: account.name,
      namespace: account.namespace,
    })
    expect(find(objects, 'Deployment', '-controller').spec.template.spec.serviceAccountName).toBe(
      account.name,
    )
    for (const kind of ['ClusterRole', 'Role']) {
      const binding = find(objects, `${kind}Binding`, '-controller')
      expect(binding.subjects).toEqual([account])
      expect(binding.roleRef).toEqual({
        apiGroup: 'rbac.authorization.k8s.io',
        kind,
        name: find(objects, kind, '-controller').metadata.name,
      })
    }
    // Two releases of the same name in two namespaces do not share cluster-scoped objects.
    const other = await render({}, { name: 'team', namespace: 'other' })
    expect(find(other, 'ClusterRole', '-controller').metadata.name).not.toBe(
      find(objects, 'ClusterRole', '-controller').metadata.name,
    )
  })

  test('are not created when the values say so', async () => {
    const without = await render({ rbac: { create: false, people: false } })
    expect(kinds(without).filter((name) => /Role/.test(name))).toEqual([])
  })
})
