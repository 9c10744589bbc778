// Which master holds what. One Redis holds everything; in a Cluster each master holds some of the partitions that keys.ts divides channels
// into, and they move. The seam, and the map of those that have nothing to divide.
import type { Locator } from './locator.js'

/** A master with its replicas. Lives until it holds nothing any more; a failover makes another. */
export interface Shard {
  /** For logs: the master's address in a Cluster, `all` elsewhere. */
  readonly name: string
  readonly locator: Locator
  /** Aborted when it holds nothing any more: what still waits for it belongs elsewhere. */
  readonly retired: AbortSignal
}

/** Levels, not edges: `onChange` only says that it is time to look. */
export interface ShardMap {
  /** Those that hold a partition. */
  readonly shards: readonly Shard[]
  /** Undefined: nobody, or it is not known yet. */
  holderOf(partition: number): Shard | undefined
  /** Called after each change of shards or holders. Returns how to stop that. */
  onChange(listener: () => void): () => void
  /** A shard has answered that something lies elsewhere: it is looked for at once. */
  refresh(): void
}

/** Standalone and Sentinel: one holds everything, whoever is its master. */
export function oneShard(locator: Locator): ShardMap {
  const shard: Shard = { name: 'all', locator, retired: new AbortController().signal }
  return { shards: [shard], holderOf: () => shard, onChange: () => () => {}, refresh: () => {} }
}
