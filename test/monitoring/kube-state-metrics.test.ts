// The kube-state-metrics example names only kinds and fields that exist in the custom resource definitions,
// and grants the rights to read them.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { manifestsIn } from '../support/kube-parley.js'

type Path = readonly string[]

interface Values {
  readonly rbac: { extraRules: { apiGroups: string[]; resources: string[]; verbs: string[] }[] }
  readonly customResourceState: {
    enabled: boolean
    config: { kind: string; spec: { resources: Resource[] } }
  }
}

interface Resource {
  readonly groupVersionKind: { group: string; version: string; kind: string }
  readonly labelsFromPath: Record<string, Path>
  readonly metrics: { name: string; help: string; each: Each }[]
}

type Each =
  | { type: 'Gauge'; gauge: { path: Path; valueFrom?: Path; labelsFromPath?: Record<string, Path> } }
  | { type: 'Info'; info: { labelsFromPath: Record<string, Path> } }

interface Schema {
  readonly type: string
  readonly properties?: Record<string, Schema>
  readonly items?: Schema
}

const file = new URL('../../examples/kube-state-metrics/values.yaml', import.meta.url)
const values = parse(await readFile(file, 'utf8')) as Values
const { resources } = values.customResourceState.config.spec
const crds = await manifestsIn('crds')

/**
 * Yields the path of every field that the configuration names: from the root of the object, or within the
 * items of a list.
 */
function* pathsOf({ labelsFromPath, metrics }: Resource): Iterable<Path> {
  yield* Object.values(labelsFromPath)
  for (const { each } of metrics) {
    if (each.type === 'Info') yield* Object.values(each.info.labelsFromPath)
    else {
      const { labelsFromPath: labels = {}, path, valueFrom = [] } = each.gauge
      for (const rest of [valueFrom, ...Object.values(labels)]) yield [...path, ...rest]
    }
  }
}

function schemaAt(schema: Schema | undefined, path: Path): Schema | undefined {
  const [field, ...rest] = path
  const of = schema?.type === 'array' ? schema.items : schema
  return field === undefined ? schema : schemaAt(of?.properties?.[field], rest)
}

test.each(resources)('$groupVersionKind.kind has every field that the example names', (resource) => {
  const { group, kind, version } = resource.groupVersionKind
  const { names, versions } =
    crds.find(({ spec }) => spec.group === group && spec.names.kind === kind)?.spec ?? {}
  const served = versions?.find(({ name }: { name: string }) => name === version)
  const metadata = { type: 'object', properties: { name: { type: 'string' }, namespace: { type: 'string' } } }
  const { properties } = served.schema.openAPIV3Schema
  const schema = { type: 'object', properties: { ...properties, metadata } }
  const unknown = [...pathsOf(resource)].filter((path) => {
    const found = schemaAt(schema, path)
    return found === undefined || found.type === 'object' || found.type === 'array'
  })
  expect(unknown).toEqual([])
  expect(resource.metrics.length).toBeGreaterThan(1)
  expect(values.rbac.extraRules).toContainEqual({
    apiGroups: [group],
    resources: expect.arrayContaining([names.plural]),
    verbs: ['list', 'watch'],
  })
})

test('custom resource metrics are enabled for the kinds', () => {
  expect(values.customResourceState).toMatchObject({
    enabled: true,
    config: { kind: 'CustomResourceStateMetrics' },
  })
  expect(resources.map(({ groupVersionKind: { kind } }) => kind)).toEqual(['ChatTenant', 'ChatPlan'])
})
