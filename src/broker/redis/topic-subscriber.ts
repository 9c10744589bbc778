// Subscribes this gateway to the topics of one shard. The desired topics outlive connections: each new
// connection subscribes to all of them in batches. It then reports the topics, so that the caller can read
// the messages that each channel missed.
import { abortable } from '../../deadline.js'
import { RedisUnavailableError, type LiveRedis, type Prepare, type RedisLink } from '../../redis/link.js'
import { isRedirect, RedirectedError } from '../../redis/routing/redirects.js'
import type { Topic } from './channel-keys.js'

export interface TopicEvents {
  /** Called with each message on a subscribed topic. */
  onMessage(topic: string, message: Buffer): void
  /**
   * Called when topics are subscribed again: messages in between were missed. It is not called for their
   * first subscription.
   */
  onResubscribed(topics: readonly string[]): void
  /**
   * Called when desired topics are no longer subscribed at this shard: another shard holds their partition,
   * or will hold it soon.
   */
  onUnsubscribed(): void
}

export interface TopicSubscriberOptions {
  /** Creates the link to the shard. */
  readonly createLink: (prepare: Prepare) => RedisLink
  /** Aborted when the shard holds no partition any more. After that `add` rejects with RedirectedError. */
  readonly retired: AbortSignal
  /**
   * True in a Cluster, which uses sharded pub/sub: a command takes topics of one partition only, and the
   * server ends the subscriptions to slots that move to another master.
   */
  readonly sharded: boolean
  /** The deadline for the answer to a SUBSCRIBE, in milliseconds. */
  readonly replyMs: number
  readonly events: TopicEvents
}

/** The most topics in one command. Thousands of single commands would keep Redis busy after each failover. */
const batchMax = 512

interface PendingSubscription extends Topic {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class TopicSubscriber {
  readonly #options: TopicSubscriberOptions
  readonly #link: RedisLink
  /** The desired topics and their partitions. */
  readonly #desired = new Map<string, number>()
  /** The topics that the current connection is subscribed to. */
  #subscribed = new Set<string>()
  /** The topics that the server refused while the current connection was prepared. */
  #refused: readonly string[] = []
  #pending: PendingSubscription[] = []
  #scheduled = false
  #comparing = false

  constructor(options: TopicSubscriberOptions) {
    this.#options = options
    this.#link = options.createLink((live) => this.#prepare(live))
    this.#link.onOpen((live) => this.#opened(live))
  }

  /**
   * Subscribes a new connection to all desired topics that are available at this shard, before the link
   * returns it.
   */
  async #prepare(live: LiveRedis): Promise<void> {
    const { events, sharded } = this.#options
    live.client.on(sharded ? 'smessageBuffer' : 'messageBuffer', (topic: Buffer, message: Buffer) =>
      events.onMessage(topic.toString(), message),
    )
    live.client.on('moved', () => this.#compareSoon(live))
    const subscribed = new Set<string>()
    const desired = [...this.#desired].map(([topic, partition]) => ({ topic, partition }))
    const refused: string[] = []
    await this.#subscribe(live, desired, (batch, error) => {
      if (error) refused.push(...batch)
      else for (const topic of batch) subscribed.add(topic)
    })
    this.#subscribed = subscribed
    this.#refused = refused
  }

  /**
   * Returns whether there is a connection that is not subscribed to the topic. The next connection would
   * subscribe to it.
   */
  lacks(topic: string): boolean {
    return this.#link.current !== undefined && !this.#subscribed.has(topic)
  }

  #opened(live: LiveRedis): void {
    const { events, sharded } = this.#options
    // The server may have ended subscriptions while others were still being requested.
    if (sharded) this.#compareSoon(live)
    // This must not happen earlier: without a connection `lacks` returns false, and the refused topics would
    // be ignored.
    if (this.#refused.length > 0) events.onUnsubscribed()
    if (this.#subscribed.size > 0) events.onResubscribed([...this.#subscribed])
    this.#schedule()
  }

  /**
   * Resolves when the topic is subscribed. Rejects when that takes longer than `replyMs`, and with
   * RedirectedError when the topic is not available at this shard.
   */
  add({ partition, topic }: Topic): Promise<void> {
    this.#desired.set(topic, partition)
    if (this.#subscribed.has(topic) && this.#link.current) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#pending.push({ topic, partition, resolve, reject })
      this.#schedule()
    })
  }

