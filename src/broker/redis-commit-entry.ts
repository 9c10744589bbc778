// One write on its way to a shard: what it adds to a pipeline, how its reply is read, and who is told.
import { CommandError } from '../errors.js'
import type { Job } from '../redis/routes.js'
import type { Pipeline } from '../redis/scripts.js'

/** One write. It adds exactly one command, and reads that command's reply. */
export interface CommitEntry<Result> {
  readonly partition: number
  /** Writes of one channel keep their order. */
  readonly streamKey: string
  readonly bytes: number
  /** Adds the command for its partition's present generation. */
  add(pipeline: Pipeline, generation: Generation): void
  /** Throws a CommandError when refused for good. */
  read(reply: unknown): { readonly done: Result } | NotStored
}

/**
 * Nothing was stored, and the entry wants another try: on another connection; with another generation than the one known; where its
 * partition lies.
 */
export type NotStored = 'again' | 'fenced' | 'elsewhere'

/** Which life of the data a writer's connection belongs to. */
export interface Generation {
  readonly number: number
  readonly store: string
}

/** An entry under way. */
export interface Commit extends Job {
  readonly entry: Pick<CommitEntry<unknown>, 'add' | 'bytes'>
  tries: number
  /** Gives how to tell the caller of it. */
  read(reply: unknown): (() => void) | NotStored
  reject(error: unknown): void
}

/** `sinceMs` by the monotonic clock. */
export function commitOf<Result>(
  entry: CommitEntry<Result>,
  to: { sinceMs: number; resolve: (result: Result) => void; reject: (error: unknown) => void },
): Commit {
  const { reject, resolve, sinceMs } = to
  return {
    entry,
    partition: entry.partition,
    key: entry.streamKey,
    sinceMs,
    tries: 0,
    read(reply) {
      const result = entry.read(reply)
      return typeof result === 'string' ? result : () => resolve(result.done)
    },
    reject,
    refuse: (trouble) => reject(unavailable(trouble)),
  }
}

/** Nothing was stored. */
export function unavailable(trouble: string | undefined): CommandError {
  return new CommandError(
    'BROKER_UNAVAILABLE',
    `Nothing was stored: Redis takes no writes at the moment (${trouble ?? 'no master is known'}). Try again`,
    {
      retryAfterMs: 1_000,
    },
  )
}

/** It may be stored or not. */
export function unknownOutcome(why: string, cause?: unknown): CommandError {
  return new CommandError(
    'NOT_REPLICATED',
    `It may or may not be stored: ${why}. Send it again with the same key`,
    { retryAfterMs: 1_000, cause },
  )
}
