// What each shard needs for itself: connections, queues.
import { setMaxListeners } from 'node:events'
import type { Shard, ShardMap } from '../topology/shards.js'

/** Made as soon as a shard appears, so that its connections are open before they are needed; forgotten when it is retired. */
export class PerShard<Parts> {
  readonly #parts = new Map<Shard, Parts>()
  readonly #make: (shard: Shard) => Parts
  readonly #deaf: () => void

  constructor(shards: ShardMap, make: (shard: Shard) => Parts) {
    this.#make = make
    const look = (): void => {
      for (const shard of shards.shards) this.of(shard)
    }
    this.#deaf = shards.onChange(look)
    look()
  }

  of(shard: Shard): Parts {
    const known = this.#parts.get(shard)
    if (known !== undefined) return known
    // Whatever waits for the shard listens.
    setMaxListeners(0, shard.retired)
    const parts = this.#make(shard)
    this.#parts.set(shard, parts)
    const forget = (): void => void this.#parts.delete(shard)
    if (shard.retired.aborted) forget()
    else shard.retired.addEventListener('abort', forget, { once: true })
    return parts
  }

  /** No more are made for what appears. */
  close(): void {
    this.#deaf()
  }
}
