// Publishes the messages of one shard over pub/sub, in order. The publishes that created them are already
// acknowledged, so a failure cannot be reported to a caller: gateways read missed publications from the
// stream.
import { pause } from '../../deadline.js'
import { RedisUnavailableError, type LiveRedis } from '../../redis/link.js'
import type { Job } from '../../redis/routing/job.js'
import { OrderedWorker, type OrderedWorkerOptions } from '../../redis/routing/ordered-worker.js'
import { isRedirect } from '../../redis/routing/redirects.js'
import { joinMessages } from '../envelope.js'
import type { Topic } from './channel-keys.js'
import type { PubSubCommand } from './pending-write.js'

export interface PendingMessageOptions {
  /** When the message was created, in milliseconds of the monotonic clock. */
  readonly sinceMs: number
  /** Whether the message may be sent twice, because subscribers recognise a second copy by its offset. */
  readonly repeatable: boolean
}

/** A message on its way to the subscribers of a topic. */
export class PendingMessage implements Job {
  readonly partition: number
  /** The topic. */
  readonly key: string
  readonly sinceMs: number
  readonly message: Buffer
  readonly repeatable: boolean

  constructor({ partition, topic }: Topic, message: Buffer, { repeatable, sinceMs }: PendingMessageOptions) {
    this.partition = partition
    this.key = topic
    this.sinceMs = sinceMs
    this.message = message
    this.repeatable = repeatable
  }

  /**
   * Drops the message: its publication is in a stream, or its channel has no history and delivers at most
   * once.
   */
  refuse(): void {}

  /** Drops the message, like `refuse`. */
  reject(): void {}
}

export interface PublisherOptions extends Omit<
  OrderedWorkerOptions<PendingMessage>,
  'waiting' | 'spacingMs'
> {
  readonly publishBy: PubSubCommand
}

const messagesMax = 512
/** The most bytes that are joined into one message to a topic. A larger message is sent alone. */
const joinedBytesMax = 262_144
const refusedPauseMs = 100

export class Publisher extends OrderedWorker<PendingMessage> {
  readonly #publishBy: PubSubCommand

  constructor(options: PublisherOptions) {
    // There is no spacing, because the messages have already waited for their writes.
    super({ ...options, waiting: { kind: 'keepNewest' }, spacingMs: 0 })
    this.#publishBy = options.publishBy
  }

  protected override batchLength(queue: readonly PendingMessage[]): number {
    return Math.min(queue.length, messagesMax)
  }

  protected override async runBatch(live: LiveRedis, batch: readonly PendingMessage[]): Promise<void> {
    const pipeline = live.client.pipeline()
    const commands = joinByTopic(batch)
    for (const messages of commands) {
      const [{ key }] = messages
      pipeline.call(this.#publishBy, key, joinMessages(messages.map(({ message }) => message)))
    }
    let replies: unknown[]
    try {
      replies = await live.run(pipeline)
    } catch (error) {
      const unsent = error instanceof RedisUnavailableError
      for (const job of batch) if (!job.repeatable && !unsent) this.settle(job)
      return this.retry(batch.filter(({ repeatable }) => repeatable || unsent))
    }
    if (replies.some((reply) => reply instanceof Error)) return this.#handleErrors(commands, replies)
    for (const job of batch) this.settle(job)
  }

  async #handleErrors(
    commands: readonly (readonly PendingMessage[])[],
    replies: readonly unknown[],
  ): Promise<void> {
    const moved: PendingMessage[] = []
    const refused: PendingMessage[] = []
    commands.forEach((messages, index) => {
      const reply = replies[index]
      for (const job of messages) {
        if (isRedirect(reply)) moved.push(job)
        else if (reply instanceof Error && job.repeatable) refused.push(job)
        else this.settle(job)
      }
    })
    this.retry(refused)
    this.reroute(moved)
    // The cause is usually temporary, for example a slow script.
    if (refused.length > 0) await pause(refusedPauseMs)
  }
}

/**
 * Joins the messages of each topic, in order, into as few as possible: Redis and every subscribed gateway
 * handle one message instead of many.
 */
function joinByTopic(batch: readonly PendingMessage[]): [PendingMessage, ...PendingMessage[]][] {
  const commands: [PendingMessage, ...PendingMessage[]][] = []
  const open = new Map<string, { messages: [PendingMessage, ...PendingMessage[]]; bytes: number }>()
  for (const job of batch) {
    const { byteLength } = job.message
    const joined = open.get(job.key)
    if (joined && joined.bytes + byteLength <= joinedBytesMax) {
      joined.messages.push(job)
      joined.bytes += byteLength
      continue
    }
    const messages: [PendingMessage, ...PendingMessage[]] = [job]
    commands.push(messages)
    open.set(job.key, { messages, bytes: byteLength })
  }
  return commands
}
