// Which topics this gateway listens to. What is wanted outlives connections: each new one gets all of it, in batches, and is told apart
// from the last by the caller, who then asks every channel what it missed.
import { RedisUnavailableError, type LiveRedis, type RedisLink } from '../redis/live.js'

export interface TopicsOptions {
  readonly link: RedisLink
  readonly replyMs: number
  /** A topic's channels are heard again: what came meanwhile was missed. Not called for the first time. */
  onResubscribed(topics: readonly string[]): void
}

/** One command holds so many; a storm of single ones would keep Redis busy after each failover. */
const batchMax = 512

export class Topics {
  readonly #options: TopicsOptions
  readonly #wanted = new Set<string>()
  /** Heard on the present connection. */
  #heard = new Set<string>()
  #waiting: { topic: string; resolve: () => void; reject: (error: unknown) => void }[] = []
  #scheduled = false

  constructor(options: TopicsOptions) {
    this.#options = options
    options.link.onOpen(() => this.#opened())
  }

  /** Given to the subscriber link: a connection is open when it hears all that is wanted. */
  async prepare(live: LiveRedis): Promise<void> {
    const topics = [...this.#wanted]
    const heard = new Set<string>()
    for (let start = 0; start < topics.length; start += batchMax) {
      const batch = topics.slice(start, start + batchMax)
      await this.#subscribe(live, batch)
      for (const topic of batch) heard.add(topic)
    }
    this.#heard = heard
  }

  #opened(): void {
    if (this.#heard.size > 0) this.#options.onResubscribed([...this.#heard])
    this.#schedule()
  }

  /** Resolves when the topic is heard. Rejects when that does not happen within the patience of the link's `ready`. */
  add(topic: string): Promise<void> {
    this.#wanted.add(topic)
    if (this.#heard.has(topic) && this.#options.link.current) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ topic, resolve, reject })
      this.#schedule()
    })
  }

  remove(topic: string): void {
    this.#wanted.delete(topic)
    if (!this.#heard.delete(topic)) return
    // Unheard is only tidiness: what comes all the same finds nobody.
    this.#options.link.current?.client.unsubscribe(topic).catch(() => {})
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      const group = this.#waiting.splice(0, batchMax)
      this.#subscribeGroup(group).catch((error: unknown) => {
        for (const { reject } of group) reject(error)
      })
      this.#schedule()
    })
  }

  async #subscribeGroup(group: readonly { topic: string; resolve: () => void }[]): Promise<void> {
    const { link, replyMs } = this.#options
    const live = link.current ?? (await link.ready(replyMs))
    const unheard = [...new Set(group.map(({ topic }) => topic))].filter((topic) => !this.#heard.has(topic))
    if (unheard.length > 0) await this.#subscribe(live, unheard)
    for (const topic of unheard) {
      if (live !== link.current) break
      this.#heard.add(topic)
      // Given up while the reply was on its way.
      if (!this.#wanted.has(topic)) this.remove(topic)
    }
    for (const { resolve } of group) resolve()
  }

  async #subscribe(live: LiveRedis, topics: readonly string[]): Promise<void> {
    const { replyMs } = this.#options
    if (live.lost.aborted) throw new RedisUnavailableError('the subscriber connection was lost')
    const signal = AbortSignal.any([live.lost, AbortSignal.timeout(replyMs)])
    const interrupted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new RedisUnavailableError('no reply to SUBSCRIBE')), {
        once: true,
      })
    })
    await Promise.race([live.client.subscribe(...topics), interrupted]).catch((error: unknown) => {
      live.discard('it did not subscribe')
      throw error
    })
  }
}