  /** Ends the subscription to a topic. */
  remove(topic: string): void {
    this.#desired.delete(topic)
    if (!this.#subscribed.delete(topic)) return
    // The reply is not needed: messages that still arrive are ignored, because the channel is no longer
    // followed.
    const client = this.#link.current?.client
    const ended = this.#options.sharded ? client?.sunsubscribe(topic) : client?.unsubscribe(topic)
    ended?.catch(() => {})
  }

  #schedule(): void {
    if (this.#scheduled || this.#pending.length === 0) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      const group = this.#pending.splice(0, batchMax)
      this.#subscribeGroup(group).catch((error: unknown) => {
        const reason = this.#options.retired.aborted ? new RedirectedError('the shard is retired') : error
        for (const { reject } of group) reject(reason)
      })
      this.#schedule()
    })
  }

  async #subscribeGroup(group: readonly PendingSubscription[]): Promise<void> {
    const { replyMs, retired } = this.#options
    const link = this.#link
    const live = link.current ?? (await abortable(retired, link.ready(replyMs)))
    const missing = new Map(
      group.filter(({ topic }) => !this.#subscribed.has(topic)).map((one) => [one.topic, one]),
    )
    const refused = new Map<string, Error>()
    await this.#subscribe(live, [...missing.values()], (batch, error) => {
      for (const topic of batch) {
        if (error) refused.set(topic, error)
        else if (live === link.current) this.#subscribed.add(topic)
        // The topic may have been removed before the reply arrived.
        if (!this.#desired.has(topic)) this.remove(topic)
      }
    })
    for (const { reject, resolve, topic } of group) {
      const error = refused.get(topic)
      if (error) reject(error)
      else resolve()
    }
  }

  /**
   * Subscribes to all topics in concurrent batches. Reports each batch, with a RedirectedError when its
   * partition is not available at this shard.
   */
  async #subscribe(
    live: LiveRedis,
    topics: readonly Topic[],
    report: (batch: readonly string[], error?: RedirectedError) => void,
  ): Promise<void> {
    const { replyMs, sharded } = this.#options
    if (topics.length === 0) return
    if (live.lost.aborted) throw new RedisUnavailableError('the subscriber connection was lost')
    const signal = AbortSignal.any([live.lost, AbortSignal.timeout(replyMs)])
    const interrupted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new RedisUnavailableError('no reply to SUBSCRIBE')), {
        once: true,
      })
    })
    const batches = batchesOf(topics, { byPartition: sharded }).map(async (batch) => {
      try {
        await (sharded ? live.client.ssubscribe(...batch) : live.client.subscribe(...batch))
        report(batch)
      } catch (error) {
        if (!isRedirect(error)) throw error
        report(batch, new RedirectedError(error.message))
      }
    })
    await Promise.race([Promise.all(batches), interrupted]).catch((error: unknown) => {
      live.discard('SUBSCRIBE failed')
      throw error
    })
  }

  /**
   * Compares the subscriptions with those of the client, after the server has ended or refused some. The
   * server reports them one by one, so one comparison covers all reports of one turn of the event loop.
   */
  #compareSoon(live: LiveRedis): void {
    if (this.#comparing) return
    this.#comparing = true
    setImmediate(() => {
      this.#comparing = false
      if (live !== this.#link.current) return
      const subscriber = live.client.condition?.subscriber
      const left = new Set(subscriber ? subscriber.channels('ssubscribe') : [])
      const ended = [...this.#subscribed].filter((topic) => !left.has(topic))
      for (const topic of ended) this.#subscribed.delete(topic)
      if (ended.length > 0) this.#options.events.onUnsubscribed()
    })
  }
}

function batchesOf(topics: readonly Topic[], { byPartition }: { byPartition: boolean }): string[][] {
  const groups = new Map<number, string[]>()
  for (const { partition, topic } of topics) {
    const group = byPartition ? partition : 0
    const known = groups.get(group)
    if (known) known.push(topic)
    else groups.set(group, [topic])
  }
  return [...groups.values()].flatMap((group) =>
    Array.from({ length: Math.ceil(group.length / batchMax) }, (_, n) =>
      group.slice(n * batchMax, (n + 1) * batchMax),
    ),
  )
}
