// The channels that this gateway is subscribed to. For each channel it puts the messages from pub/sub in
// order, fills gaps from the stream, and passes the publications to the gateway's listener.
import { CommandError } from '../../errors.js'
import type { Log } from '../../log.js'
import type { After } from '../../time.js'
import { historyLimitMax, type BrokerListener, type ChannelRef, type Position } from '../broker.js'
import { ChannelReader, type ReaderPage } from '../channel-reader.js'
import { decodeTopicMessage, splitMessages } from '../envelope.js'
import { offsetOf } from '../stream-id.js'
import type { ChannelKeys, Topic } from './channel-keys.js'
import type { StreamPage, StreamRead } from './stream-reader.js'
import type { TopicListener } from './subscription-router.js'

/** Reads a stream on the shard that holds it. Rejects with BROKER_UNAVAILABLE. */
export interface StreamReads {
  /** Reads without a fence, for pages whose replication is proven in another way. */
  read(read: StreamRead): Promise<StreamPage>
  /** Reads with a fence. `StreamPage.fenced` is false when too few replicas confirm the fence. */
  readFenced(read: StreamRead): Promise<StreamPage>
}

export interface FollowedChannelsOptions {
  readonly keys: ChannelKeys
  readonly reads: StreamReads
  readonly topics: { add(topic: Topic): Promise<void>; remove(topic: Topic): void }
  readonly after: After
  readonly log: Log
  /**
   * How long a publication waits for its predecessors, in milliseconds. Messages of two gateways may arrive
   * in any order.
   */
  readonly holdMs: number
}

interface FollowedChannel {
  readonly ref: ChannelRef
  readonly reader: ChannelReader
  cancelComparison?: (() => void) | undefined
}

const heldMax = 256
const retryMs = 250
/**
 * The average time between two comparisons of a channel's position with the top of its stream. They detect a
 * lost message when no later message follows.
 */
const compareIntervalMs = 40_000

export class FollowedChannels implements TopicListener {
  readonly #options: FollowedChannelsOptions
  /** By topic. */
  readonly #followed = new Map<string, FollowedChannel>()
  #listener: BrokerListener | undefined

  constructor(options: FollowedChannelsOptions) {
    this.#options = options
  }

  /** Sets the listener. Throws when it is called twice. */
  listen(listener: BrokerListener): void {
    if (this.#listener) throw new Error('RedisBroker: listen() was called twice')
    this.#listener = listener
  }

  onMessage(topic: string, message: Buffer): void {
    const channel = this.#followed.get(topic)
    const listener = this.#listener
    if (!channel || !listener) return
    try {
      for (const one of splitMessages(message)) this.#receive(one, { topic, channel, listener })
    } catch (error) {
      this.#logUnreadable(topic, error)
    }
  }

  #receive(
    message: Buffer,
    to: { readonly topic: string; readonly channel: FollowedChannel; readonly listener: BrokerListener },
  ): void {
    const { reader, ref } = to.channel
    try {
      const decoded = decodeTopicMessage(message, offsetOf)
      if (decoded.kind === 'announcement') to.listener.onAnnouncement(ref, decoded.announcement)
      else if (decoded.publication.offset === 0) to.listener.onPublication(ref, decoded.publication)
      else reader.onMessage(decoded.publication)
    } catch (error) {
      this.#logUnreadable(to.topic, error)
    }
  }

  #logUnreadable(topic: string, error: unknown): void {
    this.#options.log.warn({ err: error, topic }, 'skipped an unreadable message on a channel’s topic')
  }

  /** Reads what the channels missed while they were not subscribed. */
  onResubscribed(topics: readonly string[]): void {
    for (const topic of topics) this.#followed.get(topic)?.reader.check()
  }

  /** Subscribes to a channel. Rejects with BROKER_UNAVAILABLE when Redis does not answer in time. */
  async follow(ref: ChannelRef): Promise<void> {
    if (!this.#listener) throw new Error('RedisBroker: subscribe() before listen()')
    const { keys, reads, topics } = this.#options
    const location = keys.of(ref)
    const { topic } = location
    if (this.#followed.has(topic)) return
    const channel: FollowedChannel = { ref, reader: this.#createReader(ref) }
    this.#followed.set(topic, channel)
    try {
      await topics.add(location)
      const { top } = await reads.read({ ...location, limit: 0 })
      // The channel may have been unsubscribed, or the broker closed, during the read. A timer started now
      // would keep the process alive.
      if (this.#followed.get(topic) !== channel) return
      channel.reader.start(top)
      this.#scheduleComparison(topic, channel)
    } catch (error) {
      this.#drop(topic, channel)
      throw error instanceof CommandError
        ? error
        : new CommandError(
            'BROKER_UNAVAILABLE',
            `Cannot subscribe to "${ref.channel}": Redis does not answer. Try again`,
            { retryAfterMs: 1_000, cause: error },
          )
    }
  }

  unfollow(ref: ChannelRef): void {
    const { topic } = this.#options.keys.of(ref)
    const channel = this.#followed.get(topic)
    if (channel) this.#drop(topic, channel)
  }

  /** Returns the reader of a channel, or undefined when the channel is not followed. */
  readerOf({ topic }: Topic): ChannelReader | undefined {
    return this.#followed.get(topic)?.reader
  }

  /** Ends all subscriptions. The listener is not called after that. */
  close(): void {
    for (const [topic, channel] of this.#followed) this.#drop(topic, channel)
  }

  #createReader(ref: ChannelRef): ChannelReader {
    const { after, holdMs, log } = this.#options
    return new ChannelReader(
      {
        read: (since, upTo) => this.#readMissed(ref, since, upTo),
        deliver: (publication) => this.#listener?.onPublication(ref, publication),
        lost: (top) => this.#listener?.onContinuityLost(ref, top),
        failed: (error) =>
          log.debug(
            { err: error, channel: ref.channel },
            'reading missed publications failed; the gateway tries again',
          ),
      },
      { after, holdMs, heldMax, retryMs },
    )
  }

  async #readMissed(ref: ChannelRef, since: Position, upTo: number | undefined): Promise<ReaderPage> {
    const { keys, reads } = this.#options
    const read: StreamRead = { ...keys.of(ref), since, upTo, limit: historyLimitMax }
    if (upTo !== undefined) return reads.read(read)
    const page = await reads.readFenced(read)
    if (page.fenced) return page
    throw new CommandError('NOT_REPLICATED', 'too few replicas confirm the publications that were read')
  }

  #scheduleComparison(topic: string, channel: FollowedChannel): void {
    // The delay is in whole seconds because Node keeps timers with equal delays in one list.
    const delayMs = Math.round((compareIntervalMs * (0.5 + Math.random())) / 1000) * 1000
    channel.cancelComparison = this.#options.after(delayMs, () => {
      channel.reader.check()
      this.#scheduleComparison(topic, channel)
    })
  }

  #drop(topic: string, channel: FollowedChannel): void {
    channel.cancelComparison?.()
    channel.reader.close()
    if (this.#followed.get(topic) !== channel) return
    this.#followed.delete(topic)
    this.#options.topics.remove(this.#options.keys.of(channel.ref))
  }
}
