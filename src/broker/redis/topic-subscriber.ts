// Subscribes this gateway to the topics of one shard. The desired topics outlive connections: each new
// connection subscribes to all of them, in batches, and reports that it has, so that the caller can read what
// each channel missed.
import { abortable } from '../../deadline.js'
import { RedisUnavailableError, type LiveRedis, type Prepare, type RedisLink } from '../../redis/link.js'
import { isRedirect, RedirectedError } from '../../redis/routing/redirects.js'
import type { Topic } from './channel-keys.js'

export interface TopicEvents {
  onMessage(topic: string, message: Buffer): void
  /**
   * The topics are subscribed again: messages in between were missed. Not called for their first
   * subscription.
   */
  onResubscribed(topics: readonly string[]): void
  /** Desired topics are no longer subscribed here: another shard holds their partition, or is about to. */
  onUnsubscribed(): void
}

export interface TopicSubscriberOptions {
  /** Creates the link to the shard. */
  readonly createLink: (prepare: Prepare) => RedisLink
  /** Aborted when the shard holds nothing any more. From then on all is rejected with RedirectedError. */
  readonly retired: AbortSignal
  /**
   * A Cluster's own pub/sub: a command takes topics of one partition, and the server ends subscriptions to
   * slots that it gives away.
   */
  readonly sharded: boolean
  /** How long Redis may take to answer a SUBSCRIBE, in milliseconds. */
  readonly replyMs: number
  readonly events: TopicEvents
}

/**
 * At most this many topics per command: thousands of single commands would keep Redis busy after each
 * failover.
 */
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
  /** The topics that the present connection is subscribed to. */
  #subscribed = new Set<string>()
  /** The topics that were refused to the present connection when it was prepared. */
  #refused: readonly string[] = []
  #pending: PendingSubscription[] = []
  #scheduled = false
  #comparing = false

  constructor(options: TopicSubscriberOptions) {
    this.#options = options
    this.#link = options.createLink((live) => this.#prepare(live))
    this.#link.onOpen((live) => this.#opened(live))
  }

  /** A connection is handed out when it is subscribed to all desired topics that are available here. */
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

  /** Whether there is a connection that is not subscribed to the topic. A future connection will be. */
  lacks(topic: string): boolean {
    return this.#link.current !== undefined && !this.#subscribed.has(topic)
  }

  #opened(live: LiveRedis): void {
    const { events, sharded } = this.#options
    // The server may have ended subscriptions while others were still requested.
    if (sharded) this.#compareSoon(live)
    // Not earlier: without a connection, `lacks` is false and the refused topics would be left alone.
    if (this.#refused.length > 0) events.onUnsubscribed()
    if (this.#subscribed.size > 0) events.onResubscribed([...this.#subscribed])
    this.#schedule()
  }

  /**
   * Resolves when the topic is subscribed. Rejects when that takes longer than `replyMs`, and with
   * RedirectedError when it is not available here.
   */
  add({ partition, topic }: Topic): Promise<void> {
    this.#desired.set(topic, partition)
    if (this.#subscribed.has(topic) && this.#link.current) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#pending.push({ topic, partition, resolve, reject })
      this.#schedule()
    })
  }

  remove(topic: string): void {
    this.#desired.delete(topic)
    if (!this.#subscribed.delete(topic)) return
    // Nothing depends on the reply: a message that still arrives finds no channel.
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
   * Subscribes to all topics at once, in batches. Reports each batch, with a RedirectedError when its
   * partition is not available here.
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
   * The server has ended or refused subscriptions. It reports them one by one; one comparison covers those of
   * a turn.
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
