// The broker of many gateways. It publishes to streams, waits for replicas before it acknowledges, and reads
// histories; followed-channels.ts delivers. The algorithm and its reasons are in docs/broker.md.
import { CommandError } from '../../errors.js'
import { idempotencyKey } from '../../redis/keys.js'
import type { Clock } from '../../time.js'
import {
  historyLimitMax,
  type Announcement,
  type Broker,
  type BrokerListener,
  type ChannelRef,
  type Durability,
  type HistoryPage,
  type HistoryQuery,
  type NewPublication,
  type Position,
  type Published,
  type PublishOptions,
} from '../broker.js'
import {
  announcementMessage,
  ephemeralMessage,
  storedPublicationMessage,
  writeEnvelope,
} from '../envelope.js'
import { digestOf } from '../idempotency.js'
import { offsetOf } from '../stream-id.js'
import type { ChannelKeys, ChannelLocation } from './channel-keys.js'
import type { FollowedChannels, StreamReads } from './followed-channels.js'
import { KnownEpochs } from './known-epochs.js'
import type { WriteRouter } from './pending-write.js'
import { PendingMessage } from './publisher.js'
import {
  AppendEntry,
  ClaimKey,
  TrimStream,
  type Idempotency,
  type NewEntry,
  type StoredEntry,
} from './write-commands.js'

export interface RedisBrokerParts {
  readonly keys: ChannelKeys
  /** Acknowledges writes that the master has. */
  readonly accepted: WriteRouter
  /** Acknowledges writes that enough replicas have. */
  readonly replicated: WriteRouter
  /** Whether there are replicas at all. */
  readonly hasReplicas: () => boolean
  readonly messages: { send(message: PendingMessage): void }
  readonly reads: StreamReads
  readonly channels: FollowedChannels
  /** Sends the messages that still wait, and refuses the writes that still wait for a shard. */
  close(): Promise<void>
  readonly clock: Clock
  /** How long an idempotency key is known, in milliseconds. */
  readonly windowMs: number
}

export class RedisBroker implements Broker {
  readonly #parts: RedisBrokerParts
  readonly #epochs: KnownEpochs
  #closed = false
  /** How many publishes have no answer yet. */
  #publishing = 0
  #whenIdle: (() => void) | undefined

  constructor(parts: RedisBrokerParts) {
    this.#parts = parts
    this.#epochs = new KnownEpochs(parts.clock)
  }

  listen(listener: BrokerListener): void {
    this.#parts.channels.listen(listener)
  }

  async subscribe(ref: ChannelRef): Promise<void> {
    this.#assertOpen()
    await this.#parts.channels.follow(ref)
  }

  async unsubscribe(ref: ChannelRef): Promise<void> {
    this.#parts.channels.unfollow(ref)
  }

