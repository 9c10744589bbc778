// What the Redis broker keeps of the tenants' histories: see the seam in ../storage.ts. The housekeeper of
// each shard does the work.
import { CommandError } from '../../errors.js'
import { PerShard } from '../../redis/routing/per-shard.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import type { ChannelRef } from '../broker.js'
import {
  noPolicies,
  ruleInForce,
  type BrokerStorage,
  type HistoryPolicies,
  type HistoryRule,
  type MemoryUse,
} from '../storage.js'
import type { ChannelLocation } from './channel-keys.js'
import type { Housekeeper } from './housekeeper.js'
import type { StoredBytes } from './stored-bytes.js'

export interface RedisStorageParts {
  readonly shards: ShardMap
  readonly storedBytes: StoredBytes
  readonly createHousekeeper: (shard: Shard, policies: () => HistoryPolicies) => Housekeeper
}

export class RedisStorage implements BrokerStorage {
  readonly #shards: ShardMap
  readonly #storedBytes: StoredBytes
  readonly #housekeepers: PerShard<Housekeeper>
  #policies = noPolicies

  constructor({ createHousekeeper, shards, storedBytes }: RedisStorageParts) {
    this.#shards = shards
    this.#storedBytes = storedBytes
    this.#housekeepers = new PerShard(shards, (shard) => createHousekeeper(shard, () => this.#policies))
  }

  govern(policies: HistoryPolicies): void {
    this.#policies = policies
  }

  rulesChanged(tenantId: string): void {
    for (const shard of this.#shards.shards) this.#housekeepers.of(shard).recheck(tenantId)
  }

  storedBytes(tenantId: string): number | undefined {
    return this.#storedBytes.of(tenantId)
  }

  memory(): MemoryUse | undefined {
    const uses = this.#shards.shards.flatMap((shard) => this.#housekeepers.of(shard).memory.use ?? [])
    return uses.toSorted((a, b) => shareOf(b) - shareOf(a)).at(0)
  }

  /** See `ruleInForce`. */
  ruleOf(ref: ChannelRef): HistoryRule | undefined {
    return ruleInForce(this.#policies, ref)
  }

  /** Records what the tenant occupies in the partition of one of its channels. */
  record({ partition, tenantId }: ChannelLocation, bytes: number | undefined): void {
    if (bytes !== undefined) this.#storedBytes.set(tenantId, partition, bytes)
  }

  /** Returns the time of the master that holds the partition, in milliseconds since the Unix epoch. */
  nowMs({ partition }: ChannelLocation): number | undefined {
    return this.#housekeeperOf(partition)?.time.nowMs()
  }

  /** Throws BROKER_UNAVAILABLE while the memory of the master is reserved. */
  checkMemory({ channel, partition }: ChannelLocation): void {
    const use = this.#housekeeperOf(partition)?.memory.use
    if (!use?.reserved) return
    throw new CommandError(
      'BROKER_UNAVAILABLE',
      `Cannot publish to "${channel}": nothing was stored, because Redis is almost full. Try again later`,
      { retryAfterMs: 5_000 },
    )
  }

  close(): void {
    for (const shard of this.#shards.shards) this.#housekeepers.of(shard).close()
    this.#housekeepers.close()
  }

  #housekeeperOf(partition: number): Housekeeper | undefined {
    const shard = this.#shards.holderOf(partition)
    return shard && this.#housekeepers.of(shard)
  }
}

function shareOf({ maxBytes, usedBytes }: MemoryUse): number {
  return maxBytes === 0 ? 0 : usedBytes / maxBytes
}
