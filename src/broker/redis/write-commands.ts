// The broker's kinds of writes. Each kind defines the command that it adds to a pipeline, and how it reads
// the reply.
import { CommandError } from '../../errors.js'
import { isRedirect } from '../../redis/routing/redirects.js'
import { addScript, type Pipeline } from '../../redis/scripts.js'
import { lengthPrefixed, stampTime } from '../envelope.js'
import { idempotencyMismatch } from '../idempotency.js'
import { streamIdleTtlMs } from '../retention.js'
import { idBehind } from '../stream-id.js'
import type { ChannelLocation, StreamLocation } from './channel-keys.js'
import { newNonce, type KnownEpoch } from './known-epochs.js'
import {
  PendingWrite,
  type AddOptions,
  type AddResult,
  type Generation,
  type NotStored,
} from './pending-write.js'
import {
  appendAll,
  appendAllReserved,
  claimKey,
  publishStored,
  publishStoredReserved,
  trimStream,
} from './scripts.js'

/** The result of appending a publication to a stream. */
export interface StoredEntry {
  /** The id in the stream. Empty when this publish repeats one that was not stored. */
  readonly id: string
  readonly epoch: string
  /** The incarnation of the data: see `Generation.store`. */
  readonly store: string
  /** True when the idempotency key was known, so that nothing was stored. */
  readonly repeated: boolean
  /** True when Redis has also published the message on the channel's topic. */
  readonly published: boolean
  /**
   * The envelope of the first publish when this is a repeat of it. Undefined when it is not stored any more.
   */
  readonly first?: Buffer | undefined
  /** What the tenant's histories occupy in the partition, in bytes. Absent for a repeat. */
  readonly partitionBytes?: number | undefined
}

/** An entry that is to be appended to a stream. */
export interface NewEntry {
  readonly location: ChannelLocation
  /** The number of entries that the stream keeps. */
  readonly size: number
  /** How long the entry is kept, in milliseconds. */
  readonly ttlMs: number
  /** The encoded publication. Its time is set when it is sent. */
  readonly envelope: Buffer
  readonly idempotency?: Idempotency | undefined
}

/** The idempotency key of a publish. */
export interface Idempotency {
  readonly key: string
  /** The digest of the data and tags that the client sent. */
  readonly digest: string
  /** The idempotency window, in milliseconds. */
  readonly windowMs: number
}

/** `sinceMs`: when the write was created, in milliseconds of the monotonic clock. */
interface CreatedAt {
  readonly sinceMs: number
}

/**
 * Appends an entry to a stream. When the channel's epoch is known and Redis still has the same data, the
 * command is one short script for all consecutive entries. Otherwise it is the script that determines the
 * epoch. The result is undefined when the stream no longer exists, so that the known
 * epoch is not valid any more.
 */
export class AppendEntry extends PendingWrite<StoredEntry | undefined> {
  readonly #entry: NewEntry
  readonly #known: KnownEpoch | undefined
  readonly #renew: boolean

  /**
   * `listed`: the known epoch of a stream whose expiry and place in the sweep this gateway has renewed within
   * the hour, for the time to live of the entry.
   */
  constructor(entry: NewEntry, { listed, sinceMs }: CreatedAt & { readonly listed: KnownEpoch | undefined }) {
    const { envelope, idempotency, location, size } = entry
    // An idempotency key needs the script that looks it up.
    const known = idempotency ? undefined : listed
    super(location, {
      sinceMs,
      bytes: envelope.byteLength,
      shared: known ? { envelope, size, store: known.store } : undefined,
    })
    this.#entry = entry
    this.#known = known
    this.#renew = listed === undefined
  }

  override add(pipeline: Pipeline, { number, store }: Generation, options: AddOptions): void {
    const { behind, publishBy, time } = options
    const { envelope, idempotency, location, size, ttlMs } = this.#entry
    const { channel, epochKey, recordKey, reserved, storedKey, streamKey, sweepKey, topic } = location
    stampTime(envelope, time)
    const known = this.#knownIn(store)
    if (known) {
      for (const shared of behind) stampTime(shared.envelope, time)
      const entries = lengthPrefixed([envelope, ...behind.map((shared) => shared.envelope)])
      const publish = publishBy ? [publishBy, topic, known.epoch] : []
      addScript(pipeline, reserved ? appendAllReserved : appendAll, {
        keys: [streamKey, storedKey, sweepKey],
        args: [number, size, entries, channel, ttlMs, ...publish],
      })
      return
    }
    const once = idempotency ? [idempotency.digest, idempotency.windowMs] : []
    const idleS = streamIdleTtlMs / 1_000
    const renew = this.#renew ? 1 : 0
    addScript(pipeline, reserved ? publishStoredReserved : publishStored, {
      keys: [streamKey, epochKey, recordKey, storedKey, sweepKey, ...(idempotency ? [idempotency.key] : [])],
      args: [number, size, envelope, newNonce(), idleS, channel, renew, ttlMs, ...once],
    })
  }

