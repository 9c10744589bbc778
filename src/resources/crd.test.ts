import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { crdYaml } from './crd-yaml.js'
import { customResourceDefinitions } from './crd.js'

const folder = fileURLToPath(new URL('../../manifests/crds/', import.meta.url))
const definitions = customResourceDefinitions()

test('manifests/crds is what `parley crds --output manifests/crds` would write', () => {
  const written = Object.fromEntries(
    readdirSync(folder).map((file) => [file, readFileSync(folder + file, 'utf8')]),
  )
  expect(written).toEqual(
    Object.fromEntries(definitions.map((definition) => [definition.file, crdYaml(definition)])),
  )
})

// The keywords that structural schemas of Kubernetes support.
const structural = new Set([
  ...['type', 'description', 'default', 'enum', 'format', 'required'],
  ...['properties', 'additionalProperties', 'items'],
  ...['minimum', 'maximum', 'minLength', 'maxLength', 'minItems', 'maxItems', 'pattern'],
  ...['x-kubernetes-list-type', 'x-kubernetes-list-map-keys', 'x-kubernetes-preserve-unknown-fields'],
  'x-kubernetes-validations',
])

interface Node {
  type?: string
  description?: string
  properties?: Record<string, Node>
  items?: Node
  additionalProperties?: Node | boolean
  'x-kubernetes-validations'?: {
    rule: string
    message?: string
    messageExpression?: string
    fieldPath?: string
  }[]
}

/** Calls `visit` on every node of a schema, with its path, and returns all results. */
function walk(node: Node, path: string, visit: (node: Node, path: string) => string[]): string[] {
  return [
    ...visit(node, path),
    ...Object.entries(node.properties ?? {}).flatMap(([name, child]) =>
      walk(child, `${path}.${name}`, visit),
    ),
    ...(node.items ? walk(node.items, `${path}[]`, visit) : []),
    ...(typeof node.additionalProperties === 'object'
      ? walk(node.additionalProperties, `${path}{}`, visit)
      : []),
  ]
}

describe.each(definitions)('$kind', ({ kind, schema }) => {
  const faults = (visit: (node: Node, path: string) => string[]): string[] =>
    walk(schema as Node, kind, visit)

  test('is a structural schema', () => {
    expect(
      faults((node, path) => [
        ...Object.keys(node)
          .filter((key) => !structural.has(key))
          .map((key) => `${path} has ${key}`),
        ...(node.type === undefined ? [`${path} has no type`] : []),
        ...(node.properties && node.additionalProperties !== undefined ? [`${path} has both`] : []),
      ]),
    ).toEqual([])
  })

  test('describes every field, which is what kubectl explain prints', () => {
    const own = faults((node, path) =>
      Object.entries(node.properties ?? {}).flatMap(([name, child]) =>
        child.description || `${path}.${name}`.startsWith(`${kind}.metadata`) ? [] : [`${path}.${name}`],
      ),
    )
    expect(own).toEqual([])
  })

  test('has no regular expression that RE2 does not support', () => {
    expect(JSON.stringify(schema)).not.toMatch(/\(\?[=!<]/)
  })

  test('reports errors in sentences, at a field that exists', () => {
    expect(
      faults((node, path) =>
        (node['x-kubernetes-validations'] ?? []).flatMap(
          ({ fieldPath, message, messageExpression, rule }) => {
            const words = message ?? messageExpression ?? ''
            const field = fieldPath?.split('.')[1]
            const exists = field === undefined || node.properties?.[field] !== undefined
            return [
              ...(/[.]'?$/.test(words) ? [] : [`${path}: ${rule} says "${words}"`]),
              ...(exists ? [] : [`${path} has no ${fieldPath}`]),
            ]
          },
        ),
      ),
    ).toEqual([])
  })
})
