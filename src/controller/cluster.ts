// What reconcilers know of the cluster: caches of the kinds, and who refers to whom.
import { CacheIndex } from '../kube/cache-index.js'
import type { ObjectCache } from '../kube/ports.js'
import {
  hostnamesOf,
  namespaceOfObject,
  planOf,
  secretsOfCredential,
  secretsOfTenant,
  tenantOf,
} from './references.js'

export interface Caches {
  readonly plans: ObjectCache
  readonly tenants: ObjectCache
  readonly credentials: ObjectCache
  /** Those with our label. */
  readonly secrets: ObjectCache
  readonly namespaces: ObjectCache
}

/** Must be made before the caches are filled. */
export class Cluster {
  readonly caches: Caches
  readonly tenantsByPlan: CacheIndex
  readonly tenantsBySecret: CacheIndex
  readonly tenantsByNamespace: CacheIndex
  readonly tenantsByHostname: CacheIndex
  readonly credentialsByTenant: CacheIndex
  readonly credentialsBySecret: CacheIndex

  constructor(caches: Caches) {
    const { credentials, tenants } = caches
    this.caches = caches
    this.tenantsByPlan = new CacheIndex(tenants, planOf)
    this.tenantsBySecret = new CacheIndex(tenants, secretsOfTenant)
    this.tenantsByNamespace = new CacheIndex(tenants, namespaceOfObject)
    this.tenantsByHostname = new CacheIndex(tenants, hostnamesOf)
    this.credentialsByTenant = new CacheIndex(credentials, tenantOf)
    this.credentialsBySecret = new CacheIndex(credentials, secretsOfCredential)
  }
}
