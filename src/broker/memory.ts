// The broker of a single process, for `parley dev` and small installations. The Redis broker passes the same
// contract tests.
import { randomBytes } from 'node:crypto'
import { CommandError } from '../errors.js'
import type { Clock } from '../time.js'
import type {
  Announcement,
  Broker,
  BrokerListener,
  ChannelRef,
  HistoryPage,
  HistoryQuery,
  NewPublication,
  Position,
  Publication,
  PublishOptions,
  Published,
} from './broker.js'
import { digestOf, idempotencyMismatch, IdempotencyResults } from './idempotency.js'
import { MemoryStream } from './memory-stream.js'
import { idempotencyWindowMs, streamIdleTtlMs } from './retention.js'

/**
 * How long an idle stream without any publication is kept, in milliseconds. It is shorter than
 * `streamIdleTtlMs`, so that reading channels with random names does not occupy memory for 30 days.
 */
export const emptyStreamIdleTtlMs = 300_000

const sweepIntervalMs = 1000
const sweepStreamsMax = 1000

/** How much a `MemoryBrokerData` holds. */
export interface MemoryBrokerStats {
  readonly streams: number
  /** Publications in histories. Expired ones count until they are swept or their channel is read. */
  readonly publications: number
  /** The bytes of their data and info. */
  readonly bytes: number
  readonly idempotencyKeys: number
}

/**
 * The data that all brokers of one process share: streams, results by idempotency key, and subscribers. It
 * starts no timer until `run` is called.
 */
export class MemoryBrokerData {
  readonly #clock: Clock
  readonly #newEpoch: () => string
  readonly #streams = new Map<string, MemoryStream>()
  readonly #subscribers = new Map<string, Set<BrokerListener>>()
  readonly #results: IdempotencyResults<Published>
  /**
   * The deliveries in progress; empty while no listener is called. When a listener publishes from its
   * callback, the publication waits here, so that all listeners see the same order.
   */
  readonly #deliveries: (() => void)[] = []
  #sweepCursor = this.#streams.entries()

  constructor(options: { clock: Clock; newEpoch?: () => string }) {
    this.#clock = options.clock
    this.#newEpoch = options.newEpoch ?? (() => randomBytes(6).toString('base64url'))
    this.#results = new IdempotencyResults(idempotencyWindowMs, options.clock.monotonicMs())
  }

  subscribe(ref: ChannelRef, listener: BrokerListener): void {
    const key = keyOf(ref)
    const listeners = this.#subscribers.get(key)
    if (listeners) listeners.add(listener)
    else this.#subscribers.set(key, new Set([listener]))
  }

  unsubscribe(ref: ChannelRef, listener: BrokerListener): void {
    const key = keyOf(ref)
    const listeners = this.#subscribers.get(key)
    if (listeners?.delete(listener) && listeners.size === 0) this.#subscribers.delete(key)
  }

  publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Published {
    const key = options.idempotencyKey
    if (key === undefined) return this.#publishNew(ref, publication, options)
    const scopedKey = JSON.stringify([ref.tenantId, ref.channel, key])
    const digest = digestOf(publication)
    const earlier = this.#results.find(scopedKey, digest, this.#clock.monotonicMs())
    switch (earlier.kind) {
      case 'found':
        return { ...earlier.result, repeated: true }
      case 'mismatch':
        throw idempotencyMismatch()
      case 'none': {
        const keep = (result: Published) =>
          this.#results.keep(scopedKey, { digest, result, nowMs: this.#clock.monotonicMs() })
        return this.#publishNew(ref, publication, options, keep)
      }
    }
  }

  announce(ref: ChannelRef, announcement: Announcement): void {
    this.#deliver(ref, (listener) => listener.onAnnouncement(ref, announcement))
  }

  history(ref: ChannelRef, query: HistoryQuery): HistoryPage {
    const nowMs = this.#clock.monotonicMs()
    return this.#stream(ref, nowMs).page(query, nowMs)
  }

  removeHistory(ref: ChannelRef): void {
    this.#streams.get(keyOf(ref))?.clear()
  }

