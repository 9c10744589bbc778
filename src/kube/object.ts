// What every Kubernetes object has. The rest of it is parsed by whoever wants it: `ChatTenant.parse(object)`.
import { z } from 'zod'
import { SharedParts } from './interned-fields.js'

/** Who may write as whom: every field of ours is applied under this one name. */
export const fieldManager = 'parley-controller'

const fieldSets = new SharedParts()

const OwnerReference = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
})

/** What `kubectl apply` leaves of itself is the whole object once more, and read by nobody here. */
function withoutLastApplied(annotations: Record<string, string>): Record<string, string> {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...rest } = annotations
  return rest
}

/** A Status that lost its way, a bookmark or nonsense has no uid or no name, and does not pass. Times are RFC 3339 text, never a Date. */
const ObjectMeta = z.object({
  name: z.string().min(1),
  namespace: z.string().optional(),
  uid: z.string().min(1),
  /** Equal or not: nothing else may be asked of two of them. */
  resourceVersion: z.string().min(1),
  generation: z.number().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).default({}),
  annotations: z.record(z.string(), z.string()).default({}).transform(withoutLastApplied),
  ownerReferences: z.array(OwnerReference).default([]),
  /** Of `fieldManager` alone: others' entries are most of an object's bytes, and nobody here reads them. */
  managedFields: z
    .array(z.looseObject({ manager: z.string().optional() }))
    .default([])
    .transform((entries) =>
      entries
        .filter((entry) => entry.manager === fieldManager)
        .map((entry) => ({ ...entry, fieldsV1: fieldSets.of(entry['fieldsV1']) })),
    ),
})
export type ObjectMeta = z.infer<typeof ObjectMeta>

/** Where lists leave it out of their items, `kind` and `apiVersion` are those of the list's kind. */
export const ApiObject = z.looseObject({ apiVersion: z.string(), kind: z.string(), metadata: ObjectMeta })
export type ApiObject = z.infer<typeof ApiObject>

export interface ResourceKind {
  /** '' for the core group. */
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly kind: string
  readonly namespaced: boolean
}

export interface ObjectName {
  readonly name: string
  /** Left out for what lives in no namespace. */
  readonly namespace?: string | undefined
}

/** `<namespace>/<name>`, or `<name>` for what lives in no namespace: the key of caches and queues. */
export function keyOf({ name, namespace }: ObjectName): string {
  return namespace === undefined ? name : `${namespace}/${name}`
}

export function apiVersionOf({ group, version }: ResourceKind): string {
  return group === '' ? version : `${group}/${version}`
}
