// What the rest of the house sees of Redis: a link that is open or not, and pipelines whose every reply is awaited with a deadline.
// The seam of this folder: no implementation but the errors.
import type { ChainableCommander, Redis } from 'ioredis'

/** Nothing was sent: try again when the link is open. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError'
}

/** It was sent and no reply can be matched with it: it may have happened. */
export class UnknownOutcomeError extends Error {
  override readonly name = 'UnknownOutcomeError'
}

/** One connection, from its preparation to its end. Never comes back: the link makes another. */
export interface LiveRedis {
  readonly client: Redis
  /**
   * Aborted when the connection is thrown away, for whatever reason, with a RedisUnavailableError that tells it. From then on the client
   * emits no message, not even one that has arrived.
   */
  readonly lost: AbortSignal
  /**
   * Sends a pipeline and waits for all its replies. An error reply is a value in its place (an Error), not a throw: the others count.
   * Throws RedisUnavailableError when the connection was lost before sending; UnknownOutcomeError when it is lost, or `deadlineMs`
   * (default 2,000) passes, before the last reply: then the connection is thrown away.
   */
  run(pipeline: ChainableCommander, options?: { deadlineMs?: number }): Promise<unknown[]>
  /**
   * Asked after the replies of a pipeline: can this still have been the master that counts when they were given? A master that was silent
   * for a while may have been replaced, does not know it yet, and is believed by those replicas that do not know it either. True at once
   * while it has answered often enough; else the Sentinels are asked, for some seconds again and again. False in doubt. Standalone: always
   * true.
   */
  stands(): Promise<boolean>
  /** For whoever found out that the connection is of no use (a fenced writer, a reply that makes no sense). */
  discard(reason: string): void
}

/** A connection to the current master in one role, remade for ever. */
export interface RedisLink {
  readonly current: LiveRedis | undefined
  /** Throws RedisUnavailableError when none is open within `waitMs`. */
  ready(waitMs: number): Promise<LiveRedis>
  /** Called for each new connection, after its preparation and before `ready` resolves with it. */
  onOpen(listener: (live: LiveRedis) => void): void
  /** Why it is not open, for `/readyz`; undefined when it is. */
  readonly trouble: string | undefined
}

/** What is done with a new connection before anybody gets it (READONLY checks, generation, subscriptions). Throwing discards it. */
export type Prepare = (live: LiveRedis) => Promise<void>
