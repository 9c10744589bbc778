// The reconcilers' view of the cluster: a cache of each watched kind, and indexes over the references between
// objects.
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
  /** Only Secrets with the label `parley.chat/secret`. */
  readonly secrets: ObjectCache
  readonly namespaces: ObjectCache
}

/** The indexes follow changes of the caches, so create the Cluster before the caches are filled. */
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
