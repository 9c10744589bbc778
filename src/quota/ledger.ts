// What of a tenant's quota is used, over all gateways: places for connections, and this gateway's share of the rates.

export interface ConnectionLimits {
  /** Of the tenant. */
  readonly max: number
  readonly perUser: number
}

export interface Refusal {
  readonly admitted: false
  readonly limit: 'tenant' | 'user'
  /** In the cluster; where `share` is given, on this gateway. */
  readonly used: number
  /** The other gateways could not be asked: of the tenant's places, so many are this gateway's. */
  readonly share?: number
}

export type Admission = { readonly admitted: true } | Refusal

/** Rates that gateways divide among themselves. Deliveries are not: see `TenantLease.delivered`. */
export const sharedRates = ['publish', 'connect'] as const
export type SharedRate = (typeof sharedRates)[number]

/** All rates that a tenant's quota limits. */
export type QuotaRate = SharedRate | 'delivery'

export interface LeaseListener {
  /** The tenant's limit, over all gateways. */
  perSecond(rate: QuotaRate): number
  /** `share` answers something else now. */
  sharesChanged(): void
  /** Other gateways delivered so much of the tenant's since the last call. */
  deliveredElsewhere(deliveries: number): void
}

/** One tenant's quota as one gateway uses it. */
export interface TenantLease {
  /** Places of this gateway. */
  readonly held: number
  /** Different users among them. */
  readonly users: number
  /** Places of all gateways, as last known; never less than `held`. */
  readonly heldByAll: number
  /**
   * Takes a place for one connection of `user` where the limits allow one more: exactly, over all gateways, as long as they can be asked.
   * Never rejects, and answers within about a second. A place that was given is given back by `release`.
   */
  acquire(user: string, limits: ConnectionLimits): Promise<Admission>
  /** What `acquire` would answer. Takes nothing. */
  look(user: string, limits: ConnectionLimits): Promise<Admission>
  /** Takes a place whatever the limits say. */
  take(user: string): void
  /** Throws when `user` holds no place here. */
  release(user: string): void
  /** From 0 to 1: how much of the tenant's limit this gateway may use now. */
  share(rate: SharedRate): number
  /** Wanted: also what was refused then. Shares follow what is wanted. */
  spend(rate: SharedRate, n: number): void
  /** Done already: the other gateways' leases are told how much it was. Whoever publishes is seldom where the subscribers are. */
  delivered(n: number): void
  /** The tenant is gone from this gateway. Places can still be released. */
  close(): void
}

export interface QuotaLedger {
  /** One at a time for a tenant: close it before the next. */
  open(tenantId: string, listener: LeaseListener): TenantLease
}
