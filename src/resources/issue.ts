// Converts zod issues into problems that the author of a resource can act on.
import type { z } from 'zod'
import { valueAt } from '../json.js'
import type { Problem } from './problem.js'

/**
 * Converts one zod issue. `value` is the input that was parsed, because an issue does not contain the value.
 */
export function issueProblem(issue: z.core.$ZodIssue, value: unknown): Problem {
  const path = issue.path.map((step) => (typeof step === 'number' ? step : String(step)))
  if (issue.code === 'unrecognized_keys') {
    const [first = ''] = issue.keys
    const fields = issue.keys.map((key) => `"${key}"`).join(', ')
    const message = `Unknown field ${fields}: check its spelling and its indentation.`
    return { path: [...path, first], reason: 'InvalidResource', message }
  }
  if (issue.code !== 'invalid_type')
    return { path, reason: 'InvalidResource', message: sentence(issue.message) }

  const found = valueAt(value, path)
  if (found === undefined)
    return {
      path,
      reason: 'InvalidResource',
      message: `This field is required: ${describeKind(issue.expected)}.`,
    }
  const message = `This field must be ${describeKind(issue.expected)}, but it is ${describeKind(kindOf(found))}.`
  const hint = issue.expected === 'string' && typeof found === 'object' ? ` ${quoteHint}` : ''
  return { path, reason: 'InvalidResource', message: message + hint }
}

/** YAML reads `{user}` or `*` without quotes as a map or an alias. */
export const quoteHint = 'In YAML, a value with braces or a star needs quotes: value: "team:{claims.team}".'

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number' && !Number.isInteger(value)) return 'fraction'
  return typeof value === 'object' ? 'object' : typeof value
}

const kindDescriptions: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  fraction: 'a number with a fraction',
  int: 'a whole number',
  null: 'empty',
  number: 'a number',
  object: 'a map',
  record: 'a map',
  string: 'text',
}

function describeKind(kind: string): string {
  return kindDescriptions[kind] ?? kind
}

function sentence(message: string): string {
  return message.endsWith('.') ? message : `${message}.`
}
