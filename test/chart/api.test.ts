// The API that comes with the chart: CRDs, admission policies, roles. What they say is tested where they are made; here, that it arrives.
import { describe, expect, test } from 'vitest'
import { manifestsIn } from '../support/kube-parley.js'
import { find, kinds, render, type Tree } from './rendering.js'

function sameAs(objects: Tree[], wanted: Tree): void {
  const found = find(objects, wanted.kind, wanted.metadata.name)
  const { metadata, ...rest } = wanted
  const { metadata: foundMetadata, ...foundRest } = found
  expect(foundRest).toEqual(rest)
  expect(foundMetadata.labels).toMatchObject(metadata.labels)
  for (const [name, value] of Object.entries(metadata.annotations ?? {}))
    expect(foundMetadata.annotations[name]).toBe(value)
}

describe('CRDs', () => {
  test('come with the release, and stay when it goes', async () => {
    const objects = await render({})
    const crds = await manifestsIn('crds')
    expect(crds).toHaveLength(3)
    for (const crd of crds) {
      sameAs(objects, crd)
      const { annotations } = find(objects, 'CustomResourceDefinition', crd.metadata.name).metadata
      expect(annotations['helm.sh/resource-policy']).toBe('keep')
    }
  })

  test('go with it when the values say so, or come from elsewhere', async () => {
    const objects = await render({ crds: { keep: false } })
    for (const { kind, metadata } of objects)
      if (kind === 'CustomResourceDefinition')
        expect(metadata.annotations ?? {}).not.toHaveProperty('helm.sh/resource-policy')
    const without = await render({ crds: { enabled: false } })
    expect(kinds(without).filter((name) => name.startsWith('CustomResourceDefinition'))).toEqual([])
  })
})

test('admission policies come with the release unless another brings them', async () => {
  const policies = await manifestsIn('policies')
  expect(policies.length).toBeGreaterThan(0)
  for (const policy of policies) sameAs(await render({}), policy)
  const without = await render({ admissionPolicies: { enabled: false } })
  expect(kinds(without).filter((name) => name.startsWith('Validating'))).toEqual([])
})

describe('roles', () => {
  test('for people come with the release unless another brings them', async () => {
    const people = (await manifestsIn('rbac')).filter(({ metadata }) => metadata.name !== 'parley-controller')
    expect(people.length).toBeGreaterThan(0)
    for (const role of people) sameAs(await render({}), role)
    const without = await render({ rbac: { people: false } })
    expect(kinds(without).filter((name) => name.startsWith('ClusterRole parley-'))).toEqual([])
  })

  test('give the controller what it needs, in its own name', async () => {
    const objects = await render({}, { name: 'team', namespace: 'tools' })
    const written = (await manifestsIn('rbac')).filter(
      ({ metadata }) => metadata.name === 'parley-controller',
    )
    const rulesOf = (all: Tree[], kind: string) => find(all, kind, '-controller').rules
    expect(rulesOf(objects, 'ClusterRole')).toEqual(rulesOf(written, 'ClusterRole'))
    // Its Lease, too, has a name of its own.
    const { args } = find(objects, 'Deployment', '-controller').spec.template.spec.containers[0]
    expect(args).toContain('--lease-name=team-parley-controller')
    const [create, keep] = rulesOf(written, 'Role')
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
    // Two releases of one name in two namespaces do not share what is the cluster's.
    const other = await render({}, { name: 'team', namespace: 'other' })
    expect(find(other, 'ClusterRole', '-controller').metadata.name).not.toBe(
      find(objects, 'ClusterRole', '-controller').metadata.name,
    )
  })

  test('are made by you when the values say so', async () => {
    const without = await render({ rbac: { create: false, people: false } })
    expect(kinds(without).filter((name) => /Role/.test(name))).toEqual([])
  })
})
