// What goes out over pub/sub, in order, one pipeline a turn. Acknowledged already: a failure here is not the publisher's business.
import { pause } from '../redis/deadline.js'
import { RedisUnavailableError, type RedisLink } from '../redis/live.js'

interface Message {
  readonly topic: string
  readonly message: Buffer
  /** May be sent twice: readers know it by its offset. */
  readonly again: boolean
}

export interface PublishQueueOptions {
  readonly link: RedisLink
  /** So many wait for a connection; older ones are dropped: gateways find what is missing in the stream. */
  readonly queueMax: number
}

const groupMax = 512
const refusedPauseMs = 100

export class PublishQueue {
  readonly #options: PublishQueueOptions
  #queue: Message[] = []
  #scheduled = false
  #running = false

  constructor(options: PublishQueueOptions) {
    this.#options = options
    options.link.onOpen(() => this.#schedule())
  }

  send(topic: string, message: Buffer, options: { again: boolean }): void {
    this.#queue.push({ topic, message, again: options.again })
    if (this.#queue.length > this.#options.queueMax) this.#queue.shift()
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#running || this.#queue.length === 0) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#running = true
      this.#sendAll()
        // It fails only by a fault of ours; what was to be sent is in the streams.
        .catch((error: unknown) => this.#options.link.current?.discard(String(error)))
        .finally(() => {
          this.#running = false
          if (this.#options.link.current) this.#schedule()
        })
    })
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      const live = this.#options.link.current
      if (!live || this.#queue.length === 0) return
      const group = this.#queue.splice(0, groupMax)
      const pipeline = live.client.pipeline()
      for (const { message, topic } of group) pipeline.publish(topic, message)
      try {
        const replies = await live.run(pipeline)
        const refused = group.filter(({ again }, index) => again && replies[index] instanceof Error)
        if (refused.length === 0) continue
        // Busy with somebody's script, for one: it passes.
        this.#queue = [...refused, ...this.#queue]
        await pause(refusedPauseMs)
      } catch (error) {
        if (error instanceof RedisUnavailableError) this.#queue = [...group, ...this.#queue]
        else this.#queue = [...group.filter(({ again }) => again), ...this.#queue]
      }
    }
  }
}
