// The room `catalog` provides the tenants that a gateway serves. It imports leaves, `resources` and `tenant`;
// only its folder `redis/` imports `redis`. Start here: `Catalog` is the seam that gateways use. `files.ts`
// implements it on a folder of manifests, for `parley dev` and gateways without a controller.
// `redis/reader.ts` implements it on Redis, where the controller publishes policies with `redis/writer.ts`.
import type { TenantPolicy } from '../tenant/policy.js'

/**
 * A change of one tenant. `put` is a new tenant or a new revision of one; `remove` closes the sessions of the
 * tenant.
 */
export type CatalogChange =
  | { readonly kind: 'put'; readonly policy: TenantPolicy }
  | { readonly kind: 'remove'; readonly policy: TenantPolicy }

/** Receives changes of the catalog. */
export interface CatalogListener {
  /** Called once for each tenant whose revision changed, after the catalog holds the new state. */
  changed(change: CatalogChange): void
}

/** The tenants that a gateway serves, each with the policy in force. */
export interface Catalog {
  /** Returns the policy of a tenant by `<namespace>/<name>`, or undefined when there is no such tenant. */
  get(key: string): TenantPolicy | undefined
  /** Returns the policies of all tenants. */
  all(): Iterable<TenantPolicy>
  /** Adds a listener for all later changes. */
  listen(listener: CatalogListener): void
}
