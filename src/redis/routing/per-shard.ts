// Keeps one instance of an object for each shard, such as a worker or a reader.
import { setMaxListeners } from 'node:events'
import type { Shard, ShardMap } from '../topology/shards.js'

export interface PerShardOptions {
  /**
   * Called when a shard appears. When it returns false, the instance is created at its first use. Default:
   * always true.
   */
  readonly eager?: () => boolean
}

/**
 * Holds the instances by shard. It creates an instance as soon as a shard appears, so that the connection of
 * the instance is open before it is needed, and drops it when the shard is retired.
 */
export class PerShard<Instance> {
  readonly #instances = new Map<Shard, Instance>()
  readonly #create: (shard: Shard) => Instance
  readonly #unsubscribe: () => void

  constructor(
    shards: ShardMap,
    create: (shard: Shard) => Instance,
    { eager = () => true }: PerShardOptions = {},
  ) {
    this.#create = create
    const createMissing = (): void => {
      if (eager()) for (const shard of shards.shards) this.of(shard)
    }
    this.#unsubscribe = shards.onChange(createMissing)
    createMissing()
  }

  /** Returns the instance of a shard, and creates it if necessary. */
  of(shard: Shard): Instance {
    const known = this.#instances.get(shard)
    if (known !== undefined) return known
    // Every part that waits for the shard adds a listener to this signal.
    setMaxListeners(0, shard.retired)
    const instance = this.#create(shard)
    this.#instances.set(shard, instance)
    const drop = (): void => void this.#instances.delete(shard)
    if (shard.retired.aborted) drop()
    else shard.retired.addEventListener('abort', drop, { once: true })
    return instance
  }

  /** Stops creating instances for shards that appear. */
  close(): void {
    this.#unsubscribe()
  }
}
