// Keeps one instance of something for each shard: a connection, a worker, a reader.
import { setMaxListeners } from 'node:events'
import type { Shard, ShardMap } from '../topology/shards.js'

export interface PerShardOptions {
  /**
   * Asked when a shard appears. False: its instance is created when it is first used. Default: always true.
   */
  readonly eager?: () => boolean
}

/**
 * Creates an instance as soon as a shard appears, so that its connection is open before it is needed. Drops
 * it when the shard is retired.
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

  of(shard: Shard): Instance {
    const known = this.#instances.get(shard)
    if (known !== undefined) return known
    // Everything that waits for the shard listens to this signal.
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
