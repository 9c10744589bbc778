// One write on its way to a shard: what it adds to a pipeline, how its reply is read, and who is told.
import { CommandError } from '../../errors.js'
import type { Job } from '../../redis/routing/shard-router.js'
import type { Pipeline } from '../../redis/scripts.js'

/** One write. It adds one command, or its part of one, and reads that command's reply. */
export interface CommitEntry<Result> {
  readonly partition: number
  /** Writes of one channel keep their order. */
  readonly streamKey: string
  readonly bytes: number
  /** Its part of a command that it can share with those before and behind it in its stream. Undefined: it has its own. */
  readonly part?: Part | undefined
  /** Adds the command for its partition's present generation. */
  add(pipeline: Pipeline, generation: Generation, how: HowToAdd): void
  /** Throws a CommandError when refused for good. */
  read(reply: unknown, how: HowItWent): { readonly done: Result } | NotStored
}

export interface Part {
  readonly envelope: Buffer
  readonly size: number
  /** Of the generation under which it may be shared. */
  readonly store: string
}

export interface HowToAdd {
  /** Parts of those behind it that share its command. */
  readonly behind: readonly Part[]
  /** The command that tells the channel's topic of it at once. Undefined: not before replicas have it. */
  readonly announceBy: AnnounceBy | undefined
}

export interface HowItWent {
  /** Its place in a shared command, from 0. */
  readonly nth: number
  /** It was added with `announceBy`. */
  readonly announced: boolean
}

/** In a Cluster a message goes to one shard's subscribers; PUBLISH would send it to every node. */
export type AnnounceBy = 'PUBLISH' | 'SPUBLISH'

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
  readonly entry: Pick<CommitEntry<unknown>, 'add' | 'bytes' | 'part'>
  tries: number
  /** Gives how to tell the caller of it. */
  read(reply: unknown, how: HowItWent): (() => void) | NotStored
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
    read(reply, how) {
      const result = entry.read(reply, how)
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