  /** The reply is parsed by hand, because every publish with history takes this path. */
  override read(
    reply: unknown,
    { generation: { store }, index, published }: AddResult,
  ): { result: StoredEntry | undefined } | NotStored {
    if (reply === null) return { result: undefined }
    if (!Array.isArray(reply)) return notStored(reply)
    const known = this.#knownIn(store)
    if (known) {
      const [firstId, partitionBytes]: unknown[] = reply
      if (!Buffer.isBuffer(firstId) || typeof partitionBytes !== 'number')
        throw malformed('the script that appends entries')
      const id = idBehind(String(firstId), index)
      return { result: { id, epoch: known.epoch, store, repeated: false, published, partitionBytes } }
    }
    const [status, id, epoch, bytes, first]: unknown[] = reply
    if (String(status) === 'mismatch') throw idempotencyMismatch()
    if (!Buffer.isBuffer(id) || !Buffer.isBuffer(epoch) || typeof bytes !== 'number')
      throw malformed('the script that determines the epoch')
    const entry = { id: String(id), epoch: String(epoch), store, published: false }
    if (String(status) === 'new') return { result: { ...entry, repeated: false, partitionBytes: bytes } }
    const stored = Buffer.isBuffer(first) && first.byteLength > 0
    return { result: { ...entry, repeated: true, first: stored ? first : undefined } }
  }

  /** Returns the known epoch when the short script suffices in this incarnation of the data. */
  #knownIn(store: string): KnownEpoch | undefined {
    return this.#known?.store === store ? this.#known : undefined
  }
}

function malformed(what: string): Error {
  return new Error(`${what} gave a malformed reply`)
}

/** Claims the idempotency key of a publish to a channel without history. */
export class ClaimKey extends PendingWrite<{ repeated: boolean }> {
  readonly #idempotency: Idempotency

  /** Uses the key of the stream, although there is no stream, to keep the order of the channel. */
  constructor(location: StreamLocation, idempotency: Idempotency, { sinceMs }: CreatedAt) {
    super(location, { sinceMs, bytes: 100 })
    this.#idempotency = idempotency
  }

  override add(pipeline: Pipeline): void {
    const { digest, key, windowMs } = this.#idempotency
    addScript(pipeline, claimKey, { keys: [key], args: [digest, windowMs] })
  }

  override read(reply: unknown): { result: { repeated: boolean } } | NotStored {
    if (reply instanceof Error) return notStored(reply)
    const status = String(reply)
    if (status === 'mismatch') throw idempotencyMismatch()
    return { result: { repeated: status === 'repeated' } }
  }
}

/**
 * Removes all entries of a stream. The result is what the tenant's histories occupy in the partition, in
 * bytes, or undefined when there is no stream.
 */
export class TrimStream extends PendingWrite<number | undefined> {
  readonly #location: StreamLocation

  constructor(location: StreamLocation, { sinceMs }: CreatedAt) {
    super(location, { sinceMs, bytes: 50 })
    this.#location = location
  }

  override add(pipeline: Pipeline): void {
    const { channel, storedKey, streamKey } = this.#location
    addScript(pipeline, trimStream, { keys: [streamKey, storedKey], args: [channel] })
  }

  override read(reply: unknown): { result: number | undefined } | NotStored {
    if (reply instanceof Error) return notStored(reply)
    return { result: typeof reply === 'number' ? reply : undefined }
  }
}

/**
 * Classifies an error reply, which proves that nothing was stored. A fenced writer or a node that is no
 * longer the master leads to another attempt; every other error is thrown as a CommandError.
 */
function notStored(reply: unknown): NotStored {
  if (isRedirect(reply)) return 'moved'
  const text = reply instanceof Error ? reply.message : `unexpected reply ${typeof reply}`
  if (isFenced(text)) return 'fenced'
  if (text.startsWith('READONLY') || text.startsWith('NOSCRIPT')) return 'reconnect'
  if (text.startsWith('NOREPLICAS')) {
    throw new CommandError(
      'NOT_REPLICATED',
      'Nothing was stored: Redis has too few replicas at the moment. Try again',
      { retryAfterMs: 1_000 },
    )
  }
  if (text.startsWith('OOM')) {
    throw new CommandError(
      'BROKER_UNAVAILABLE',
      'Nothing was stored: Redis has no memory left. Try again later, and tell the operators of this server',
      { retryAfterMs: 5_000 },
    )
  }
  const kind = /^[A-Z]+/.exec(text)?.[0] ?? 'an error'
  throw new CommandError('BROKER_UNAVAILABLE', `Nothing was stored: Redis answered ${kind}. Try again`, {
    retryAfterMs: 1_000,
  })
}

/** Returns whether a stream refused the write because its last entry has a newer generation. */
function isFenced(text: string): boolean {
  return text.includes('equal or smaller than the target stream top item')
}
