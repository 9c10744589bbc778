// The room `revocation`: the revocations that tenants' backends make by the server API. They reach every
// gateway and are kept in memory there, so that a connect asks nobody. This file is the seam: local.ts is for
// one gateway, redis/ shares the revocations of all gateways, and held.ts is what both have in common. Those
// of ChatTenant resources are part of the policy and not kept here. The room imports leaves, `tenant`, and in
// redis/ the room `redis`.
import type { Revocation, RevocationSet } from '../tenant/revocations.js'

/** Is told of new revocations. Must not throw. */
export interface RevocationListener {
  /** These revocations of the tenant are new. `all`: any may be; compare every session. */
  revoked(revocations: readonly Revocation[] | 'all'): void
}

export interface RevocationPage {
  /** In the order of their names. */
  readonly revocations: readonly Revocation[]
  /** The name of the last one, for the next page. Undefined when this is the last page. */
  readonly next: string | undefined
  /** The number of revocations of the tenant, expired ones included until they are removed. */
  readonly total: number
}

export interface RevocationStore {
  /** The number of revocations of all tenants that this gateway holds. */
  readonly size: number
  /**
   * Returns the tenant's revocations. The set is updated in place, before `listener` is told. A tenant has
   * one listener; `close` ends it.
   */
  open(tenantId: string, listener: RevocationListener): RevocationSet
  close(tenantId: string): void
  /**
   * Undefined when the set is as current as it can be, or else a promise: new clients wait for it while the
   * revocations are read again after Redis was away. It rejects with the temporary BROKER_UNAVAILABLE when
   * that takes too long.
   */
  current(): Promise<void> | undefined
  /**
   * Makes a revocation. Of two with one name, the later times hold. Resolves when it is stored and in force
   * on this gateway; other gateways follow within 2 s. Rejects with QUOTA_EXCEEDED when the tenant has as
   * many as it may, and with BROKER_UNAVAILABLE or NOT_REPLICATED when it may not be stored.
   */
  add(tenantId: string, revocation: Revocation): Promise<void>
  /**
   * Gives a revocation later times. Does nothing when it has ended, so that it cannot undo an `unrevoke` that
   * another gateway makes at the same time. Rejects like `add`.
   */
  prolong(tenantId: string, revocation: Revocation): Promise<void>
  /** Ends the revocation with this name. Resolves with false when there is none. Rejects like `add`. */
  remove(tenantId: string, name: string): Promise<boolean>
  /** Lists revocations whose names follow `after` ('' begins), at most `limit`. Rejects like `add`. */
  list(tenantId: string, page: { after: string; limit: number }): Promise<RevocationPage>
}