  async publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Promise<Published> {
    this.#assertOpen()
    const { channels, clock, keys, messages, windowMs } = this.#parts
    const { durability, writes } = this.#writesFor(ref, options.durability)
    const { history, idempotencyKey: key } = options
    const location = keys.of(ref)
    const idempotency =
      key === undefined
        ? undefined
        : { key: idempotencyKey(ref, key), digest: digestOf(publication), windowMs }
    const envelope = writeEnvelope(publication, { timeMs: clock.epochMs(), ttlMs: history?.ttlMs })
    this.#publishing += 1
    try {
      if (!history) return await this.#publishEphemeral(location, { writes, envelope, idempotency })
      const entry = { location, size: history.size, envelope, idempotency }
      // A known epoch makes the write cheap. Without one, or with a key, a script settles the epoch.
      const known = idempotency ? undefined : this.#epochs.get(location.streamKey)
      const write = new AppendEntry(entry, { known, sinceMs: clock.monotonicMs() })
      writes.send(write)
      const stored = (await write.done) ?? (await this.#appendToNewStream(writes, entry))
      if (stored.id === '') return { durability: 'accepted', repeated: true }
      const learnt = stored.epoch !== known?.epoch || stored.store !== known.store
      if (learnt && !stored.repeated) this.#epochs.set(location.streamKey, stored)
      const position = { epoch: stored.epoch, offset: offsetOf(stored.id) }
      channels.readerOf(location)?.acknowledged(position)
      // A repeat too: the first publish may not have been acknowledged, and then no message was sent. Readers
      // drop offsets that they know.
      if (!stored.published) {
        const message = storedPublicationMessage(stored, envelope)
        messages.send(
          new PendingMessage(location, message, { sinceMs: clock.monotonicMs(), repeatable: true }),
        )
      }
      return { position, durability, repeated: stored.repeated }
    } catch (error) {
      // The publication may be stored all the same, and no message will say so.
      if (history && error instanceof CommandError && error.code === 'NOT_REPLICATED')
        channels.readerOf(location)?.check()
      throw error
    } finally {
      this.#publishing -= 1
      if (this.#publishing === 0) this.#whenIdle?.()
    }
  }

  async announce(ref: ChannelRef, announcement: Announcement): Promise<void> {
    this.#assertOpen()
    this.#sendOnce(this.#parts.keys.of(ref), announcementMessage(announcement))
  }

  async history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage> {
    this.#assertOpen()
    const { channels, keys, reads } = this.#parts
    const limit = Math.min(query.limit, historyLimitMax)
    const location = keys.of(ref)
    const { continuous, fenced, publications, top } = await reads.readFenced({
      ...location,
      since: query.since,
      limit,
      reverse: query.reverse,
    })
    const reader = channels.readerOf(location)
    if (fenced) {
      reader?.prove(top)
      return { publications, top, continuous }
    }
    // Replicas are missing: the broker does not show what may not survive a failover. What it has delivered
    // here was proven.
    const proven = reader?.proven
    if (!proven || proven.epoch !== top.epoch) {
      if (publications.length === 0) return { publications, top, continuous }
      throw new CommandError(
        'NOT_REPLICATED',
        `Cannot read "${ref.channel}": Redis has too few replicas at the moment. Try again`,
        { retryAfterMs: 1_000 },
      )
    }
    const offsetMax = Math.min(top.offset, proven.offset)
    return {
      publications: publications.filter(({ offset }) => offset <= offsetMax),
      top: { epoch: top.epoch, offset: offsetMax },
      continuous,
    }
  }

  confirmedPosition(ref: ChannelRef): Position | undefined {
    const { channels, keys } = this.#parts
    return channels.readerOf(keys.of(ref))?.confirmed
  }

  async removeHistory(ref: ChannelRef): Promise<void> {
    this.#assertOpen()
    const { clock, keys } = this.#parts
    const write = new TrimStream(keys.of(ref), { sinceMs: clock.monotonicMs() })
    this.#writesFor(ref, undefined).writes.send(write)
    await write.done
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#parts.channels.close()
    // Each publish has a deadline of its own.
    if (this.#publishing > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve))
    await this.#parts.close()
  }

  /** `replicated` where there are replicas, unless the channel's rule asks for less. */
  #writesFor(
    ref: ChannelRef,
    requested: Durability | undefined,
  ): { readonly durability: Durability; readonly writes: WriteRouter } {
    const { accepted, hasReplicas, replicated } = this.#parts
    const durability = requested ?? (hasReplicas() ? 'replicated' : 'accepted')
    if (durability === 'accepted') return { durability, writes: accepted }
    if (durability === 'replicated' && hasReplicas()) return { durability, writes: replicated }
    throw new CommandError(
      'DURABILITY_UNAVAILABLE',
      durability === 'durable'
        ? `Cannot publish to "${ref.channel}": its rule asks for "durable", and this server has no archive`
        : `Cannot publish to "${ref.channel}": its rule asks for "replicated", and this Redis has no replicas; use Sentinel, or a Cluster with replicas, or lower the rule`,
    )
  }

  /** The stream is gone, and its epoch is no longer valid. */
  async #appendToNewStream(writes: WriteRouter, entry: NewEntry): Promise<StoredEntry> {
    this.#epochs.delete(entry.location.streamKey)
    const sinceMs = this.#parts.clock.monotonicMs()
    const write = new AppendEntry(entry, { known: undefined, sinceMs })
    writes.send(write)
    const stored = await write.done
    if (!stored) throw new Error('the script that settles the epoch has not created the stream')
    return stored
  }

  async #publishEphemeral(
    location: ChannelLocation,
    publish: {
      readonly writes: WriteRouter
      readonly envelope: Buffer
      readonly idempotency: Idempotency | undefined
    },
  ): Promise<Published> {
    const { envelope, idempotency, writes } = publish
    // Nothing is stored, so there is nothing that replicas could have.
    const durability = 'accepted'
    if (idempotency) {
      const claim = new ClaimKey(location, idempotency, { sinceMs: this.#parts.clock.monotonicMs() })
      writes.send(claim)
      const { repeated } = await claim.done
      if (repeated) return { durability, repeated }
    }
    this.#sendOnce(location, ephemeralMessage(envelope))
    return { durability, repeated: false }
  }

  /** Sends a message that has no offset, so that a subscriber could not recognise a second copy. */
  #sendOnce(topic: ChannelLocation, message: Buffer): void {
    const { clock, messages } = this.#parts
    messages.send(new PendingMessage(topic, message, { sinceMs: clock.monotonicMs(), repeatable: false }))
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new CommandError('INTERNAL', 'The broker is closed: this gateway is shutting down')
  }
}