  stats(): MemoryBrokerStats {
    let publications = 0
    let bytes = 0
    for (const stream of this.#streams.values()) {
      publications += stream.count
      bytes += stream.bytes
    }
    return { streams: this.#streams.size, publications, bytes, idempotencyKeys: this.#results.size }
  }

  /**
   * Removes expired data from at most 1,000 streams per call. The next call continues where this one stopped.
   */
  sweep(): void {
    const nowMs = this.#clock.monotonicMs()
    this.#results.dropExpired(nowMs)
    for (let swept = 0; swept < sweepStreamsMax; swept += 1) {
      const next = this.#sweepCursor.next()
      if (next.done) {
        this.#sweepCursor = this.#streams.entries()
        return
      }
      const [key, stream] = next.value
      stream.trim(nowMs)
      const ttlMs = stream.top.offset === 0 ? emptyStreamIdleTtlMs : streamIdleTtlMs
      // A subscribed stream stays: its subscribers know its epoch, and a new epoch would look like a loss.
      if (stream.idleMs(nowMs) > ttlMs && !this.#subscribers.has(key)) this.#streams.delete(key)
    }
  }

  /** Sweeps once a second until `signal` is aborted. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => this.sweep(), sweepIntervalMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /**
   * Calls `keep` before the delivery, because a listener that publishes with the same key must find the
   * result.
   */
  #publishNew(
    ref: ChannelRef,
    publication: NewPublication,
    options: PublishOptions,
    keep?: (result: Published) => void,
  ): Published {
    const created = this.#createPublication(ref, publication, options.history)
    const position = options.history && { epoch: created.epoch, offset: created.offset }
    const published: Published = { position, durability: 'accepted', repeated: false }
    keep?.(published)
    this.#deliver(ref, (listener) => listener.onPublication(ref, created))
    return published
  }

  #createPublication(
    ref: ChannelRef,
    publication: NewPublication,
    history: PublishOptions['history'],
  ): Publication {
    const unstored = {
      // The bytes are copied because they are often a view of a larger buffer, which the history would keep
      // in memory, or which is overwritten later.
      data: new Uint8Array(publication.data),
      timeMs: this.#clock.epochMs(),
      info: publication.info,
      tags: publication.tags,
      skipSession: publication.skipSession,
    }
    if (!history) return { ...unstored, epoch: '', offset: 0 }
    const nowMs = this.#clock.monotonicMs()
    return this.#stream(ref, nowMs).append(unstored, { ...history, nowMs })
  }

  #stream(ref: ChannelRef, nowMs: number): MemoryStream {
    const key = keyOf(ref)
    let stream = this.#streams.get(key)
    if (!stream) {
      stream = new MemoryStream(this.#newEpoch(), nowMs)
      this.#streams.set(key, stream)
    }
    return stream
  }

  /**
   * Delivers synchronously. When a listener publishes from its callback, that publication is delivered after
   * the current one.
   */
  #deliver(ref: ChannelRef, call: (listener: BrokerListener) => void): void {
    const key = keyOf(ref)
    this.#deliveries.push(() => {
      for (const listener of this.#subscribers.get(key) ?? []) call(listener)
    })
    if (this.#deliveries.length > 1) return
    try {
      // The list may grow during this loop.
      for (const deliver of this.#deliveries) deliver()
    } finally {
      this.#deliveries.length = 0
    }
  }
}

/** One gateway's broker on the data of its process. `publish` delivers before it returns. */
export class MemoryBroker implements Broker {
  readonly #data: MemoryBrokerData
  readonly #subscribed = new Map<string, ChannelRef>()
  #listener: BrokerListener | undefined
  #closed = false

  constructor(data: MemoryBrokerData) {
    this.#data = data
  }

  listen(listener: BrokerListener): void {
    if (this.#listener) throw new Error('MemoryBroker: listen() was called twice')
    this.#listener = listener
  }

  async subscribe(ref: ChannelRef): Promise<void> {
    this.#assertOpen()
    if (!this.#listener) throw new Error('MemoryBroker: subscribe() before listen()')
    this.#subscribed.set(keyOf(ref), ref)
    this.#data.subscribe(ref, this.#listener)
  }

  async unsubscribe(ref: ChannelRef): Promise<void> {
    this.#subscribed.delete(keyOf(ref))
    if (this.#listener) this.#data.unsubscribe(ref, this.#listener)
  }

  async publish(ref: ChannelRef, publication: NewPublication, options: PublishOptions): Promise<Published> {
    this.#assertOpen()
    const durability = options.durability ?? 'accepted'
    if (durability !== 'accepted') {
      throw new CommandError(
        'DURABILITY_UNAVAILABLE',
        `Cannot publish to "${ref.channel}": its rule asks for "${durability}", and this server keeps messages in memory, which reaches "accepted" only; run it with Redis or lower the rule`,
      )
    }
    return this.#data.publish(ref, publication, options)
  }

  async announce(ref: ChannelRef, announcement: Announcement): Promise<void> {
    this.#assertOpen()
    this.#data.announce(ref, announcement)
  }

  async history(ref: ChannelRef, query: HistoryQuery): Promise<HistoryPage> {
    this.#assertOpen()
    return this.#data.history(ref, query)
  }

  confirmedPosition(ref: ChannelRef): Position | undefined {
    return this.#subscribed.has(keyOf(ref)) ? this.#data.history(ref, { limit: 0 }).top : undefined
  }

  async removeHistory(ref: ChannelRef): Promise<void> {
    this.#assertOpen()
    this.#data.removeHistory(ref)
  }

  /** Ends the subscriptions. The data stays available to the other brokers of the process. */
  async close(): Promise<void> {
    this.#closed = true
    for (const ref of this.#subscribed.values()) await this.unsubscribe(ref)
  }

  #assertOpen(): void {
    if (this.#closed)
      throw new CommandError('INTERNAL', 'The broker is closed: this gateway is shutting down')
  }
}

/**
 * Returns the key of a channel. The length marks the end of the tenant id, so two channels never share a key,
 * whatever characters their names contain.
 */
function keyOf(ref: ChannelRef): string {
  return `${ref.tenantId.length}:${ref.tenantId}${ref.channel}`
}
