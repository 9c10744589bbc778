// What the controller looks at.
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
 * On every Secret that is watched: `generated` on those that the controller makes, `import` on those that people let it read. RBAC cannot
 * select by label, but the watch can: other Secrets never come here.
 */
export const secretLabel = 'parley.chat/secret'
export type SecretRole = 'generated' | 'import'

/** Which object a generated Secret belongs to, by uid: owner references are lost in backups, and this is not. */
export const ownerAnnotation = 'parley.chat/owner-uid'
/** What is known of the generated keys: when they were made, and until when those before them count. */
export const keysAnnotation = 'parley.chat/keys'
/** On a ChatTenant or ChatCredential: another value than the last replaces the generated keys now. */
export const rotateAnnotation = 'parley.chat/rotate'
/** As on samples in files: a key that everybody knows. */
export const sampleAnnotation = 'parley.chat/sample'

export function isBeingDeleted(object: ApiObject): boolean {
  return object.metadata.deletionTimestamp !== undefined
}
