// One write on its way to Redis. It is the job that the router sends to a shard and the worker puts into a
// pipeline: it adds its command, reads the reply, and settles the promise of the caller.
import { CommandError } from '../../errors.js'
import type { Job } from '../../redis/routing/job.js'
import type { Pipeline } from '../../redis/scripts.js'
import type { StreamLocation } from './channel-keys.js'

export abstract class PendingWrite<Result> implements Job {
  readonly partition: number
  /** The stream's key: writes of one channel keep their order. */
  readonly key: string
  readonly sinceMs: number
  /** The size that counts towards the bound of a group. */
  readonly bytes: number
  /**
   * This write's part of a command that it can share with its neighbours in the stream. Undefined: it needs
   * its own command.
   */
  readonly shared: SharedAppend | undefined
  /**
   * Rejects with CommandError: NOT_REPLICATED (the outcome is unknown), BROKER_UNAVAILABLE (nothing was
   * stored), or an error of this write's own.
   */
  readonly done: Promise<Result>
  /** How often nothing was stored although the write was sent or about to be. */
  tries = 0
  #caller!: Caller<Result>

  /** `sinceMs` is of the monotonic clock. */
  constructor(
    { partition, streamKey }: Pick<StreamLocation, 'partition' | 'streamKey'>,
    options: { readonly sinceMs: number; readonly bytes: number; readonly shared?: SharedAppend | undefined },
  ) {
    this.partition = partition
    this.key = streamKey
    this.sinceMs = options.sinceMs
    this.bytes = options.bytes
    this.shared = options.shared
    this.done = new Promise<Result>((resolve, reject) => {
      this.#caller = { resolve, reject }
    })
  }

  /** Adds the command for the present generation of the partition. */
  abstract add(pipeline: Pipeline, generation: Generation, options: AddOptions): void

  /**
   * Reads the command's reply. Throws when Redis refused the write for good; a CommandError when the client
   * is to blame or may try again.
   */
  abstract read(reply: unknown, result: AddResult): { readonly result: Result } | NotStored

  resolve(result: Result): void {
    this.#caller.resolve(result)
  }

  reject(error: unknown): void {
    this.#caller.reject(error)
  }

  refuse(reason: string): void {
    this.#caller.reject(writeUnavailable(reason))
  }
}

/** Methods instead of function properties: a write of any result is a `PendingWrite<unknown>`. */
interface Caller<Result> {
  resolve(result: Result): void
  reject(error: unknown): void
}

/** What a router of writes offers the broker. */
export interface WriteRouter {
  send(write: PendingWrite<unknown>): void
}

/** An entry that one command can append together with others. */
export interface SharedAppend {
  readonly envelope: Buffer
  /** At most about this many entries stay in the stream. Only writes with the same size share a command. */
  readonly size: number
  /** The incarnation of the data under which it may share a command. */
  readonly store: string
}

export interface AddOptions {
  /** The writes behind this one that share its command. */
  readonly behind: readonly SharedAppend[]
  /**
   * The command by which Redis also publishes the message on the channel's topic. Undefined: not before
   * replicas have the write.
   */
  readonly publishBy: PubSubCommand | undefined
}

export interface AddResult {
  /** The position within a shared command, from 0. */
  readonly index: number
  /** The write was added with `publishBy`. */
  readonly published: boolean
}

/**
 * In a Cluster, SPUBLISH reaches the subscribers of one shard; PUBLISH would send the message to every node.
 */
export type PubSubCommand = 'PUBLISH' | 'SPUBLISH'

/**
 * Nothing was stored, and the write is to be tried again: `reconnect` on another connection; `fenced` with a
 * newer generation; `moved` on the shard that holds the partition now.
 */
export type NotStored = 'reconnect' | 'fenced' | 'moved'

/** Counts the masters of a partition, so that Redis refuses writes of an older one. */
export interface Generation {
  readonly number: number
  /** The incarnation of the data: random, and new when Redis has lost its data. */
  readonly store: string
}

/** Nothing was stored. */
export function writeUnavailable(reason: string): CommandError {
  return new CommandError(
    'BROKER_UNAVAILABLE',
    `Nothing was stored: Redis accepts no writes at the moment (${reason}). Try again`,
    { retryAfterMs: 1_000 },
  )
}

/** The write may be stored or not. */
export function unknownOutcome(reason: string, cause?: unknown): CommandError {
  return new CommandError(
    'NOT_REPLICATED',
    `The message may or may not be stored: ${reason}. Send it again with the same idempotency key`,
    { retryAfterMs: 1_000, cause },
  )
}
