// The seam of this room: how much of a tenant's quota is in use across all gateways, and this gateway's share
// of the rates.
//
// `local.ts` is the ledger of a single gateway, `redis/ledger.ts` the one that gateways share through Redis;
// both keep the promises of `ledger.contract.ts`. `token-bucket.ts` limits one rate. The room imports the
// leaves of `src/` and the room tenant; its folder `redis/` also imports the room redis. Start reading here,
// then in `local.ts`.

/** The limits of connections in a tenant's quota. */
export interface ConnectionLimits {
  /** The most connections of the tenant. */
  readonly max: number
  /** The most connections of one user. */
  readonly perUser: number
  /** The most connections of all guests together. They are part of `max`. */
  readonly guests: number
}

/** The answer to a connection that the limits do not allow. */
export interface AdmissionRefusal {
  readonly admitted: false
  /** The limit that is used up. */
  readonly limit: 'tenant' | 'user' | 'guests'
  /**
   * The number of connections in use, of guests where `limit` says so: in the cluster or, when `share` is
   * set, on this gateway.
   */
  readonly used: number
  /**
   * The part of `max`, or of `guests`, that this gateway may use. Set only when the gateway decided alone,
   * because it could not count the connections of the others.
   */
  readonly share?: number
}

/** The answer to a request for a connection. */
export type Admission = { readonly admitted: true } | AdmissionRefusal

/**
 * The rates that gateways divide among themselves. Gateways of different versions run together during an
 * update, so a new rate is appended.
 */
export const sharedRates = ['publish', 'connect', 'join', 'read', 'api'] as const
export type SharedRate = (typeof sharedRates)[number]

/** The rates of work that is not divided but reported after it is done: see `TenantLease.report`. */
export const reportedRates = ['delivery', 'bytesOut'] as const
export type ReportedRate = (typeof reportedRates)[number]

/** All rates that a tenant's quota limits. */
export type QuotaRate = SharedRate | ReportedRate

/** The limits of channels in a tenant's quota. */
export interface ChannelLimits {
  /** The most channels that are in use at one time. */
  readonly max: number
  /** The most subscribers of one channel. */
  readonly subscribers: number
}

/** The use that one gateway makes of one channel. */
export interface ChannelUse {
  /** The subscribers on this gateway, including those that wait for their admission. */
  readonly subscribers: number
  /** How long the history of the channel keeps it in use, in milliseconds from now; 0 without history. */
  readonly storedForMs: number
}

/** The channels of a tenant on this gateway. A lease reads them whenever it counts. */
export interface ChannelSource {
  channelLimits(): ChannelLimits
  /** Returns the number of channels that this gateway uses. */
  count(): number
  /** Returns the use of a channel, or undefined when this gateway does not use it. */
  useOf(channel: string): ChannelUse | undefined
}

/** The answer to a channel or a subscriber that the limits do not allow. */
export interface ChannelRefusal {
  readonly limit: keyof ChannelLimits
  /** The channels of the tenant, or the subscribers of the channel, on all gateways as far as is known. */
  readonly used: number
}

/**
 * The channels of one tenant, counted over all gateways. A channel that several gateways use counts once. A
 * killed gateway's channels count until its connections do not count any more, and a channel with history
 * until the history has expired.
 */
export interface ChannelLease {
  /** The number of channels that all gateways use, as last known; never less than those of this gateway. */
  readonly usedByAll: number
  /**
   * Checks the limits before this gateway uses a channel: for one more subscriber, or for a publication with
   * history. Returns the refusal, or undefined when the use is allowed. Returns a promise only when the
   * answer needs the counts of the other gateways; it never rejects, and resolves within about a second. The
   * caller adds a subscriber to the source in the same turn, and a publication after the answer.
   */
  admit(
    channel: string,
    options: { subscribe: boolean },
  ): ChannelRefusal | undefined | Promise<ChannelRefusal | undefined>
  /** Counts the channel although it was refused. */
  count(channel: string): void
  /** Called when `ChannelSource.useOf` returns something else than before. */
  changed(channel: string): void
}

/**
 * The interface through which a lease reads limits from, and reports to, the owner of the tenant on this
 * gateway.
 */
export interface LeaseListener {
  readonly channels: ChannelSource
  /** Returns the tenant's limit per second, over all gateways. */
  perSecond(rate: QuotaRate): number
  /** Called when `TenantLease.share` returns another value than before. */
  sharesChanged(): void
  /** Called with the amount of a rate that other gateways have used since the last call. */
  usedByOthers(rate: ReportedRate, amount: number): void
}

/** The use that one gateway makes of one tenant's quota. */
export interface TenantLease {
  readonly channels: ChannelLease
  /** The number of connections on this gateway. */
  readonly held: number
  /** The number of different users with a connection on this gateway. */
  readonly users: number
  /** The number of connections on all gateways, as last known; never less than `held`. */
  readonly heldByAll: number
  /** The number of connections of guests on this gateway. */
  readonly guests: number
  /** The number of connections of guests on all gateways, as last known; never less than `guests`. */
  readonly guestsByAll: number
  /**
   * Counts one more connection of `user` when the limits allow it. The count is exact over all gateways while
   * the shared count is available. Never rejects, and resolves within about a second. The caller calls
   * `release` when an admitted connection ends.
   */
  acquire(user: string, limits: ConnectionLimits): Promise<Admission>
  /** Resolves with the answer that `acquire` would give, without counting a connection. */
  check(user: string, limits: ConnectionLimits): Promise<Admission>
  /** Counts one more connection of `user`, regardless of the limits. */
  reserve(user: string): void
  /** Uncounts one connection of `user`. Throws when this gateway counts none. */
  release(user: string): void
  /** Returns the part of the tenant's limit that this gateway may use now, from 0 to 1. */
  share(rate: SharedRate): number
  /** Reports `n` requests, including refused ones, because shares follow the demand. */
  spend(rate: SharedRate, n: number): void
  /**
   * Reports work that was already done, so that the other gateways charge it too: a publisher is often on
   * another gateway than its subscribers.
   */
  report(rate: ReportedRate, n: number): void
  /** Ends the use of the quota by this gateway. Connections can still be released afterwards. */
  close(): void
}

/** Counts the use of quotas. It creates one lease for each tenant. */
export interface QuotaLedger {
  /** Opens the lease of a tenant. A tenant has one open lease at a time: close it before opening the next. */
  open(tenantId: string, listener: LeaseListener): TenantLease
}
