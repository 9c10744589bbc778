// The seam of this room: the interface through which the other rooms use Redis. A link keeps one connection
// to the current master open, and a connection runs pipelines whose replies all have a deadline.
//
// The room finds the servers (`topology/`), routes requests to the master that holds their partition
// (`routing/`), keeps connections open (`managed-link.ts`, `connection.ts`), and owns the key names
// (`keys.ts`) and the start check. It imports the leaves of `src/` only; ioredis is imported nowhere else.
// Start reading here, then in `managed-link.ts` and `topology/locator.ts`.
import type { ChainableCommander, Redis } from 'ioredis'

/** No command was sent. The caller may try again when the link is open. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError'
}

/** The commands were sent, but not all replies arrived. Redis may or may not have executed them. */
export class UnknownOutcomeError extends Error {
  override readonly name = 'UnknownOutcomeError'
}

/**
 * One connection, from its preparation to its end. A lost connection never recovers: the link opens another.
 */
export interface LiveRedis {
  readonly client: Redis
  /**
   * Aborted when the connection is discarded, with a RedisUnavailableError that states the reason. After that
   * the client emits no message, not even one that has already arrived.
   */
  readonly lost: AbortSignal
  /**
   * Sends a pipeline and resolves with all replies in order. An error reply is returned as an Error in its
   * place and not thrown, because the other replies are still valid. Throws RedisUnavailableError when the
   * connection was lost before sending. Throws UnknownOutcomeError and discards the connection when it is
   * lost, or when `deadlineMs` (default 2,000) passes, before the last reply.
   */
  run(pipeline: ChainableCommander, options?: { deadlineMs?: number }): Promise<unknown[]>
  /**
   * Checks that the server was still the valid master when it sent its last replies. The caller calls it
   * after the replies of a pipeline. A master that was silent for a while may have been replaced without
   * noticing, and replicas that have not noticed either still acknowledge its writes. Resolves immediately
   * with true while the master answers regularly. Otherwise each call asks the Sentinels, or the nodes of the
   * Cluster, for some seconds. Resolves with false when the master is not proven to be valid, and always with
   * true for a standalone Redis.
   */
  confirmMaster(): Promise<boolean>
  /**
   * Discards the connection because the caller cannot use it, for example after a malformed reply. `reason`
   * becomes part of log lines and of `unavailableReason`.
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
  /**
   * The reason why there is no connection, as text for logs and `/readyz`. Undefined while a connection is
   * open.
   */
  readonly unavailableReason: string | undefined
}

/**
 * Prepares a new connection before any caller gets it, for example by loading scripts, opening generations or
 * subscribing. When it throws, the connection is discarded.
 */
export type Prepare = (live: LiveRedis) => Promise<void>
