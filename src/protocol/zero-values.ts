// Absent, null and the zero value are one thing in Centrifuge's protocol, as in the Go structs behind it.
import { z } from 'zod'

export const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '')
export const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false)
export const integer = z
  .int()
  .nullish()
  .transform((value) => value ?? 0)
