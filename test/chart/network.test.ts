// The NetworkPolicies of the chart: who may reach the operators' ports, which have no authentication.
import { expect, test } from 'vitest'
import { find, render, type Tree } from './rendering.js'

const portsOf = ({ spec }: Tree): number[] =>
  (spec.ingress ?? []).flatMap(({ ports }: Tree) => ports.map(({ port }: Tree) => port))

const ruleFor = ({ spec }: Tree, port: number): Tree =>
  (spec.ingress ?? []).find(({ ports }: Tree) => ports.some((one: Tree) => one.port === port))

test.each([
  ['-gateway', 9090],
  ['-controller', 9091],
])('only the namespace monitoring reaches the operators’ port of %s by default', async (name, port) => {
  expect(ruleFor(find(await render({}), 'NetworkPolicy', name), port).from).toEqual([
    { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } },
  ])
})

test('metricsFrom replaces the sources', async () => {
  const source = { podSelector: { matchLabels: { app: 'prometheus' } } }
  const objects = await render({ networkPolicy: { metricsFrom: [source] } })
  expect(ruleFor(find(objects, 'NetworkPolicy', '-gateway'), 9090).from).toEqual([source])
  expect(ruleFor(find(objects, 'NetworkPolicy', '-controller'), 9091).from).toEqual([source])
})

test('without sources nobody reaches the operators’ ports, instead of everybody', async () => {
  const objects = await render({ networkPolicy: { metricsFrom: [] } })
  expect(portsOf(find(objects, 'NetworkPolicy', '-gateway'))).toEqual([8000])
  const { spec } = find(objects, 'NetworkPolicy', '-controller')
  expect([spec.policyTypes, spec.ingress]).toEqual([['Ingress', 'Egress'], undefined])
})

test('every rule that admits everybody is for the clients’ port', async () => {
  const objects = await render({})
  const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy')
  expect(policies.length).toBeGreaterThanOrEqual(3)
  const open = policies.flatMap(({ spec }) => (spec.ingress ?? []).filter(({ from }: Tree) => !from))
  expect(open.flatMap(({ ports }: Tree) => ports.map(({ port }: Tree) => port))).toEqual([8000])
})

test('/stats names channels only with the value gateway.statsNames', async () => {
  const argsOf = async (values: Tree): Promise<string[]> =>
    find(await render(values), 'Deployment', '-gateway').spec.template.spec.containers[0].args
  expect(await argsOf({})).not.toContain('--stats-names')
  expect(await argsOf({ gateway: { statsNames: true } })).toContain('--stats-names')
})
