// The seam of this room: what the other rooms see of Redis. A link keeps one connection to the current master
// open, and a connection runs pipelines whose replies all have a deadline.
//
// The room finds the servers (`topology/`), routes requests to the master that holds their partition
// (`routing/`), keeps connections open (`managed-link.ts`, `connection.ts`), and owns the key names
// (`keys.ts`) and the start check. It imports the leaves of `src/` only; ioredis is imported nowhere else.
// Start reading here, then in `managed-link.ts` and `topology/locator.ts`.
import type { ChainableCommander, Redis } from 'ioredis'

/** Nothing was sent. The caller may try again when the link is open. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError'
}

/** The commands were sent but not all replies arrived: Redis may or may not have executed them. */
export class UnknownOutcomeError extends Error {
  override readonly name = 'UnknownOutcomeError'
}

/**
 * One connection, from its preparation to its end. A lost connection never recovers: the link opens another.
 */
export interface LiveRedis {
  readonly client: Redis
  /**
   * Aborted when the connection is discarded, with a RedisUnavailableError that states the reason. From then
   * on the client emits no message, not even one that has already arrived.
   */
  readonly lost: AbortSignal
  /**
   * Sends a pipeline and resolves with all replies in order. An error reply is an Error in its place, not a
   * throw, since the other replies still count. Throws RedisUnavailableError when the connection was lost
   * before sending. Throws UnknownOutcomeError and discards the connection when it is lost, or when
   * `deadlineMs` (default 2,000) passes, before the last reply.
   */
  run(pipeline: ChainableCommander, options?: { deadlineMs?: number }): Promise<unknown[]>
  /**
   * Call it after the replies of a pipeline: resolves with true when the server was still the valid master
   * when it gave them. A master that was silent for a while may have been replaced without knowing it, and
   * replicas that do not know it either still acknowledge its writes. Resolves at once with true while the
   * master has answered often enough. Otherwise it asks the Sentinels, or the nodes of the Cluster, at each
   * call for some seconds. Resolves with false in doubt, and always with true for a standalone Redis.
   */
  confirmMaster(): Promise<boolean>
  /**
   * Discards a connection that is of no use to the caller, such as one of a fenced writer or one with a
   * malformed reply.
   */
  discard(reason: string): void
}

/**
 * A connection to the current master for one role. The link replaces each lost connection until it is
 * stopped.
 */
export interface RedisLink {
  /** The open connection. Undefined while there is none. */
  readonly current: LiveRedis | undefined
  /** Resolves with the open connection. Throws RedisUnavailableError when none opens within `waitMs`. */
  ready(waitMs: number): Promise<LiveRedis>
  /** Calls `listener` for each new connection, after its preparation and before `ready` resolves with it. */
  onOpen(listener: (live: LiveRedis) => void): void
  /** Why there is no connection, as text for logs and `/readyz`. Undefined while one is open. */
  readonly unavailableReason: string | undefined
}

/**
 * Prepares a new connection before any caller gets it (READONLY checks, generation, subscriptions). Throwing
 * discards the connection.
 */
export type Prepare = (live: LiveRedis) => Promise<void>
