// The fields that every Kubernetes object has. A consumer parses the rest with its own schema.
import { z } from 'zod'

const OwnerReference = z.object({
  apiVersion: z.string(),
  kind: z.string(),
  name: z.string(),
  uid: z.string(),
  controller: z.boolean().optional(),
  blockOwnerDeletion: z.boolean().optional(),
})

/** `kubectl apply` stores a copy of the whole object in this annotation, and no consumer reads it. */
function withoutLastApplied(annotations: Record<string, string>): Record<string, string> {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...rest } = annotations
  return rest
}

/**
 * A bookmark, a Status or a malformed object fails to parse, because it lacks a uid or a name. Times are RFC
 * 3339 text, never a Date.
 */
const ObjectMeta = z.object({
  name: z.string().min(1),
  namespace: z.string().optional(),
  uid: z.string().min(1),
  /** An opaque version: two versions may only be compared for equality. */
  resourceVersion: z.string().min(1),
  generation: z.number().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).default({}),
  annotations: z.record(z.string(), z.string()).default({}).transform(withoutLastApplied),
  ownerReferences: z.array(OwnerReference).default([]),
  /**
   * Objects that were read from the server have the entries of this client's field manager only (see
   * `objectOf`).
   */
  managedFields: z.array(z.looseObject({ manager: z.string().optional() })).default([]),
})
export type ObjectMeta = z.infer<typeof ObjectMeta>

/** The server omits `kind` and `apiVersion` in list items; `objectOf` fills them in. */
export const ApiObject = z.looseObject({ apiVersion: z.string(), kind: z.string(), metadata: ObjectMeta })
export type ApiObject = z.infer<typeof ApiObject>

/** A kind of object and its place in the API. */
export interface ResourceKind {
  /** An empty string for the core group. */
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly kind: string
  readonly namespaced: boolean
}

/** The name of an object, and the namespace that contains it. */
export interface ObjectKey {
  readonly name: string
  /** Undefined for a cluster-scoped object. */
  readonly namespace?: string | undefined
}

/** Returns the key of caches and queues: `<namespace>/<name>`, or `<name>` for a cluster-scoped object. */
export function keyOf({ name, namespace }: ObjectKey): string {
  return namespace === undefined ? name : `${namespace}/${name}`
}

/**
 * Compares by creation, the older object first; the key decides between objects of one second. It is the same
 * order in every process.
 */
export function compareAge({ metadata: a }: ApiObject, { metadata: b }: ApiObject): number {
  const [first = '', second = ''] = [a.creationTimestamp, b.creationTimestamp]
  if (first !== second) return first < second ? -1 : 1
  const [key, other] = [keyOf(a), keyOf(b)]
  return Number(key > other) - Number(key < other)
}

/** Returns `<group>/<version>`, or `<version>` for the core group. */
export function apiVersionOf({ group, version }: ResourceKind): string {
  return group === '' ? version : `${group}/${version}`
}

/** Returns the namespace of a key (see `keyOf`), or '' for a cluster-scoped object. */
export function namespaceOfKey(key: string): string {
  return key.slice(0, Math.max(0, key.indexOf('/')))
}
