// The Redis implementation of the broker. It publishes to streams, waits for replicas before it acknowledges,
// and reads histories; followed-channels.ts delivers publications to the gateway. The algorithm and its
// reasons are in docs/broker.md.
import { CommandError } from '../../errors.js'
import { idempotencyKey } from '../../redis/keys.js'
import type { Clock } from '../../time.js'
import {
  historyLimitMax,
  isSameStream,
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
  stampTime,
  timeStamp,
  storedPublicationMessage,
  writeEnvelope,
} from '../envelope.js'
import { digestOf } from '../idempotency.js'
import type { BrokerStorage } from '../storage.js'
import { offsetOf } from '../stream-id.js'
import type { ChannelKeys, ChannelLocation } from './channel-keys.js'
import type { FollowedChannels, StreamReads } from './followed-channels.js'
import { KnownEpochs } from './known-epochs.js'
import type { WriteRouter } from './pending-write.js'
import { PendingMessage } from './publisher.js'
import type { RedisStorage } from './redis-storage.js'
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
  /** Sends writes that are acknowledged when the master has them. */
  readonly accepted: WriteRouter
  /** Sends writes that are acknowledged when enough replicas have them. */
  readonly replicated: WriteRouter
  /** Whether Redis has replicas, so that the durability `replicated` is available. */
  readonly hasReplicas: () => boolean
  readonly messages: { send(message: PendingMessage): void }
  readonly reads: StreamReads
  readonly channels: FollowedChannels
  readonly storage: Pick<RedisStorage, keyof RedisStorage>
  /** Sends the messages that are still waiting, and refuses the writes that are still waiting for a shard. */
  close(): Promise<void>
  readonly clock: Clock
  /** The idempotency window, in milliseconds. */
  readonly windowMs: number
}

/** Takes the place of the time in an envelope, until the envelope is sent. */
const unsetTimeMs = 1e12

export class RedisBroker implements Broker {
  readonly #parts: RedisBrokerParts
  readonly #epochs: KnownEpochs
  #closed = false
  /** The number of publishes that have not settled. */
  #publishing = 0
  #whenIdle: (() => void) | undefined

  constructor(parts: RedisBrokerParts) {
    this.#parts = parts
    this.#epochs = new KnownEpochs(parts.clock)
  }

  get storage(): BrokerStorage {
    return this.#parts.storage
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
    const { channels, clock, keys, messages, storage, windowMs } = this.#parts
    const { durability, writes } = this.#writesFor(ref, options.durability)
    const { history, idempotencyKey: key } = options
    const location = keys.of(ref)
    const idempotency =
      key === undefined
        ? undefined
        : { key: idempotencyKey(ref, key), digest: digestOf(publication), windowMs }
    if (history && !location.reserved) storage.checkMemory(location)
    const envelope = writeEnvelope(publication, { timeMs: unsetTimeMs, ttlMs: history?.ttlMs })
    this.#publishing += 1
    try {
      if (!history) return await this.#publishEphemeral(location, { writes, envelope, idempotency })
      const { size, ttlMs } = history
      const entry = { location, size, ttlMs, envelope, idempotency }
      // With a known epoch the write is a short script. Without it, with a key, or with another time to live,
      // a longer script determines the epoch and when the stream is swept.
      const cached = this.#epochs.get(location.streamKey)
      const listed = cached?.ttlMs === ttlMs ? cached : undefined
      const write = new AppendEntry(entry, { listed, sinceMs: clock.monotonicMs() })
      writes.send(write)
      const stored = (await write.done) ?? (await this.#appendToNewStream(writes, entry))
      if (stored.id === '') return { durability: 'accepted', repeated: true }
      storage.record(location, stored.partitionBytes)
      const learnt = stored.epoch !== listed?.epoch || stored.store !== listed.store
      if (learnt && !stored.repeated) this.#epochs.set(location.streamKey, { ...stored, ttlMs })
      const position = { epoch: stored.epoch, offset: offsetOf(stored.id) }
      channels.readerOf(location)?.acknowledged(position)
      // A repeat sends the first message again, because its gateway may have died before it sent it. Readers
      // drop offsets that they have already delivered.
      const announced = stored.repeated ? stored.first : envelope
      if (!stored.published && announced) {
        const message = storedPublicationMessage(stored, announced)
        messages.send(
          new PendingMessage(location, message, { sinceMs: clock.monotonicMs(), repeatable: true }),
        )
      }
      return { position, durability, repeated: stored.repeated }
    } catch (error) {
      // The publication may be stored nevertheless, and no message will announce it.
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
      rule: this.#parts.storage.ruleOf(ref),
    })
    const reader = channels.readerOf(location)
    if (fenced) {
      reader?.prove(top)
      return { publications, top, continuous }
    }
    // Replicas are missing: the broker does not return publications that may not survive a failover.
    // Everything that this gateway has delivered is proven to survive.
    const proven = reader?.proven
    if (!proven || !isSameStream(proven.epoch, top.epoch)) {
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
    const { clock, keys, storage } = this.#parts
    const location = keys.of(ref)
    const write = new TrimStream(location, { sinceMs: clock.monotonicMs() })
    this.#writesFor(ref, undefined).writes.send(write)
    storage.record(location, await write.done)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#parts.channels.close()
    // This wait ends because each publish has its own deadline.
    if (this.#publishing > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve))
    await this.#parts.close()
  }

  /**
   * Returns the durability of a publish and the router for it. Default: `replicated` if Redis has replicas,
   * otherwise `accepted`. Throws DURABILITY_UNAVAILABLE.
   */
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

  /** Appends an entry after the stream was lost: the known epoch is no longer valid. */
  async #appendToNewStream(writes: WriteRouter, entry: NewEntry): Promise<StoredEntry> {
    this.#epochs.delete(entry.location.streamKey)
    const sinceMs = this.#parts.clock.monotonicMs()
    const write = new AppendEntry(entry, { listed: undefined, sinceMs })
    writes.send(write)
    const stored = await write.done
    if (!stored) throw new Error('the script that determines the epoch has not created the stream')
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
    // Nothing is stored, so no replica has to confirm anything.
    const durability = 'accepted'
    if (idempotency) {
      const claim = new ClaimKey(location, idempotency, { sinceMs: this.#parts.clock.monotonicMs() })
      writes.send(claim)
      const { repeated } = await claim.done
      if (repeated) return { durability, repeated }
    }
    const { clock, storage } = this.#parts
    stampTime(envelope, timeStamp(storage.nowMs(location) ?? clock.epochMs()))
    this.#sendOnce(location, ephemeralMessage(envelope))
    return { durability, repeated: false }
  }

  /**
   * Sends a message without an offset. It is sent at most once, because subscribers could not recognise a
   * second copy.
   */
  #sendOnce(topic: ChannelLocation, message: Buffer): void {
    const { clock, messages } = this.#parts
    messages.send(new PendingMessage(topic, message, { sinceMs: clock.monotonicMs(), repeatable: false }))
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new CommandError('INTERNAL', 'The broker is closed: this gateway is shutting down')
  }
}
