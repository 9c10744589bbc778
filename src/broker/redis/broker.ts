// The broker of many gateways: streams for history, pub/sub for delivery, WAIT before the acknowledgement. The algorithm and its reasons:
// docs/broker.md.
import { CommandError } from '../../errors.js'
import type { Log } from '../../log.js'
import { idempotencyKey } from '../../redis/keys.js'
import type { After, Clock } from '../../time.js'
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
  type Publication,
  type Published,
  type PublishOptions,
} from '../broker.js'
import { ChannelReader, type ReaderPage } from '../channel-reader.js'
import {
  announcedMessage,
  decodeTopicMessage,
  encodeEnvelope,
  messagesIn,
  passingMessage,
  storedMessage,
} from '../envelope.js'
import { digestOf } from '../idempotency.js'
import { KnownEpochs } from './known-epochs.js'
import { Places, type ChannelPlace } from './channel-keys.js'
import type { StreamPage, StreamRead } from './stream-reader.js'
import type { Topic } from './subscriber.js'
import { Append, ClaimKey, Trim, type Idempotency, type Stored, type StoredWrite } from './write-commands.js'
import type { Writers } from './writers.js'
import { offsetOf } from '../stream-id.js'

/** What goes to Redis, wherever in it the channel lies. */
export interface RedisBrokerParts {
  /** Acknowledges what is on the master. */
  readonly accepted: Writers
  /** Acknowledges what enough replicas have. */
  readonly replicated: Writers
  /** Whether there are replicas at all. */
  readonly hasReplicas: () => boolean
  /** `again`: it may be sent twice. */
  send(to: Topic, message: Buffer, options: { again: boolean }): void
  /** Needs no fence. */
  read(read: StreamRead): Promise<StreamPage>
  readFenced(read: StreamRead): Promise<StreamPage>
  readonly topics: { add(topic: Topic): Promise<void>; remove(topic: Topic): void }
  /** Sends what is to be sent, and ends what waits. */
  close(): Promise<void>
  readonly clock: Clock
  readonly after: After
  readonly log: Log
  /** Two gateways publish in any order: how long a publication waits for its predecessor. */
  readonly holdMs: number
  /** How long an idempotency key is known. */
  readonly windowMs: number
}

interface Subscribed {
  readonly ref: ChannelRef
  readonly reader: ChannelReader
  cancelComparison?: (() => void) | undefined
}

const heldMax = 256
const retryMs = 250
/** An idle channel's top is compared so often, give or take half: a lost message is found even when no other follows. */
const compareIntervalMs = 40_000

export class RedisBroker implements Broker {
  readonly #parts: RedisBrokerParts
  readonly #subscribed = new Map<string, Subscribed>()
  readonly #epochs: KnownEpochs
  readonly #places = new Places()
  #listener: BrokerListener | undefined
  #closed = false
  /** Publishes that have no answer yet. */
  #underWay = 0
  #whenIdle: (() => void) | undefined

  constructor(parts: RedisBrokerParts) {
    this.#parts = parts
    this.#epochs = new KnownEpochs(parts.clock)
  }

  listen(listener: BrokerListener): void {
    if (this.#listener) throw new Error('RedisBroker: listen() was called twice')
    this.#listener = listener
  }

  /** What the subscriber connection brings. */
  onMessage(topic: string, message: Buffer): void {
    const subscribed = this.#subscribed.get(topic)
    const listener = this.#listener
    if (!subscribed || !listener) return
    try {
      for (const one of messagesIn(message)) this.#read(one, { topic, subscribed, listener })
    } catch (error) {
      this.#leaveOut(topic, error)
    }
  }

  #read(
    message: Buffer,
    {
      listener,
      subscribed: { reader, ref },
      topic,
    }: { topic: string; subscribed: Subscribed; listener: BrokerListener },
  ): void {
    try {
      const decoded = decodeTopicMessage(message, offsetOf)
      if (decoded.kind === 'announcement') listener.onAnnouncement(ref, decoded.announcement)
      else if (decoded.publication.offset === 0) listener.onPublication(ref, decoded.publication)
      else reader.onMessage(decoded.publication)
    } catch (error) {
      this.#leaveOut(topic, error)
    }
  }

