// The seam beside broker.ts: what a broker keeps of the tenants' histories, and what it needs to know for it.
/** Names a channel: see `ChannelRef`. */
interface StoredChannel {
  readonly tenantId: string
  readonly channel: string
}

/** How much of a channel is kept: the newest `size` publications, each for at most `ttlMs` milliseconds. */
export interface HistoryRule {
  readonly size: number
  readonly ttlMs: number
}

/** What the broker needs to know about a tenant to watch what its histories occupy. */
export interface StorageQuota {
  readonly tenantId: string
  /** How many bytes the tenant's histories may occupy. */
  readonly storedBytesMax: number
  /** How many bytes all clients of the tenant together may publish per second. */
  readonly publishBytesPerSecond: number
}

/** The policies of the tenants that a gateway serves. The broker asks each time, and keeps nothing. */
export interface HistoryPolicies {
  /**
   * Returns the rule in force for a channel; null when the channel keeps no history; undefined when the
   * gateway does not know the tenant. A publication is kept for as long as it was published for, but not
   * longer than the rule in force says, nor among more publications. Without a known rule only the time to
   * live counts that it was published with.
   */
  historyOf(ref: StoredChannel): HistoryRule | null | undefined
  tenants(): Iterable<StorageQuota>
}

/** The policies of a broker that is not governed: it knows no tenant. */
export const noPolicies: HistoryPolicies = { historyOf: () => undefined, tenants: () => [] }

/** Returns the rule in force for a channel. A channel whose rule keeps no history keeps nothing. */
export function ruleInForce(policies: HistoryPolicies, ref: StoredChannel): HistoryRule | undefined {
  const rule = policies.historyOf(ref)
  return rule === null ? { size: 0, ttlMs: 0 } : rule
}

/** The memory of the fullest Redis server that this gateway writes to. */
export interface MemoryUse {
  readonly usedBytes: number
  /** 0: the server has no limit. */
  readonly maxBytes: number
  /**
   * True: the rest is reserved for control commands, presence, quotas and the catalog, and publications with
   * history are refused with BROKER_UNAVAILABLE.
   */
  readonly reserved: boolean
}

export interface BrokerStorage {
  /** Sets the policies. Default: every publication is kept as it was published. */
  govern(policies: HistoryPolicies): void
  /** Applies changed rules of a tenant to what is stored, within a minute. Reads apply them at once. */
  rulesChanged(tenantId: string): void
  /**
   * Returns how many bytes the tenant's histories occupy in all of Redis, including the overhead of Redis.
   * What this gateway publishes counts at once. What others publish counts after a second at most when the
   * tenant could reach its quota within two seconds, and after at most a minute otherwise. Undefined while
   * it is not known.
   */
  storedBytes(tenantId: string): number | undefined
  /** Returns the last reading of the memory. Undefined for a broker without Redis, and before a reading. */
  memory(): MemoryUse | undefined
}
