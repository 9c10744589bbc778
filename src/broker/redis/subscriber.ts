// Which topics this gateway hears of one shard. What is wanted outlives connections: each new one gets all of it, in batches, and is told
// apart from the last by the caller, who then asks every channel what it missed.
import { unlessAborted } from '../../deadline.js'
import { ElsewhereError, liesElsewhere } from '../../redis/routing/redirects.js'
import { RedisUnavailableError, type LiveRedis, type RedisLink } from '../../redis/link.js'

export interface TopicsOptions {
  readonly link: RedisLink
  /** From then on all is refused with ElsewhereError. */
  readonly retired: AbortSignal
  /** A Cluster's own pub/sub: a command takes topics of one partition, and the server ends subscriptions to what it gives away. */
  readonly sharded: boolean
  readonly replyMs: number
  /** Topics are heard again: what came meanwhile was missed. Not called for the first time. */
  onResubscribed(topics: readonly string[]): void
  /** Wanted topics are not heard here any more: their partition is another shard's, or will be. */
  onElsewhere(topics: readonly string[]): void
}

export interface Topic {
  readonly topic: string
  readonly partition: number
}

/** One command holds so many; a storm of single ones would keep Redis busy after each failover. */
const batchMax = 512

interface Waiting extends Topic {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class Topics {
  readonly #options: TopicsOptions
  /** With their partitions. */
  readonly #wanted = new Map<string, number>()
  /** Heard on the present connection. */
  #heard = new Set<string>()
  /** Refused to the present connection when it was prepared. */
  #refused: readonly string[] = []
  #waiting: Waiting[] = []
  #scheduled = false
  #comparing = false

  constructor(options: TopicsOptions) {
    this.#options = options
    options.link.onOpen((live) => this.#opened(live))
  }

  /** Given to the subscriber link: a connection is open when it hears all that is wanted and is to be heard here. */
  async prepare(live: LiveRedis): Promise<void> {
    live.client.on('moved', () => this.#compareSoon(live))
    const heard = new Set<string>()
    const wanted = [...this.#wanted].map(([topic, partition]) => ({ topic, partition }))
    const refused: string[] = []
    await this.#subscribe(live, wanted, (batch, error) => {
      if (error) refused.push(...batch)
      else for (const topic of batch) heard.add(topic)
    })
    this.#heard = heard
    this.#refused = refused
  }

  /** The connection is there and does not hear it. A connection that is to come will. */
  lacks(topic: string): boolean {
    return this.#options.link.current !== undefined && !this.#heard.has(topic)
  }

  #opened(live: LiveRedis): void {
    // Ended while others were still being asked for.
    if (this.#options.sharded) this.#compareSoon(live)
    // Not earlier: what a connection that is to come lacks is not looked for.
    if (this.#refused.length > 0) this.#options.onElsewhere(this.#refused)
    if (this.#heard.size > 0) this.#options.onResubscribed([...this.#heard])
    this.#schedule()
  }

  /** Resolves when the topic is heard. Rejects when that does not happen within `replyMs`; ElsewhereError: it is not heard here. */
  add({ partition, topic }: Topic): Promise<void> {
    this.#wanted.set(topic, partition)
    if (this.#heard.has(topic) && this.#options.link.current) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ topic, partition, resolve, reject })
      this.#schedule()
    })
  }

  remove(topic: string): void {
    this.#wanted.delete(topic)
    if (!this.#heard.delete(topic)) return
    // Unheard is only tidiness: what comes all the same finds nobody.
    const client = this.#options.link.current?.client
    const unheard = this.#options.sharded ? client?.sunsubscribe(topic) : client?.unsubscribe(topic)
    unheard?.catch(() => {})
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      const group = this.#waiting.splice(0, batchMax)
      this.#subscribeGroup(group).catch((error: unknown) => {
        const refusal = this.#options.retired.aborted ? new ElsewhereError('the shard is retired') : error
        for (const { reject } of group) reject(refusal)
      })
      this.#schedule()
    })
  }

  async #subscribeGroup(group: readonly Waiting[]): Promise<void> {
    const { link, replyMs, retired } = this.#options
    const live = link.current ?? (await unlessAborted(retired, link.ready(replyMs)))
    const unheard = new Map(
      group.filter(({ topic }) => !this.#heard.has(topic)).map((one) => [one.topic, one]),
    )
    const refused = new Map<string, Error>()
    await this.#subscribe(live, [...unheard.values()], (batch, error) => {
      for (const topic of batch) {
        if (error) refused.set(topic, error)
        else if (live === link.current) this.#heard.add(topic)
        // Given up while the reply was on its way.
        if (!this.#wanted.has(topic)) this.remove(topic)
      }
    })
    for (const { reject, resolve, topic } of group) {
      const error = refused.get(topic)
      if (error) reject(error)
      else resolve()
    }
  }

  /** All at once, in batches; tells of each batch, with an ElsewhereError where its partition is not heard here. */
  async #subscribe(
    live: LiveRedis,
    topics: readonly Topic[],
    tell: (batch: readonly string[], error?: ElsewhereError) => void,
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
        tell(batch)
      } catch (error) {
        if (!liesElsewhere(error)) throw error
        tell(batch, new ElsewhereError(error.message))
      }
    })
    await Promise.race([Promise.all(batches), interrupted]).catch((error: unknown) => {
      live.discard('it did not subscribe')
      throw error
    })
  }

  /** The server has ended subscriptions, or refused them. It tells of one after the other; together they are looked for once. */
  #compareSoon(live: LiveRedis): void {
    if (this.#comparing) return
    this.#comparing = true
    setImmediate(() => {
      this.#comparing = false
      if (live !== this.#options.link.current) return
      const subscriber = live.client.condition?.subscriber
      const left = new Set(subscriber ? subscriber.channels('ssubscribe') : [])
      const ended = [...this.#heard].filter((topic) => !left.has(topic))
      for (const topic of ended) this.#heard.delete(topic)
      if (ended.length > 0) this.#options.onElsewhere(ended)
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
