// Schemas of optional fields in Centrifuge's protocol, where an absent field, null and the zero value mean
// the same, as in Go.
import { z } from 'zod'

export const stringOrEmpty = z
  .string()
  .nullish()
  .transform((value) => value ?? '')
export const booleanOrFalse = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false)
export const integerOrZero = z
  .int()
  .nullish()
  .transform((value) => value ?? 0)