  #leaveOut(topic: string, error: unknown): void {
    this.#parts.log.warn(
      { err: error, topic },
      'a message on a channel’s topic cannot be read and is left out',
    )
  }

  /** The subscriber connection is a new one: whatever came between is in the streams. */
  onResubscribed(topics: readonly string[]): void {
    for (const topic of topics) this.#subscribed.get(topic)?.reader.check()
  }

  async subscribe(ref: ChannelRef): Promise<void> {
    this.#assertOpen()
    if (!this.#listener) throw new Error('RedisBroker: subscribe() before listen()')
    const place = this.#places.of(ref)
    const { topic } = place
    if (this.#subscribed.has(topic)) return
    const subscribed: Subscribed = { ref, reader: this.#createReader(ref) }
    this.#subscribed.set(topic, subscribed)
    try {
      await this.#parts.topics.add(place)
      const { top } = await this.#parts.read({ ...place, limit: 0 })
      // Given up meanwhile, or this broker is closed: a timer made now would be nobody's, and keep the process alive.
      if (this.#subscribed.get(topic) !== subscribed) return
      subscribed.reader.start(top)
      this.#scheduleComparison(topic, subscribed)
    } catch (error) {
      this.#forget(topic, subscribed)
      throw error instanceof CommandError
        ? error
        : new CommandError(
            'BROKER_UNAVAILABLE',
            `Cannot subscribe to "${ref.channel}": Redis does not answer. Try again`,
            {
              retryAfterMs: 1_000,
              cause: error,
            },
          )
    }
  }

  async unsubscribe(ref: ChannelRef): Promise<void> {
    const { topic } = this.#places.of(ref)
    const subscribed = this.#subscribed.get(topic)
    if (subscribed) this.#forget(topic, subscribed)
  }

  async publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Promise<Published> {
    this.#assertOpen()
    const { durability, lane } = this.#laneFor(ref, options.durability)
    const { history, idempotencyKey: key } = options
    const { clock, windowMs } = this.#parts
    const place = this.#places.of(ref)
    const idempotency =
      key === undefined
        ? undefined
        : { key: idempotencyKey(ref, key), digest: digestOf(publication), windowMs }
    const envelope = encodeEnvelope(publication, { timeMs: clock.epochMs(), ttlMs: history?.ttlMs })
    this.#underWay += 1
    try {
      if (!history) return await this.#publishPassing(place, { lane, envelope, idempotency })
      const write = { place, size: history.size, envelope, idempotency }
      // Channels of known epoch at little cost; the first time, and with a key, by a script that settles the epoch.
      const known = idempotency ? undefined : this.#epochs.get(place.streamKey)
      const stored = (await lane.submit(new Append(write, known))) ?? (await this.#storeAfresh(lane, write))
      if (stored.id === '') return { durability: 'accepted', repeated: true }
      const learnt = stored.epoch !== known?.epoch || stored.store !== known.store
      if (learnt && !stored.repeated) this.#epochs.set(place.streamKey, stored)
      const position = { epoch: stored.epoch, offset: offsetOf(stored.id) }
      this.#subscribed.get(place.topic)?.reader.acknowledged(position)
      // A repeat too: the first may have gone unacknowledged and unheard. Who has heard it knows it by its offset.
      if (!stored.announced) this.#parts.send(place, storedMessage(stored, envelope), { again: true })
      return { position, durability, repeated: stored.repeated }
    } catch (error) {
      // It may be there all the same, and nobody will tell of it.
      if (history && error instanceof CommandError && error.code === 'NOT_REPLICATED')
        this.#subscribed.get(place.topic)?.reader.check()
      throw error
    } finally {
      this.#underWay -= 1
      if (this.#underWay === 0) this.#whenIdle?.()
    }
  }

  async announce(ref: ChannelRef, announcement: Announcement): Promise<void> {
    this.#assertOpen()
    this.#parts.send(this.#places.of(ref), announcedMessage(announcement), { again: false })
  }

  async history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage> {
    this.#assertOpen()
    const limit = Math.min(query.limit, historyLimitMax)
    const place = this.#places.of(ref)
    const { fenced, publications, top, continuous } = await this.#parts.readFenced({
      ...place,
      since: query.since,
      limit,
      reverse: query.reverse,
    })
    const reader = this.#subscribed.get(place.topic)?.reader
    if (fenced) {
      reader?.prove(top)
      return { publications, top, continuous }
    }
    // Replicas are missing: what cannot be proven to survive is not shown. What was delivered here had its proof.
    const proven = reader?.proven
    if (!proven || proven.epoch !== top.epoch) {
      if (publications.length === 0) return { publications, top, continuous }
      throw new CommandError(
        'NOT_REPLICATED',
        `Cannot read "${ref.channel}": Redis has too few replicas at the moment. Try again`,
        {
          retryAfterMs: 1_000,
        },
      )
    }
    const offsetMax = Math.min(top.offset, proven.offset)
    return {
      publications: publications.filter(({ offset }) => offset <= offsetMax),
      top: { epoch: top.epoch, offset: offsetMax },
      continuous,
    }
  }

  standing(ref: ChannelRef): Position | undefined {
    return this.#subscribed.get(this.#places.of(ref).topic)?.reader.standing
  }

  async removeHistory(ref: ChannelRef): Promise<void> {
    this.#assertOpen()
    await this.#laneFor(ref, undefined).lane.submit(new Trim(this.#places.of(ref)))
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const [topic, subscribed] of this.#subscribed) this.#forget(topic, subscribed)
    // Each has a deadline of its own.
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#whenIdle = resolve))
    await this.#parts.close()
  }

  /** `replicated` where there are replicas, unless a rule asks for less. */
  #laneFor(ref: ChannelRef, asked: Durability | undefined): { durability: Durability; lane: Writers } {
    const { accepted, hasReplicas, replicated } = this.#parts
    const durability = asked ?? (hasReplicas() ? 'replicated' : 'accepted')
    if (durability === 'accepted') return { durability, lane: accepted }
    if (durability === 'replicated' && hasReplicas()) return { durability, lane: replicated }
    throw new CommandError(
      'DURABILITY_UNAVAILABLE',
      durability === 'durable'
        ? `Cannot publish to "${ref.channel}": its rule asks for "durable", and this server has no archive`
        : `Cannot publish to "${ref.channel}": its rule asks for "replicated", and this Redis has no replicas; use Sentinel, or a Cluster with replicas, or lower the rule`,
    )
  }

  /** The stream is gone, and with it all that its epoch stood for. */
  async #storeAfresh(lane: Writers, write: StoredWrite): Promise<Stored> {
    this.#epochs.delete(write.place.streamKey)
    const stored = await lane.submit(new Append(write, undefined))
    if (!stored) throw new Error('a stream was not made')
    return stored
  }

  async #publishPassing(
    place: ChannelPlace,
    publish: { lane: Writers; envelope: Buffer; idempotency: Idempotency | undefined },
  ): Promise<Published> {
    const { envelope, idempotency, lane } = publish
    const claimed = idempotency && (await lane.submit(new ClaimKey(place, idempotency)))
    // Nothing is stored, so there is nothing that replicas could have.
    const durability = 'accepted'
    if (claimed?.repeated) return { durability, repeated: true }
    this.#parts.send(place, passingMessage(envelope), { again: false })
    return { durability, repeated: false }
  }

  #createReader(ref: ChannelRef): ChannelReader {
    const { after, holdMs, log } = this.#parts
    return new ChannelReader(
      {
        read: (since, upTo) => this.#readMissed(ref, since, upTo),
        deliver: (publication: Publication) => this.#listener?.onPublication(ref, publication),
        lost: (top) => this.#listener?.onContinuityLost(ref, top),
        failed: (error) =>
          log.debug({ err: error, channel: ref.channel }, 'a gap cannot be read now; it is tried again'),
      },
      { after, holdMs, heldMax, retryMs },
    )
  }

  async #readMissed(ref: ChannelRef, since: Position, upTo: number | undefined): Promise<ReaderPage> {
    const read: StreamRead = { ...this.#places.of(ref), since, upTo, limit: historyLimitMax }
    if (upTo !== undefined) return this.#parts.read(read)
    const page = await this.#parts.readFenced(read)
    if (page.fenced) return page
    throw new CommandError('NOT_REPLICATED', 'too few replicas confirm what was read')
  }

  #scheduleComparison(topic: string, subscribed: Subscribed): void {
    // In whole seconds: Node keeps timers of one delay in one list.
    const delayMs = Math.round((compareIntervalMs * (0.5 + Math.random())) / 1000) * 1000
    subscribed.cancelComparison = this.#parts.after(delayMs, () => {
      subscribed.reader.check()
      this.#scheduleComparison(topic, subscribed)
    })
  }

  #forget(topic: string, subscribed: Subscribed): void {
    subscribed.cancelComparison?.()
    subscribed.reader.close()
    if (this.#subscribed.get(topic) !== subscribed) return
    this.#subscribed.delete(topic)
    this.#parts.topics.remove(this.#places.of(subscribed.ref))
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new CommandError('INTERNAL', 'The broker is closed: this gateway is shutting down')
  }
}
