// The seam to where gateways learn of tenants: a folder of manifests in `dev`, Redis in a cluster.
import type { TenantPolicy } from '../tenant/policy.js'

/** `put` is a new tenant or a new revision of one; `remove` closes its sessions. */
export type CatalogChange =
  | { readonly kind: 'put'; readonly policy: TenantPolicy }
  | { readonly kind: 'remove'; readonly policy: TenantPolicy }

/** Level, not edge: `changed` is called after the catalog holds the new state, once per tenant whose revision moved. */
export interface CatalogListener {
  changed(change: CatalogChange): void
}

export interface Catalog {
  /** By `<namespace>/<name>`. */
  get(key: string): TenantPolicy | undefined
  all(): Iterable<TenantPolicy>
  listen(listener: CatalogListener): void
}
