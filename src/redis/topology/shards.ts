// The assignment of partitions to masters. Without a Cluster one master holds every partition. In a Cluster
// each master holds some of the partitions that keys.ts divides channels into, and partitions move between
// masters.
import type { Locator } from './locator.js'

/**
 * One master with its replicas. A shard ends when its master holds no partition any more. In a Cluster a
 * failover creates another shard.
 */
export interface Shard {
  /** The name in logs: the address of the master in a Cluster, otherwise `all`. */
  readonly name: string
  readonly locator: Locator
  /**
   * Aborted when the shard holds no partition any more. Requests that are still waiting for it must go to
   * another shard.
   */
  readonly retired: AbortSignal
}

/**
 * The shards and their partitions. Its members describe the current state; `onChange` only reports that the
 * state may have changed.
 */
export interface ShardMap {
  /** All shards that hold a partition. */
  readonly shards: readonly Shard[]
  /** The shard that holds `partition`. Undefined when no master holds it or its master is not known. */
  holderOf(partition: number): Shard | undefined
  /**
   * Calls `listener` after each change of shards or holders. Returns a function that removes the listener.
   */
  onChange(listener: () => void): () => void
  /** Looks up the current holders soon. Called when a shard has replied that a partition has moved. */
  refresh(): void
}
