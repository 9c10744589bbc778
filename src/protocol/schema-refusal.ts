// What a client is told of fields that break their schema.
import type { z } from 'zod'
import { CommandError } from '../errors.js'
import { valueAt } from '../json.js'

/** BAD_REQUEST that names the first wrong one. `value` is what was parsed: asking zod to report it (`reportInput`) costs 1 µs for every good frame. */
export function schemaRefusal({ issues: [issue] }: z.ZodError, value: unknown): CommandError {
  const path = issue?.path ?? []
  const field = JSON.stringify(path.join('.'))
  const message = issue?.message ?? ''
  if (path.length === 0) return new CommandError('BAD_REQUEST', message)
  const isAbsent = (valueAt(value, path) ?? null) === null
  return new CommandError('BAD_REQUEST', isAbsent ? `${field} is missing` : `${field}: ${message}`)
}
