// What goes out over pub/sub of one shard, in order, one pipeline a turn. Acknowledged already: a failure here is not the publisher's business.
import { pause } from '../../deadline.js'
import { liesElsewhere } from '../../redis/routing/redirects.js'
import { RedisUnavailableError, type RedisLink } from '../../redis/link.js'
import { takeOf, type Job, type Lane, type LaneReport } from '../../redis/routing/shard-router.js'
import { joinedMessages } from '../envelope.js'
import type { AnnounceBy } from './pending-write.js'

/** Its key is the topic. */
export interface Message extends Job {
  readonly message: Buffer
  /** May be sent twice: readers know it by its offset. */
  readonly again: boolean
}

export interface PublishQueueOptions {
  readonly link: RedisLink
  /** From then on all is given back. */
  readonly retired: AbortSignal
  readonly report: LaneReport<Message>
  readonly announceBy: AnnounceBy
  /** So many wait for a connection; older ones are dropped: gateways find what is missing in the stream. */
  readonly queueMax: number
}

const groupMax = 512
/** Of messages to one topic that go as one; a longer one goes alone. */
const batchBytesMax = 262_144
const refusedPauseMs = 100

export class PublishQueue implements Lane<Message> {
  readonly #options: PublishQueueOptions
  #queue: Message[] = []
  #scheduled = false
  #running = false

  constructor(options: PublishQueueOptions) {
    this.#options = options
    options.link.onOpen(() => this.#schedule())
    options.retired.addEventListener('abort', () => this.#schedule(), { once: true })
  }

  send(message: Message): void {
    this.#queue.push(message)
    if (this.#queue.length > this.#options.queueMax) this.#settle(this.#queue.splice(0, 1))
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
          if (this.#options.link.current ?? this.#options.retired.aborted) this.#schedule()
        })
    })
  }

  async #sendAll(): Promise<void> {
    const { announceBy, link, retired } = this.#options
    for (;;) {
      if (retired.aborted) return this.#giveBack(this.#queue.splice(0))
      const live = link.current
      if (!live || this.#queue.length === 0) return
      const group = this.#queue.splice(0, groupMax)
      const pipeline = live.client.pipeline()
      const batches = batchesOf(group)
      for (const messages of batches) {
        const [{ key }] = messages
        pipeline.call(announceBy, key, joinedMessages(messages.map((one) => one.message)))
      }
      try {
        const replies = await live.run(pipeline)
        if (!replies.some((reply) => reply instanceof Error)) {
          this.#settle(group)
          continue
        }
        const sent = batches.map((messages, index) => ({ messages, reply: replies[index] }))
        const elsewhere = sent.flatMap(({ messages, reply }) => (liesElsewhere(reply) ? messages : []))
        const refused = sent.flatMap(({ messages, reply }) =>
          reply instanceof Error && !liesElsewhere(reply) ? messages.filter(({ again }) => again) : [],
        )
        this.#settle(group.filter((one) => !elsewhere.includes(one) && !refused.includes(one)))
        this.#queue = [...refused, ...this.#queue]
        this.#giveBack(elsewhere)
        // Busy with somebody's script, for one: it passes.
        if (refused.length > 0) await pause(refusedPauseMs)
      } catch (error) {
        const unsent = error instanceof RedisUnavailableError
        this.#settle(group.filter(({ again }) => !again && !unsent))
        this.#queue = [...group.filter(({ again }) => again || unsent), ...this.#queue]
      }
    }
  }

  #settle(messages: readonly Message[]): void {
    for (const message of messages) this.#options.report.settled(message)
  }

  #giveBack(messages: readonly Message[]): void {
    if (messages.length === 0) return
    const behind = takeOf(this.#queue, new Set(messages.map(({ partition }) => partition)))
    for (const message of [...messages, ...behind]) this.#options.report.elsewhere(message)
  }
}

/** In order for each topic: what goes to the same one is one message to Redis and to every gateway that hears it. */
function batchesOf(group: readonly Message[]): [Message, ...Message[]][] {
  const batches: [Message, ...Message[]][] = []
  const open = new Map<string, { messages: [Message, ...Message[]]; bytes: number }>()
  for (const one of group) {
    const { byteLength } = one.message
    const batch = open.get(one.key)
    if (batch && batch.bytes + byteLength <= batchBytesMax) {
      batch.messages.push(one)
      batch.bytes += byteLength
      continue
    }
    const messages: [Message, ...Message[]] = [one]
    batches.push(messages)
    open.set(one.key, { messages, bytes: byteLength })
  }
  return batches
}
