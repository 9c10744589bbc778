// docs/reference/resources.md: every field of every kind, from the zod schemas that read them.
import { z } from 'zod'
import { ChatCredential } from '../../dist/tenant/schema-credential.js'
import { ChatPlan } from '../../dist/tenant/schema-plan.js'
import { ChatTenant } from '../../dist/tenant/schema-tenant.js'
import { generatedNote, table } from './table.mjs'

/** @typedef {{ type?: string, description?: string, default?: unknown, enum?: unknown[], properties?: Record<string, Schema>, required?: string[], items?: Schema, additionalProperties?: Schema | boolean, minimum?: number, maximum?: number, maxLength?: number, maxItems?: number }} Schema */

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
    `${schema.type ?? 'any'}${required ? ', required' : ''}`,
    bounds(schema),
    schema.description ?? '',
  ]
  const fields = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    rows(`${path}.${name}`, field, schema.required?.includes(name) ?? false),
  )
  const items = schema.items?.properties ? rows(`${path}[]`, schema.items, false).slice(1) : []
  return [row, ...fields, ...items]
}

export function resourcesPage() {
  const kinds = { ChatPlan, ChatTenant, ChatCredential }
  const sections = Object.entries(kinds).map(([kind, source]) => {
    const schema = /** @type {Schema} */ (
      z.toJSONSchema(source, { io: 'input', target: 'openapi-3.0', reused: 'inline' })
    )
    const spec = schema.properties?.['spec'] ?? {}
    return `## ${kind}\n\n${schema.description ?? ''}\n\n${table(['field', 'type', 'bounds', 'meaning'], rows('spec', spec, true).slice(1))}`
  })
  return `${generatedNote}\n# Resources\n\nGroup \`parley.chat\`, version \`v1alpha1\`.\n\n${sections.join('\n')}`
}
