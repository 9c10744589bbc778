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
import { epochWindowMs, idempotencyWindowMs, streamIdleTtlMs } from './retention.js'
import { noPolicies, ruleInForce, type BrokerStorage, type HistoryPolicies } from './storage.js'

const sweepIntervalMs = 1000
/** Every stream is swept at least once in this many sweeps, and at least `sweepStreamsMin` in each. */
const sweepsForAll = 30
const sweepStreamsMin = 1000

/** An estimate of what a stream, and each publication in it, occupies beside its data, in bytes. */
const overheadBytes = { stream: 500, publication: 200 }

interface ChannelStream {
  readonly ref: ChannelRef
  readonly stream: MemoryStream
  /** The bytes that count for the tenant at the moment. */
  countedBytes: number
}

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
  /** Distinguishes this data from that of an earlier process. It is part of every epoch. */
  readonly #store: string
  readonly #streams = new Map<string, ChannelStream>()
  readonly #bytesByTenant = new Map<string, number>()
  #policies = noPolicies
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
    this.#store = this.#newEpoch()
    this.#results = new IdempotencyResults(idempotencyWindowMs, options.clock.monotonicMs())
  }

  govern(policies: HistoryPolicies): void {
    this.#policies = policies
  }

  /** The bytes that the tenant's histories occupy. Expired publications count until they are swept. */
  storedBytes(tenantId: string): number {
    return this.#bytesByTenant.get(tenantId) ?? 0
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
    const found = this.#streams.get(keyOf(ref))
    if (found) {
      const page = found.stream.page(query, nowMs, ruleInForce(this.#policies, ref))
      this.#count(found)
      return page
    }
    // Nothing is kept for a read. An empty stream with the epoch of the channel answers it.
    return new MemoryStream(this.#epochOfEmpty(nowMs), nowMs).page(query, nowMs)
  }

  removeHistory(ref: ChannelRef): void {
    const found = this.#streams.get(keyOf(ref))
    if (!found) return
    found.stream.clear()
    this.#count(found)
  }

  stats(): MemoryBrokerStats {
    let publications = 0
    let bytes = 0
    for (const { stream } of this.#streams.values()) {
      publications += stream.count
      bytes += stream.bytes
    }
    return { streams: this.#streams.size, publications, bytes, idempotencyKeys: this.#results.size }
  }

  /** Removes expired data from some streams. The next call continues where this one stopped. */
  sweep(): void {
    const nowMs = this.#clock.monotonicMs()
    this.#results.dropExpired(nowMs)
    const streams = Math.max(sweepStreamsMin, Math.ceil(this.#streams.size / sweepsForAll))
    for (let swept = 0; swept < streams; swept += 1) {
      const next = this.#sweepCursor.next()
      if (next.done) {
        this.#sweepCursor = this.#streams.entries()
        return
      }
      const [key, found] = next.value
      found.stream.trim(nowMs, ruleInForce(this.#policies, found.ref))
      this.#count(found)
      // A subscribed stream stays: its subscribers know its epoch, and a new epoch would look like a loss.
      if (found.stream.idleMs(nowMs) <= streamIdleTtlMs || this.#subscribers.has(key)) continue
      this.#streams.delete(key)
      this.#addBytes(found.ref, -found.countedBytes)
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
    const key = keyOf(ref)
    let found = this.#streams.get(key)
    if (!found) {
      const epoch = this.#epochOfEmpty(nowMs)
      const { channel, tenantId } = ref
      found = { ref: { tenantId, channel }, stream: new MemoryStream(epoch, nowMs), countedBytes: 0 }
      this.#streams.set(key, found)
    }
    const stored = found.stream.append(unstored, { ...history, nowMs })
    this.#count(found)
    return stored
  }

  /** The epoch of a channel without publications. */
  #epochOfEmpty(nowMs: number): string {
    return `${this.#store}.${Math.floor(nowMs / epochWindowMs)}`
  }

  /** Counts what the stream occupies after a change. */
  #count(found: ChannelStream): void {
    const { bytes, count } = found.stream
    const occupied = bytes + overheadBytes.stream + count * overheadBytes.publication
    this.#addBytes(found.ref, occupied - found.countedBytes)
    found.countedBytes = occupied
  }

  #addBytes({ tenantId }: ChannelRef, bytes: number): void {
    const sum = this.storedBytes(tenantId) + bytes
    if (sum > 0) this.#bytesByTenant.set(tenantId, sum)
    else this.#bytesByTenant.delete(tenantId)
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
  readonly storage: BrokerStorage
  readonly #data: MemoryBrokerData
  readonly #subscribed = new Map<string, ChannelRef>()
  #listener: BrokerListener | undefined
  #closed = false

  constructor(data: MemoryBrokerData) {
    this.#data = data
    this.storage = {
      govern: (policies) => data.govern(policies),
      // The sweep reaches every stream within a minute, and applies the rules in force.
      rulesChanged: () => {},
      storedBytes: (tenantId) => data.storedBytes(tenantId),
      memory: () => undefined,
    }
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
