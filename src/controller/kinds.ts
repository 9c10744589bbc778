// The Kubernetes kinds that the controller reads or writes, and its labels and annotations.
import type { ApiObject, ResourceKind } from '../kube/object.js'

const parley = { group: 'parley.chat', version: 'v1alpha1' } as const
const core = { group: '', version: 'v1' } as const

export const chatPlans: ResourceKind = { ...parley, plural: 'chatplans', kind: 'ChatPlan', namespaced: false }
export const chatTenants: ResourceKind = {
  ...parley,
  plural: 'chattenants',
  kind: 'ChatTenant',
  namespaced: true,
}
export const chatCredentials: ResourceKind = {
  ...parley,
  plural: 'chatcredentials',
  kind: 'ChatCredential',
  namespaced: true,
}
export const secrets: ResourceKind = { ...core, plural: 'secrets', kind: 'Secret', namespaced: true }
export const namespaces: ResourceKind = {
  ...core,
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
}
export const pods: ResourceKind = { ...core, plural: 'pods', kind: 'Pod', namespaced: true }
export const autoscalers: ResourceKind = {
  group: 'autoscaling',
  version: 'v2',
  plural: 'horizontalpodautoscalers',
  kind: 'HorizontalPodAutoscaler',
  namespaced: true,
}

/**
 * The label of every watched Secret: `generated` on Secrets that the controller creates, `import` on Secrets
 * that their owners let the controller read. RBAC cannot select by label, but the watch does: the controller
 * never receives the content of other Secrets.
 */
export const secretLabel = 'parley.chat/secret'
export type SecretRole = 'generated' | 'import'

/**
 * The uid of the object that a generated Secret belongs to. Backup tools drop owner references but keep this
 * annotation.
 */
export const ownerAnnotation = 'parley.chat/owner-uid'
/**
 * The record of the generated keys in a Secret: when each was created, and until when its predecessor is
 * valid.
 */
export const keysAnnotation = 'parley.chat/keys'
/**
 * The annotation on a ChatTenant or ChatCredential whose new value rotates the generated keys immediately.
 */
export const rotateAnnotation = 'parley.chat/rotate'
/** Marks a Secret whose keys are public samples, as in the example manifests. */
export const sampleAnnotation = 'parley.chat/sample'

export function isBeingDeleted(object: ApiObject): boolean {
  return object.metadata.deletionTimestamp !== undefined
}
