// Which topics this gateway hears, wherever their partitions lie. Where something that is wanted is not heard, it is asked for until it is.
import { setMaxListeners } from 'node:events'
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { atHolder, elsewherePauseMs, nextPauseMs } from '../../redis/routing/redirects.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import type { Clock } from '../../time.js'
import type { Topic, Topics } from './subscriber.js'

export interface TopicRoutesOptions {
  readonly shards: ShardMap
  readonly clock: Clock
  readonly log: Log
  readonly topicsOf: (shard: Shard) => Topics
  /** How long `add` looks for a holder. */
  readonly patienceMs: number
  /** Topics were not heard for a while, and are again: what came meanwhile was missed. */
  readonly onMoved: (topics: readonly string[]) => void
}

export class TopicRoutes {
  readonly #options: TopicRoutesOptions
  /** By partition: topics, and who was asked for them last. */
  readonly #wanted = new Map<number, Map<string, Shard | undefined>>()
  readonly #moving = new Set<number>()
  readonly #closed = new AbortController()
  readonly #deaf: () => void

  constructor(options: TopicRoutesOptions) {
    this.#options = options
    // Every partition that moves listens.
    setMaxListeners(0, this.#closed.signal)
    this.#deaf = options.shards.onChange(() => this.look())
  }

  /** Resolves when the topic is heard. Rejects when that takes longer than the patience. */
  async add(topic: Topic): Promise<void> {
    const { clock, patienceMs, shards } = this.#options
    const ofPartition = this.#wanted.get(topic.partition) ?? new Map<string, Shard | undefined>()
    this.#wanted.set(topic.partition, ofPartition.set(topic.topic, undefined))
    await atHolder(shards, topic.partition, (shard) => this.#hear(topic, shard), { clock, patienceMs })
  }

  remove({ partition, topic }: Topic): void {
    const ofPartition = this.#wanted.get(partition)
    const shard = ofPartition?.get(topic)
    ofPartition?.delete(topic)
    if (ofPartition?.size === 0) this.#wanted.delete(partition)
    if (shard && !shard.retired.aborted) this.#options.topicsOf(shard).remove(topic)
  }

  /** Something may be heard no more where it was. */
  look(): void {
    for (const partition of this.#wanted.keys()) {
      if (this.#moving.has(partition) || this.#astray(partition).length === 0) continue
      this.#moving.add(partition)
      this.#move(partition)
        .catch((error: unknown) =>
          this.#options.log.error({ err: error, partition }, 'topics cannot be moved'),
        )
        .finally(() => this.#moving.delete(partition))
    }
  }

  close(): void {
    this.#deaf()
    this.#closed.abort()
  }

  /** Until all of the partition is heard where it lies, or it is known that a new connection there will do that. */
  async #move(partition: number): Promise<void> {
    const { onMoved, shards } = this.#options
    let pauseMs = elsewherePauseMs
    while (!this.#closed.signal.aborted) {
      const astray = this.#astray(partition)
      if (astray.length === 0) return
      const holder = shards.holderOf(partition)
      const asked = holder ? await Promise.allSettled(astray.map((topic) => this.#hear(topic, holder))) : []
      const heard = astray.filter((_, index) => asked[index]?.status === 'fulfilled')
      if (heard.length > 0) onMoved(heard.map(({ topic }) => topic))
      if (heard.length === astray.length) continue
      shards.refresh()
      await pause(pauseMs, this.#closed.signal)
      pauseMs = nextPauseMs(pauseMs)
    }
  }

  async #hear(topic: Topic, shard: Shard): Promise<void> {
    const { topicsOf } = this.#options
    const ofPartition = this.#wanted.get(topic.partition)
    // Given up meanwhile.
    if (!ofPartition?.has(topic.topic)) return
    const before = ofPartition.get(topic.topic)
    if (before && before !== shard && !before.retired.aborted) topicsOf(before).remove(topic.topic)
    ofPartition.set(topic.topic, shard)
    await topicsOf(shard).add(topic)
  }

  #astray(partition: number): Topic[] {
    const { shards, topicsOf } = this.#options
    const holder = shards.holderOf(partition)
    const topics: Topic[] = []
    for (const [topic, shard] of this.#wanted.get(partition) ?? []) {
      if (shard && (shard !== holder || topicsOf(shard).lacks(topic))) topics.push({ topic, partition })
    }
    return topics
  }
}
