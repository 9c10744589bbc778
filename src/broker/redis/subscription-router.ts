// Subscribes this gateway to topics on the shards that hold their partitions. When a partition has moved, the
// router retries until its topics are subscribed at the new shard.
import { setMaxListeners } from 'node:events'
import { pause } from '../../deadline.js'
import type { Log } from '../../log.js'
import { atHolder } from '../../redis/routing/at-holder.js'
import { PerShard } from '../../redis/routing/per-shard.js'
import { nextRedirectPauseMs, redirectPauseMs } from '../../redis/routing/redirects.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import type { Clock } from '../../time.js'
import type { Topic } from './channel-keys.js'
import type { TopicSubscriber, TopicEvents } from './topic-subscriber.js'

/** Receives the events of the subscriber connections. */
export interface TopicListener {
  /** Called with each message on a subscribed topic. */
  onMessage(topic: string, message: Buffer): void
  /** Called when topics are subscribed again after an interruption, in which messages were missed. */
  onResubscribed(topics: readonly string[]): void
}

export interface SubscriptionRouterOptions {
  readonly shards: ShardMap
  readonly clock: Clock
  readonly log: Log
  /** Creates the subscriber of a shard. It reports to `events`. */
  readonly createSubscriber: (shard: Shard, events: TopicEvents) => TopicSubscriber
  /** How long `add` looks for the shard that holds the topic, in milliseconds, before it rejects. */
  readonly patienceMs: number
}

export class SubscriptionRouter {
  readonly #options: SubscriptionRouterOptions
  readonly #subscribers: PerShard<TopicSubscriber>
  /** The desired topics by partition, each with the shard at which it was last subscribed. */
  readonly #desired = new Map<number, Map<string, Shard | undefined>>()
  /** The partitions whose topics are currently being subscribed at another shard. */
  readonly #moving = new Set<number>()
  readonly #closed = new AbortController()
  readonly #unsubscribe: () => void
  #listener: TopicListener | undefined

  constructor(options: SubscriptionRouterOptions) {
    const { createSubscriber, shards } = options
    this.#options = options
    const events: TopicEvents = {
      onMessage: (topic, message) => this.#listener?.onMessage(topic, message),
      onResubscribed: (topics) => this.#listener?.onResubscribed(topics),
      onUnsubscribed: () => {
        shards.refresh()
        this.#moveMisplaced()
      },
    }
    this.#subscribers = new PerShard(shards, (shard) => createSubscriber(shard, events))
    // Every partition that moves adds a listener to this signal.
    setMaxListeners(0, this.#closed.signal)
    this.#unsubscribe = shards.onChange(() => this.#moveMisplaced())
  }

  /** Sets the listener. Call it once, before the first `add`. */
  listen(listener: TopicListener): void {
    this.#listener = listener
  }

  /** Resolves when the topic is subscribed. Rejects when that takes longer than `patienceMs`. */
  async add(topic: Topic): Promise<void> {
    const { clock, patienceMs, shards } = this.#options
    const ofPartition = this.#desired.get(topic.partition) ?? new Map<string, Shard | undefined>()
    this.#desired.set(topic.partition, ofPartition.set(topic.topic, undefined))
    await atHolder(shards, topic.partition, (shard) => this.#subscribeAt(topic, shard), { clock, patienceMs })
  }

  /** Ends the subscription to a topic. */
  remove({ partition, topic }: Topic): void {
    const ofPartition = this.#desired.get(partition)
    const shard = ofPartition?.get(topic)
    ofPartition?.delete(topic)
    if (ofPartition?.size === 0) this.#desired.delete(partition)
    if (shard && !shard.retired.aborted) this.#subscribers.of(shard).remove(topic)
  }

  close(): void {
    this.#unsubscribe()
    this.#subscribers.close()
    this.#closed.abort()
  }

  #moveMisplaced(): void {
    for (const partition of this.#desired.keys()) {
      if (this.#moving.has(partition) || this.#misplaced(partition).length === 0) continue
      this.#moving.add(partition)
      this.#move(partition)
        .catch((error: unknown) =>
          this.#options.log.error({ err: error, partition }, 'subscribing to topics on another shard failed'),
        )
        .finally(() => this.#moving.delete(partition))
    }
  }

  /**
   * Runs until all topics of the partition are subscribed at its holder, or the next connection to the holder
   * will subscribe them.
   */
  async #move(partition: number): Promise<void> {
    const { shards } = this.#options
    let pauseMs = redirectPauseMs
    while (!this.#closed.signal.aborted) {
      const misplaced = this.#misplaced(partition)
      if (misplaced.length === 0) return
      const holder = shards.holderOf(partition)
      const results = holder
        ? await Promise.allSettled(misplaced.map((topic) => this.#subscribeAt(topic, holder)))
        : []
      const subscribed = misplaced.filter((_, index) => results[index]?.status === 'fulfilled')
      if (subscribed.length > 0) this.#listener?.onResubscribed(subscribed.map(({ topic }) => topic))
      if (subscribed.length === misplaced.length) continue
      shards.refresh()
      await pause(pauseMs, this.#closed.signal)
      pauseMs = nextRedirectPauseMs(pauseMs)
    }
  }

  async #subscribeAt(topic: Topic, shard: Shard): Promise<void> {
    const ofPartition = this.#desired.get(topic.partition)
    // The topic may have been removed meanwhile.
    if (!ofPartition?.has(topic.topic)) return
    const before = ofPartition.get(topic.topic)
    if (before && before !== shard && !before.retired.aborted)
      this.#subscribers.of(before).remove(topic.topic)
    ofPartition.set(topic.topic, shard)
    await this.#subscribers.of(shard).add(topic)
  }

  /** The topics of the partition that are not subscribed at its holder. */
  #misplaced(partition: number): Topic[] {
    const holder = this.#options.shards.holderOf(partition)
    const topics: Topic[] = []
    for (const [topic, shard] of this.#desired.get(partition) ?? []) {
      if (shard && (shard !== holder || this.#subscribers.of(shard).lacks(topic)))
        topics.push({ topic, partition })
    }
    return topics
  }
}
