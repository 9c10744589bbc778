// The JSON Schema of the server API's OpenAPI document: generates valid values for fast-check, and validates
// values.
import fc from 'fast-check'
import { z } from 'zod'

/** The part of JSON Schema that the document uses, with references resolved. */
export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: JsonSchema | boolean
  readonly items?: JsonSchema
  readonly maxItems?: number
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly format?: string
}

const itemsMax = 4

/**
 * Returns an arbitrary of values that match the schema. `pinned` replaces the values of members with these
 * names, for what a schema cannot express, such as names of existing channels.
 */
export function arbitraryOf(
  schema: JsonSchema,
  pinned: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<unknown> {
  const of = (part: JsonSchema): fc.Arbitrary<unknown> => arbitraryOf(part, pinned)
  const { enum: values, type } = schema
  if (values) return fc.constantFrom(...values)
  const choices = schema.anyOf ?? schema.oneOf
  if (choices) return fc.oneof(...choices.map(of))
  if (typeof type === 'object') return fc.oneof(...type.map((each) => of({ ...schema, type: each })))
  switch (type) {
    case undefined:
      return fc.jsonValue()
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'integer':
      return fc.integer({
        min: schema.minimum ?? -(2 ** 31),
        max: Math.min(schema.maximum ?? 2 ** 31, 2 ** 31),
      })
    case 'string':
      return stringOf(schema)
    case 'array':
      return fc.array(of(schema.items ?? {}), { maxLength: Math.min(schema.maxItems ?? itemsMax, itemsMax) })
    case 'object':
      return objectOf(schema, (name, part) => pinned[name] ?? of(part))
    default:
      throw new Error(`cannot generate values of type ${type}`)
  }
}

function stringOf({ format, maxLength, minLength, pattern }: JsonSchema): fc.Arbitrary<string> {
  if (format === 'base64') return fc.base64String({ maxLength: 32 })
  const any = fc.string({ minLength: minLength ?? 0, maxLength: Math.min(maxLength ?? 32, 32) })
  return pattern === undefined ? any : any.filter((text) => new RegExp(pattern, 'u').test(text))
}

function objectOf(
  { additionalProperties, properties, required = [] }: JsonSchema,
  of: (name: string, schema: JsonSchema) => fc.Arbitrary<unknown>,
): fc.Arbitrary<unknown> {
  if (properties) {
    const members = Object.entries(properties).map(([name, part]) => [name, of(name, part)] as const)
    return fc.record(Object.fromEntries(members), { requiredKeys: [...required] })
  }
  const value = typeof additionalProperties === 'object' ? of('', additionalProperties) : fc.jsonValue()
  return fc.dictionary(fc.string({ maxLength: 8 }), value, { maxKeys: itemsMax })
}

/**
 * Returns a validator that also refuses members which the schema does not name. The document allows them for
 * later versions; a test of this version does not.
 */
export function validatorOf(schema: JsonSchema): z.ZodType {
  return z.fromJSONSchema(closed(schema) as Parameters<typeof z.fromJSONSchema>[0])
}

function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const parts = Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, closed(part)]))
  return 'properties' in schema ? { ...parts, additionalProperties: false } : parts
}

/** Returns the document with each `$ref` replaced by its target. */
export function withoutReferences(document: object): unknown {
  const at = (ref: string): unknown =>
    ref
      .slice('#/'.length)
      .split('/')
      .reduce<unknown>((part, step) => (part as Record<string, unknown>)[step], document)
  const resolve = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(resolve)
    if (typeof part !== 'object' || part === null) return part
    if ('$ref' in part && typeof part.$ref === 'string') return resolve(at(part.$ref))
    return Object.fromEntries(Object.entries(part).map(([name, value]) => [name, resolve(value)]))
  }
  return resolve(document)
}
