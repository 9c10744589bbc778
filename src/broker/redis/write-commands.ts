// The broker's kinds of writes. Each kind defines the command that it adds to a pipeline, and how it reads
// the reply.
import { CommandError } from '../../errors.js'
import { isRedirect } from '../../redis/routing/redirects.js'
import { addScript, type Pipeline } from '../../redis/scripts.js'
import { lengthPrefixed } from '../envelope.js'
import { idempotencyMismatch } from '../idempotency.js'
import { streamIdleTtlMs } from '../retention.js'
import { idBehind } from '../stream-id.js'
import type { ChannelLocation, StreamLocation } from './channel-keys.js'
import { newEpoch, type KnownEpoch } from './known-epochs.js'
import {
  PendingWrite,
  type AddOptions,
  type AddResult,
  type Generation,
  type NotStored,
} from './pending-write.js'
import { appendAll, claimKey, publishStored } from './scripts.js'

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
}

/** An entry that is to be appended to a stream. */
export interface NewEntry {
  readonly location: ChannelLocation
  /** The approximate number of entries that the stream keeps. */
  readonly size: number
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
 * command is a plain XADD, or one script for all consecutive entries. Both cost Redis a fifth of the script
 * that determines the epoch. The result is undefined when the stream no longer exists, so that the known
 * epoch is not valid any more.
 */
export class AppendEntry extends PendingWrite<StoredEntry | undefined> {
  readonly #entry: NewEntry
  readonly #known: KnownEpoch | undefined
  /** The incarnation that was passed to the script that determines the epoch. */
  #store = ''

  constructor(entry: NewEntry, { known, sinceMs }: CreatedAt & { readonly known: KnownEpoch | undefined }) {
    const { envelope, idempotency, location, size } = entry
    super(location, {
      sinceMs,
      bytes: envelope.byteLength,
      shared: known && !idempotency ? { envelope, size, store: known.store } : undefined,
    })
    this.#entry = entry
    this.#known = known
  }

  override add(pipeline: Pipeline, { number, store }: Generation, { behind, publishBy }: AddOptions): void {
    const { envelope, idempotency, location, size } = this.#entry
    const { epochKey, streamKey, topic } = location
    if (this.#known?.store === store && !idempotency) {
      if (behind.length === 0 && !publishBy) {
        pipeline.call('XADD', streamKey, 'NOMKSTREAM', 'MAXLEN', '~', size, `${number}-*`, 'e', envelope)
        return
      }
      const entries = lengthPrefixed([envelope, ...behind.map((shared) => shared.envelope)])
      const publish = publishBy ? [publishBy, topic, this.#known.epoch] : []
      addScript(pipeline, appendAll, { keys: [streamKey], args: [number, size, entries, ...publish] })
      return
    }
    this.#store = store
    const keys = [streamKey, epochKey, ...(idempotency ? [idempotency.key] : [])]
    const once = idempotency ? [idempotency.digest, idempotency.windowMs] : []
    addScript(pipeline, publishStored, {
      keys,
      args: [number, size, envelope, store + newEpoch(), streamIdleTtlMs / 1_000, ...once],
    })
  }

  override read(
    reply: unknown,
    { index, published }: AddResult,
  ): { result: StoredEntry | undefined } | NotStored {
    if (reply === null) return { result: undefined }
    if (this.#known && (typeof reply === 'string' || Buffer.isBuffer(reply))) {
      const { epoch, store } = this.#known
      return { result: { id: idBehind(String(reply), index), epoch, store, repeated: false, published } }
    }
    if (!Array.isArray(reply)) return notStored(reply)
    const [status = '', id = '', epoch = ''] = reply.map(String)
    if (status === 'mismatch') throw idempotencyMismatch()
    return { result: { id, epoch, store: this.#store, repeated: status === 'repeated', published: false } }
  }
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

/** Removes all entries of a stream. */
export class TrimStream extends PendingWrite<void> {
  constructor(location: StreamLocation, { sinceMs }: CreatedAt) {
    super(location, { sinceMs, bytes: 50 })
  }

  override add(pipeline: Pipeline): void {
    pipeline.xtrim(this.key, 'MAXLEN', '=', 0)
  }

  override read(reply: unknown): { result: void } | NotStored {
    return reply instanceof Error ? notStored(reply) : { result: undefined }
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
  const kind = /^[A-Z]+/.exec(text)?.[0] ?? 'an error'
  throw new CommandError('BROKER_UNAVAILABLE', `Nothing was stored: Redis answered ${kind}. Try again`, {
    retryAfterMs: 1_000,
  })
}

/** Returns whether a stream refused the write because its last entry has a newer generation. */
function isFenced(text: string): boolean {
  return text.includes('equal or smaller than the target stream top item')
}
