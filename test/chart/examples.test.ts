// Checks of every set of values in charts/parley/ci, and of the defaults.
import { describe, expect, test } from 'vitest'
import { examples, kinds, pods, render, type Tree } from './rendering.js'

/** Cluster-scoped kinds that the chart creates. */
const clusterScoped = new Set([
  'CustomResourceDefinition',
  'ClusterRole',
  'ClusterRoleBinding',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
])

describe.each([['defaults', {}] as [string, Tree], ...(await examples())])('%s', async (_name, values) => {
  const objects = await render(values)

  test('renders objects with unique names', () => {
    expect(pods(objects).length).toBeGreaterThan(0)
    expect(kinds(objects).toSorted()).toEqual([...new Set(kinds(objects))].toSorted())
  })

  test('gives each object a valid name, its namespace and the recommended labels', () => {
    for (const { kind, metadata } of objects) {
      expect(metadata.name).toMatch(/^[a-z0-9.-]{1,63}$/)
      expect(metadata.namespace).toBe(clusterScoped.has(kind) ? undefined : 'chat')
      expect(metadata.labels).toMatchObject({
        'app.kubernetes.io/name': values.nameOverride ?? 'parley',
        'app.kubernetes.io/instance': 'parley',
        'app.kubernetes.io/component': expect.any(String),
        'app.kubernetes.io/part-of': 'parley',
        'app.kubernetes.io/version': expect.any(String),
        'app.kubernetes.io/managed-by': 'Helm',
        ...values.commonLabels,
      })
    }
  })

  test('meets the restricted Pod Security Standard', () => {
    for (const { spec } of pods(objects)) {
      expect(spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      expect([spec.hostNetwork, spec.hostPID, spec.hostIPC]).toEqual([undefined, undefined, undefined])
      for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        for (const { hostPort } of container.ports) expect(hostPort).toBeUndefined()
      }
      for (const volume of spec.volumes ?? []) expect(volume.hostPath).toBeUndefined()
    }
  })

  test('selects pods by labels that they have, and that no upgrade changes', () => {
    const selectors: Tree[] = objects
      .filter(({ kind, spec }) => kind !== 'ServiceMonitor' && (spec?.selector ?? spec?.podSelector))
      .map(({ spec }) => spec.selector?.matchLabels ?? spec.selector ?? spec.podSelector.matchLabels)
    const labels = pods(objects).map(({ metadata }) => metadata.labels)
    expect(selectors.length).toBeGreaterThan(0)
    for (const selector of selectors) {
      expect(selector).toEqual({
        'app.kubernetes.io/name': values.nameOverride ?? 'parley',
        'app.kubernetes.io/instance': 'parley',
        'app.kubernetes.io/component': expect.any(String),
      })
      const pairs = Object.entries(selector)
      expect(labels.filter((own) => pairs.every(([key, value]) => own[key] === value))).toHaveLength(1)
    }
  })

  test('limits the memory of each container, and sets no environment variable twice', () => {
    for (const { spec } of pods(objects)) {
      for (const container of spec.containers) {
        expect(container.resources.limits.memory).toBeDefined()
        expect(container.resources.requests.cpu).toBeDefined()
        const names = (container.env ?? []).map((variable: Tree) => variable.name)
        expect(names).toEqual([...new Set(names)])
      }
    }
  })

  test('writes secrets into Secrets only', () => {
    const open = objects.filter(({ kind }) => kind !== 'Secret')
    const secrets = objects
      .filter(({ kind }) => kind === 'Secret')
      .flatMap(({ data }) => Object.values<string>(data).flatMap((encoded) => [encoded, atob(encoded)]))
    for (const secret of secrets) expect(JSON.stringify(open)).not.toContain(secret)
  })
})
