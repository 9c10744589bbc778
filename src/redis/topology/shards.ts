// The seam to the assignment of partitions to masters. One Redis holds every partition. In a Cluster each
// master holds some of the partitions that keys.ts divides channels into, and partitions move between
// masters.
import type { Locator } from './locator.js'

/**
 * One master with its replicas. A shard ends when its master holds no partition any more; a failover creates
 * another shard.
 */
export interface Shard {
  /** The name in logs: the master's address in a Cluster, `all` elsewhere. */
  readonly name: string
  readonly locator: Locator
  /**
   * Aborted when the shard holds no partition any more: requests that still wait for it belong to another
   * shard.
   */
  readonly retired: AbortSignal
}

/**
 * The shards and their partitions. Its members describe a state: `onChange` only says that the state may
 * differ now.
 */
export interface ShardMap {
  /** All shards that hold a partition. */
  readonly shards: readonly Shard[]
  /** The shard that holds `partition`. Undefined: no master holds it, or its master is not known yet. */
  holderOf(partition: number): Shard | undefined
  /**
   * Calls `listener` after each change of shards or holders. Returns a function that removes the listener.
   */
  onChange(listener: () => void): () => void
  /** Looks for the current holders at once: a shard has replied that a partition has moved. */
  refresh(): void
}
