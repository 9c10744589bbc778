// Turns a failed schema validation into the error that the client receives.
import type { z } from 'zod'
import { CommandError } from '../errors.js'
import { valueAt } from '../json.js'

/**
 * Returns BAD_REQUEST with the name of the first invalid field. `value` is the validated value; letting zod
 * report it (`reportInput`) would cost 1 µs for every valid frame.
 */
export function validationError({ issues: [issue] }: z.ZodError, value: unknown): CommandError {
  const path = issue?.path ?? []
  const field = JSON.stringify(path.join('.'))
  const message = issue?.message ?? ''
  if (path.length === 0) return new CommandError('BAD_REQUEST', message)
  const isAbsent = (valueAt(value, path) ?? null) === null
  return new CommandError('BAD_REQUEST', isAbsent ? `${field} is missing` : `${field}: ${message}`)
}
