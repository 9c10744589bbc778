// One write on its way to Redis. The router sends it as a job to a shard, whose worker puts it into a
// pipeline. The write adds its command to the pipeline, reads the reply, and settles the promise of the
// caller.
import { CommandError } from '../../errors.js'
import type { Job } from '../../redis/routing/job.js'
import type { Pipeline } from '../../redis/scripts.js'
import type { StreamLocation } from './channel-keys.js'

export abstract class PendingWrite<Result> implements Job {
  readonly partition: number
  /** The stream's key. Writes with the same key keep their order. */
  readonly key: string
  readonly sinceMs: number
  /** The number of bytes that counts towards the limit of a group. */
  readonly bytes: number
  /**
   * This write's part of a command that it can share with its neighbours in the stream. Undefined: the write
   * needs its own command.
   */
  readonly shared: SharedAppend | undefined
  /**
   * Rejects with CommandError: NOT_REPLICATED (the outcome is unknown), BROKER_UNAVAILABLE (nothing was
   * stored), or an error that is specific to the kind of write.
   */
  readonly done: Promise<Result>
  /** The number of attempts that stored nothing. */
  tries = 0
  #caller!: Caller<Result>

  /** `sinceMs`: when the write was created, in milliseconds of the monotonic clock. */
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

  /** Adds the command for the current generation of the partition. */
  abstract add(pipeline: Pipeline, generation: Generation, options: AddOptions): void

  /**
   * Reads the command's reply. Throws when Redis permanently refused the write: a CommandError when the
   * client caused the refusal or may try again.
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

/**
 * These are methods and not function properties, so that a write with any result is assignable to
 * `PendingWrite<unknown>`.
 */
interface Caller<Result> {
  resolve(result: Result): void
  reject(error: unknown): void
}

/** The interface that a router of writes offers to the broker. */
export interface WriteRouter {
  send(write: PendingWrite<unknown>): void
}

/** An entry that one command can append together with others. */
export interface SharedAppend {
  readonly envelope: Buffer
  /** The number of entries that the stream keeps. Only writes with the same size share a command. */
  readonly size: number
  /** The incarnation of the data in which the entry may share a command: see `Generation.store`. */
  readonly store: string
}

export interface AddOptions {
  /** The writes behind this one that share its command. */
  readonly behind: readonly SharedAppend[]
  /**
   * The command by which Redis also publishes the message on the channel's topic. Undefined: the gateway
   * publishes the message after the replicas have confirmed the write.
   */
  readonly publishBy: PubSubCommand | undefined
  /** The time by the clock of the master: see `timeStamp`. */
  readonly time: Buffer
}

export interface AddResult {
  /** The generation for which the command of the write was added. */
  readonly generation: Generation
  /** The index of the write within a shared command, from 0. */
  readonly index: number
  /** True when the write was added with `publishBy`. */
  readonly published: boolean
}

/**
 * The pub/sub command. In a Cluster it is SPUBLISH, which reaches the subscribers of one shard; PUBLISH would
 * send the message to every node.
 */
export type PubSubCommand = 'PUBLISH' | 'SPUBLISH'

/**
 * Nothing was stored, and the write must be tried again: on another connection (`reconnect`), with a newer
 * generation (`fenced`), or on the shard that now holds the partition (`moved`).
 */
export type NotStored = 'reconnect' | 'fenced' | 'moved'

/** The generation of a partition: it counts the masters, so that Redis refuses writes for an older master. */
export interface Generation {
  readonly number: number
  /** The incarnation of the data: a random id that changes when Redis has lost its data. */
  readonly store: string
}

/** The error of a write of which nothing was stored. */
function writeUnavailable(reason: string): CommandError {
  return new CommandError(
    'BROKER_UNAVAILABLE',
    `Nothing was stored: Redis accepts no writes at the moment (${reason}). Try again`,
    { retryAfterMs: 1_000 },
  )
}

/** The error of a write that may or may not be stored. */
export function unknownOutcome(reason: string, cause?: unknown): CommandError {
  return new CommandError(
    'NOT_REPLICATED',
    `The message may or may not be stored: ${reason}. Send it again with the same idempotency key`,
    { retryAfterMs: 1_000, cause },
  )
}
