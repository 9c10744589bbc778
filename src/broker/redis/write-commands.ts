// The writes of the broker, each one command in a group, and how their replies are read.
import { CommandError } from '../../errors.js'
import type { KnownEpoch } from './known-epochs.js'
import { liesElsewhere } from '../../redis/routing/redirects.js'
import { addScript, type Pipeline } from '../../redis/scripts.js'
import { listOf } from '../envelope.js'
import { idempotencyMismatch } from '../idempotency.js'
import type { CommitEntry, Generation, HowItWent, HowToAdd, NotStored, Part } from './pending-write.js'
import type { ChannelPlace } from './channel-keys.js'
import { newEpoch, streamIdleTtlS } from './stream-reader.js'
import { appendAll, claimKey, publishStored } from './scripts.js'
import { idBehind } from '../stream-id.js'

/** Where an entry of a stream was put. */
export interface Stored {
  /** '': nowhere, since it repeats one that was not stored. */
  readonly id: string
  readonly epoch: string
  /** Of the Redis that took it: see Generation. */
  readonly store: string
  readonly repeated: boolean
  /** The channel's topic has been told of it. */
  readonly announced: boolean
}

/** Where a channel's stream lies. */
export interface StreamPlace {
  readonly partition: number
  readonly streamKey: string
  readonly epochKey: string
}

export interface StoredWrite {
  readonly place: ChannelPlace
  readonly size: number
  readonly envelope: Buffer
  readonly idempotency?: Idempotency | undefined
}

export interface Idempotency {
  readonly key: string
  /** Of what the client sent. */
  readonly digest: string
  readonly windowMs: number
}

/**
 * An entry of a stream. Where the channel's epoch is known and the Redis is still the one in which it was met, a plain XADD, or one script
 * for all that follow each other: for Redis both are five times cheaper than the script that settles the epoch. Undefined from `read`: the
 * stream is gone, and what was known with it.
 */
export class Append implements CommitEntry<Stored | undefined> {
  readonly #write: StoredWrite
  readonly #known: KnownEpoch | undefined
  /** That the script which settles the epoch was given. */
  #store = ''

  constructor(write: StoredWrite, known: KnownEpoch | undefined) {
    this.#write = write
    this.#known = known
  }

  get partition(): number {
    return this.#write.place.partition
  }

  get streamKey(): string {
    return this.#write.place.streamKey
  }

  get bytes(): number {
    return this.#write.envelope.byteLength
  }

  get part(): Part | undefined {
    const { envelope, idempotency, size } = this.#write
    return this.#known && !idempotency ? { envelope, size, store: this.#known.store } : undefined
  }

  add(pipeline: Pipeline, { number, store }: Generation, { announceBy, behind }: HowToAdd): void {
    const { envelope, idempotency, place, size } = this.#write
    const { epochKey, streamKey, topic } = place
    if (this.#known?.store === store && !idempotency) {
      if (behind.length === 0 && !announceBy) {
        pipeline.call('XADD', streamKey, 'NOMKSTREAM', 'MAXLEN', '~', size, `${number}-*`, 'e', envelope)
        return
      }
      const entries = listOf([envelope, ...behind.map((part) => part.envelope)])
      const announcement = announceBy ? [announceBy, topic, this.#known.epoch] : []
      addScript(pipeline, appendAll, { keys: [streamKey], args: [number, size, entries, ...announcement] })
      return
    }
    this.#store = store
    const keys = [streamKey, epochKey, ...(idempotency ? [idempotency.key] : [])]
    const once = idempotency ? [idempotency.digest, idempotency.windowMs] : []
    addScript(pipeline, publishStored, {
      keys,
      args: [number, size, envelope, store + newEpoch(), streamIdleTtlS, ...once],
    })
  }

  read(reply: unknown, { announced, nth }: HowItWent): { done: Stored | undefined } | NotStored {
    if (reply === null) return { done: undefined }
    if (this.#known && (typeof reply === 'string' || Buffer.isBuffer(reply))) {
      const { epoch, store } = this.#known
      return { done: { id: idBehind(String(reply), nth), epoch, store, repeated: false, announced } }
    }
    if (!Array.isArray(reply)) return notStored(reply)
    const [status = '', id = '', epoch = ''] = reply.map(String)
    if (status === 'mismatch') throw idempotencyMismatch()
    return { done: { id, epoch, store: this.#store, repeated: status === 'repeated', announced: false } }
  }
}

/** A keyed publish in a channel without history. */
export class ClaimKey implements CommitEntry<{ repeated: boolean }> {
  readonly partition: number
  /** There is no stream, but its name stands for the channel. */
  readonly streamKey: string
  readonly bytes = 100
  readonly #once: Idempotency

  constructor(place: StreamPlace, once: Idempotency) {
    this.partition = place.partition
    this.streamKey = place.streamKey
    this.#once = once
  }

  add(pipeline: Pipeline): void {
    const { digest, key, windowMs } = this.#once
    addScript(pipeline, claimKey, { keys: [key], args: [digest, windowMs] })
  }

  read(reply: unknown): { done: { repeated: boolean } } | NotStored {
    if (reply instanceof Error) return notStored(reply)
    const status = String(reply)
    if (status === 'mismatch') throw idempotencyMismatch()
    return { done: { repeated: status === 'repeated' } }
  }
}

/** Removes entries, up to `upTo` (an id, exclusive) or all. */
export class Trim implements CommitEntry<void> {
  readonly partition: number
  readonly streamKey: string
  readonly bytes = 50
  readonly #upTo: string | undefined

  constructor({ partition, streamKey }: StreamPlace, upTo?: string) {
    this.partition = partition
    this.streamKey = streamKey
    this.#upTo = upTo
  }

  add(pipeline: Pipeline): void {
    if (this.#upTo === undefined) pipeline.xtrim(this.streamKey, 'MAXLEN', '=', 0)
    else pipeline.xtrim(this.streamKey, 'MINID', '=', this.#upTo)
  }

  read(reply: unknown): { done: void } | NotStored {
    return reply instanceof Error ? notStored(reply) : { done: undefined }
  }
}

/** Error replies say for certain that nothing was stored. A writer of the past and a node that is no master any more are worth another try. */
function notStored(reply: unknown): NotStored {
  if (liesElsewhere(reply)) return 'elsewhere'
  const text = reply instanceof Error ? reply.message : `unexpected reply ${typeof reply}`
  if (isFenced(text)) return 'fenced'
  if (text.startsWith('READONLY') || text.startsWith('NOSCRIPT')) return 'again'
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

/** A stream refuses whoever writes for an older master than the one that wrote there last. */
function isFenced(text: string): boolean {
  return text.includes('equal or smaller than the target stream top item')
}
