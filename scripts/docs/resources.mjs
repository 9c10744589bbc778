// Generates docs/reference/resources.md: every field of every kind, from the custom resource definitions.
import { customResourceDefinitions } from '../../dist/resources/crd.js'
import { generatedNote, table } from './table.mjs'

/** @typedef {{ message?: string, messageExpression?: string, fieldPath?: string }} Rule */
/**
 * @typedef {{ type?: string, format?: string, description?: string, default?: unknown, enum?: unknown[],
 * properties?: Record<string, Schema>, required?: string[], items?: Schema, additionalProperties?: Schema |
 * boolean, minimum?: number, maximum?: number, maxLength?: number, maxItems?: number,
 * 'x-kubernetes-validations'?: Rule[] }} Schema
 */
/** @typedef {ReturnType<typeof customResourceDefinitions>[number]} Definition */

/** @param {Schema} schema */
function bounds(schema) {
  const { enum: choices, maxItems, maxLength, maximum, minimum } = schema
  return [
    choices && choices.map((choice) => `\`${String(choice)}\``).join(' '),
    (minimum !== undefined || maximum !== undefined) && `${minimum ?? ''}…${maximum ?? ''}`,
    maxLength !== undefined && `≤ ${maxLength} characters`,
    maxItems !== undefined && `≤ ${maxItems} entries`,
    schema.default !== undefined && `default \`${JSON.stringify(schema.default)}\``,
  ]
    .filter(Boolean)
    .join(', ')
}

/**
 * @param {string} path
 * @param {Schema} schema
 * @param {boolean} required
 * @returns {string[][]}
 */
function rows(path, schema, required) {
  const row = [
    `\`${path}\``,
    `${schema.format ?? schema.type ?? 'any'}${required ? ', required' : ''}`,
    bounds(schema),
    schema.description ?? '',
  ]
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    rows(`${path}.${name}`, field, schema.required?.includes(name) ?? false),
  )
  const items = schema.items?.properties ? rows(`${path}[]`, schema.items, false).slice(1) : []
  return [row, ...fields, ...items]
}

/**
 * The validation rules that the API server applies in addition to types and bounds.
 * @param {string} path
 * @param {Schema} schema
 * @returns {string[][]}
 */
function rules(path, schema) {
  const own = (schema['x-kubernetes-validations'] ?? []).map(
    ({ fieldPath = '', message, messageExpression }) => [
      `\`${path}${fieldPath}\``,
      // Message expressions quote the value; the page shows the sentence without it.
      message ??
        (messageExpression ?? '')
          .replaceAll(/^'|'$/g, '')
          .replaceAll(/" ?'? ?\+ ?self(\.value)? ?\+ ?'"/g, '"…"'),
    ],
  )
  return [
    ...own,
    ...Object.entries(schema.properties ?? {}).flatMap(([name, field]) => rules(`${path}.${name}`, field)),
    ...(schema.items ? rules(`${path}[]`, schema.items) : []),
  ]
}

/** @param {Definition} definition */
function section({ columns, kind, manifest, schema }) {
  const root = /** @type {Schema} */ (schema)
  const { description = '', properties = {} } = root
  const { names, scope, versions } =
    /** @type {{ spec: { scope: string, names: { plural: string, shortNames: string[] }, versions: { selectableFields?: { jsonPath: string }[] }[] } }} */ (
      manifest
    ).spec
  const selectable = versions[0]?.selectableFields?.map(({ jsonPath }) => `\`${jsonPath.slice(1)}\``)
  const shown = (/** @type {1 | undefined} */ priority) =>
    columns
      .filter((column) => column.priority === priority)
      .map(({ name }) => name)
      .join(', ')
  const { spec = {}, status = {} } = properties
  const ruleRows = rules('', root).map(([path = '', sentence = '']) => [path.replace('`.', '`'), sentence])
  return [
    `## ${kind}`,
    description,
    [
      `- Scope: ${scope === 'Cluster' ? 'cluster' : 'namespace'}. \`kubectl get ${names.plural}\`; short names: \`${names.shortNames.join('`, `')}\`.`,
      `- Columns: ${shown(undefined)}; with \`-o wide\` also ${shown(1)}.`,
      ...(selectable ? [`- Field selectors: ${selectable.join(', ')}.`] : []),
    ].join('\n'),
    '### Spec',
    table(['field', 'type', 'bounds', 'meaning'], rows('spec', spec, true).slice(1)),
    '### Status',
    'The controller writes these fields.',
    table(['field', 'type', 'bounds', 'meaning'], rows('status', status, false).slice(1)),
    '### Rules',
    'The API server refuses objects that break one of these rules, with this message.',
    table(['field', 'message'], ruleRows),
  ].join('\n\n')
}

export function resourcesPage() {
  const sections = customResourceDefinitions().map(section)
  return `${generatedNote}\n# Resources\n\nGroup \`parley.chat\`, version \`v1alpha1\`, category \`parley\`.\n\n${sections.join('\n')}`
}
