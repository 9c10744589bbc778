// What all resources of `parley.chat/v1alpha1` share. One zod source gives the types, the CRDs' OpenAPI and what `kubectl explain` prints:
// so there are no unions and no transforms here, regular expressions are RE2, and what spans fields is checked in `superRefine` here and by a
// CEL rule in the API server.
import { z } from 'zod'
import { celRaw, celRules } from './cel.js'
import { durationPattern, parseDuration } from './duration.js'

export const apiVersion = 'parley.chat/v1alpha1'

/** DNS label: what Kubernetes lets namespaces be called, and what tenants may be called, since both stand in URLs. */
export const Label = z
  .string()
  .max(63)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    'Use lower-case letters, digits and "-", with a letter or digit at both ends.',
  )

/** DNS subdomain: what other objects may be called. */
export const ObjectName = z
  .string()
  .max(253)
  .regex(
    /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/,
    'Use lower-case letters, digits, "-" and ".", with a letter or digit at both ends.',
  )

export const StringMap = z.record(z.string().max(317), z.string().max(262_144))

/** Text such as "10m" from `min` to `max`, both included. */
export function duration(bounds: { min: string; max: string }): z.ZodString {
  const shapeMessage = 'Write a duration such as "90s", "10m", "24h" or "1h30m".'
  const boundsMessage = `Write a duration from "${bounds.min}" to "${bounds.max}".`
  const shape = `self.matches(${celRaw(durationPattern.source)})`
  // `duration()` fails on more than 292 years, which no bound comes near.
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

/** What is no duration has been refused already, and gets no second sentence. */
function isWithin(text: string, bounds: { min: string; max: string }): boolean {
  const ms = parseDuration(text)
  return (
    ms === undefined || (ms >= (parseDuration(bounds.min) ?? 0) && ms <= (parseDuration(bounds.max) ?? 0))
  )
}

/** Names are looked up in messages and merged by server-side apply: two entries of one name are an error at the second. */
export function uniqueNames(entries: readonly { name: string }[], context: z.core.$RefinementCtx): void {
  const seen = new Set<string>()
  for (const [index, { name }] of entries.entries()) {
    if (seen.has(name))
      context.addIssue({
        code: 'custom',
        path: [index, 'name'],
        message: `The name "${name}" is taken by an entry above.`,
      })
    seen.add(name)
  }
}

/** For lists whose entries have names: how the API server merges them. */
export const namedList = { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] } as const

export const KeyRef = z.strictObject({
  name: ObjectName.describe('Name of the Secret, in the same namespace.'),
  key: z
    .string()
    .max(253)
    .regex(/^[-._a-zA-Z0-9]+$/, 'Use letters, digits, "-", "_" and ".".')
    .describe('Key in the Secret’s data.'),
})

/** Other metadata (uid, managedFields …) is the API server's and passes unread. */
const Metadata = z.looseObject({
  name: Label,
  namespace: Label.optional(),
  labels: StringMap.optional(),
  annotations: StringMap.optional(),
})

/** A whole object as `kubectl get -o yaml` prints it. Its status is the controller's and passes unread. */
export function resource<Kind extends string, Spec extends z.ZodType>(kind: Kind, spec: Spec) {
  return z.strictObject({
    apiVersion: z.literal(apiVersion),
    kind: z.literal(kind),
    metadata: Metadata,
    spec,
    status: z.looseObject({}).optional(),
  })
}
