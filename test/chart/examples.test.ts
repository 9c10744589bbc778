// What holds for every set of values that the chart brings along, and for its defaults.
import { describe, expect, test } from 'vitest'
import { examples, kinds, pods, render, type Tree } from './rendering.js'

/** Cluster-scoped kinds that the chart makes. */
const clusterScoped = [
  'CustomResourceDefinition',
  'ClusterRole',
  'ClusterRoleBinding',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
]

describe.each([['defaults', {}] as [string, Tree], ...(await examples())])('%s', async (_name, values) => {
  const objects = await render(values)

  test('renders objects, and none twice', () => {
    expect(pods(objects).length).toBeGreaterThan(0)
    expect(kinds(objects).toSorted()).toEqual([...new Set(kinds(objects))].toSorted())
  })

  test('names, places and labels each object as Kubernetes recommends', () => {
    for (const { kind, metadata } of objects) {
      expect(metadata.name, kind).toMatch(/^[a-z0-9.-]{1,63}$/)
      expect(metadata.namespace, kind).toBe(clusterScoped.includes(kind) ? undefined : 'chat')
      expect(metadata.labels, kind).toMatchObject({
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

  test('keeps to the restricted Pod Security Standard', () => {
    for (const [name, { spec }] of pods(objects)) {
      expect(spec.securityContext, name).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      })
      expect([spec.hostNetwork, spec.hostPID, spec.hostIPC], name).toEqual([undefined, undefined, undefined])
      for (const container of [...spec.containers, ...(spec.initContainers ?? [])]) {
        expect(container.securityContext, name).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        })
        for (const { hostPort } of container.ports) expect(hostPort).toBeUndefined()
      }
      for (const volume of spec.volumes ?? []) expect(volume.hostPath, name).toBeUndefined()
    }
  })

  test('selects pods by labels that they have, and that no release changes', () => {
    const selectors = objects
      .map(({ kind, metadata, spec }): [string, Tree] => [
        `${kind} ${metadata.name}`,
        kind === 'NetworkPolicy' ? spec.podSelector : spec?.selector,
      ])
      .filter(([name, selector]) => selector !== undefined && !name.startsWith('ServiceMonitor'))
    const labels = pods(objects).map(([, { metadata }]) => metadata.labels)
    expect(selectors.length).toBeGreaterThan(0)
    for (const [name, selector] of selectors) {
      const wanted = Object.entries<string>(selector.matchLabels ?? selector)
      expect(wanted.map(([key]) => key).toSorted(), name).toEqual([
        'app.kubernetes.io/component',
        'app.kubernetes.io/instance',
        'app.kubernetes.io/name',
      ])
      expect(
        labels.filter((has) => wanted.every(([key, value]) => has[key] === value)),
        name,
      ).toHaveLength(1)
    }
  })

  test('bounds the memory of each container, and names no environment variable twice', () => {
    for (const [name, { spec }] of pods(objects)) {
      for (const container of spec.containers) {
        expect(container.resources.limits.memory, name).toBeDefined()
        expect(container.resources.requests.cpu, name).toBeDefined()
        const names = (container.env ?? []).map((variable: Tree) => variable.name)
        expect(names.toSorted(), name).toEqual([...new Set(names)].toSorted())
      }
    }
  })

  test('writes no secret where others can read it', () => {
    const open = objects.filter(({ kind }) => kind !== 'Secret')
    const secrets = objects
      .filter(({ kind }) => kind === 'Secret')
      .flatMap(({ data }) => Object.values<string>(data).flatMap((encoded) => [encoded, atob(encoded)]))
    for (const secret of secrets) expect(JSON.stringify(open)).not.toContain(secret)
  })
})
