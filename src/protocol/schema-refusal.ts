// What a client is told of fields that break their schema.
import type { z } from 'zod'
import { CommandError } from '../errors.js'
import { isRecord } from '../json.js'

/** BAD_REQUEST that names the first wrong one. `value` is what was parsed: asking zod to report it (`reportInput`) costs 1 µs for every good frame. */
export function schemaRefusal({ issues: [issue] }: z.ZodError, value: unknown): CommandError {
  const path = issue?.path ?? []
  const field = JSON.stringify(path.join('.'))
  const message = issue?.message ?? ''
  if (path.length === 0) return new CommandError('BAD_REQUEST', message)
  return new CommandError(
    'BAD_REQUEST',
    isAbsent(value, path) ? `${field} is missing` : `${field}: ${message}`,
  )
}

function isAbsent(value: unknown, path: readonly PropertyKey[]): boolean {
  let found = value
  for (const step of path)
    found = Array.isArray(found) ? found[Number(step)] : isRecord(found) ? found[String(step)] : undefined
  return found === undefined || found === null
}
