// The room `resources`: the schemas of ChatPlan, ChatTenant and ChatCredential, and everything that is
// generated from them. It imports leaves and `tenant`. Start with `chat-tenant.ts`; this file holds what all
// schemas of `parley.chat/v1alpha1` share.
//
// One zod schema is the source of the types, of the OpenAPI schema in the CRD and of the text that `kubectl
// explain` prints. So the schemas use no unions and no transforms, their regular expressions are RE2, and a
// check across fields exists twice: in `superRefine` and as a CEL rule for the API server.
import { z } from 'zod'
import { celRaw, celRules } from './cel.js'
import { durationPattern, parseDuration } from './duration.js'

/** The group and version of all resources. */
export const apiVersion = 'parley.chat/v1alpha1'

/** A DNS label. Namespaces and tenants have such names, because both are parts of URLs. */
export const Label = z
  .string()
  .max(63)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    'Use lower-case letters, digits and "-", with a letter or digit at both ends.',
  )

/** A DNS subdomain. Other objects have such names. */
export const ObjectName = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/,
    'Use lower-case letters, digits, "-" and ".", with a letter or digit at both ends.',
  )

/** Labels or annotations. */
export const StringMap = z.record(z.string().max(317), z.string().max(262_144))

/** Returns the schema of a duration such as "10m", from `min` to `max` inclusive. */
export function duration(bounds: { min: string; max: string }): z.ZodString {
  const shapeMessage = 'Write a duration such as "90s", "10m", "24h" or "1h30m".'
  const boundsMessage = `Write a duration from "${bounds.min}" to "${bounds.max}".`
  const shape = `self.matches(${celRaw(durationPattern.source)})`
  // `duration()` of CEL fails above 292 years, which is far above all bounds.
  const short = "!self.matches('[1-9][0-9]{5}h|[1-9][0-9]{6}m([^s]|$)')"
  const within = `duration(self) >= duration('${bounds.min}') && duration(self) <= duration('${bounds.max}')`
  return z
    .string()
    .max(32)
    .refine((text) => durationPattern.test(text), shapeMessage)
    .refine((text) => isWithin(text, bounds), boundsMessage)
    .meta(
      celRules([
        { rule: shape, message: shapeMessage },
        { rule: `!${shape} || ${short} && ${within}`, message: boundsMessage },
      ]),
    )
}

const timePattern =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$/

/** Returns the schema of a time in RFC 3339 with seconds and a time zone. */
export function time(): z.ZodString {
  const message = 'Write a time such as "2026-01-31T12:00:00Z".'
  return z
    .string()
    .max(64)
    .regex(timePattern, message)
    .refine((text) => !timePattern.test(text) || isDate(text), message)
    .meta({ format: 'date-time' })
}

/** `Date.parse` accepts the 30th of February, which the API server refuses. */
function isDate(text: string): boolean {
  const [year = 0, month = 0, day = 0] = text.slice(0, 10).split('-').map(Number)
  return !Number.isNaN(Date.parse(text)) && new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day
}

/** Returns true for text that is not a duration, because another check has reported it already. */
function isWithin(text: string, bounds: { min: string; max: string }): boolean {
  const ms = parseDuration(text)
  return (
    ms === undefined || (ms >= (parseDuration(bounds.min) ?? 0) && ms <= (parseDuration(bounds.max) ?? 0))
  )
}

/**
 * Reports an issue for each entry whose name an earlier entry has. Messages and server-side apply identify
 * entries by name.
 */
export function uniqueNames(entries: readonly { name: string }[], context: z.core.$RefinementCtx): void {
  const seen = new Set<string>()
  for (const [index, { name }] of entries.entries()) {
    if (seen.has(name))
      context.addIssue({
        code: 'custom',
        path: [index, 'name'],
        message: `The name "${name}" is already used by an earlier entry.`,
      })
    seen.add(name)
  }
}

/** Metadata of a list whose entries are identified by name: the API server merges them by it. */
export const namedList = { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] } as const

/** A reference to a key in a Secret of the same namespace. */
export const KeyRef = z.strictObject({
  name: ObjectName.describe('The name of the Secret, in the same namespace.'),
  key: z
    .string()
    .max(253)
    .regex(/^[-._a-zA-Z0-9]+$/, 'Use letters, digits, "-", "_" and ".".')
    .describe('The key in the data of the Secret.'),
})

/**
 * Other metadata, such as uid and managedFields, belongs to the API server and is accepted without
 * validation.
 */
const Metadata = z.looseObject({
  name: Label,
  namespace: Label.optional(),
  labels: StringMap.optional(),
  annotations: StringMap.optional(),
})

/**
 * Returns the schema of a complete object as `kubectl get -o yaml` prints it. The status belongs to the
 * controller and is accepted without validation.
 */
export function resource<Kind extends string, Spec extends z.ZodType>(kind: Kind, spec: Spec) {
  return z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal(kind),
    metadata: Metadata,
    spec,
    status: z.looseObject({}).optional(),
  })
}
