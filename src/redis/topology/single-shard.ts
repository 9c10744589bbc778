// The shard map of a standalone Redis and of a Sentinel set: one shard holds every partition.
import type { Locator } from './locator.js'
import type { Shard, ShardMap } from './shards.js'

/** Returns a map of one shard that never changes; a failover changes only the address of its locator. */
export function singleShardMap(locator: Locator): ShardMap {
  const shard: Shard = { name: 'all', locator, retired: new AbortController().signal }
  return { shards: [shard], holderOf: () => shard, onChange: () => () => {}, refresh: () => {} }
}
