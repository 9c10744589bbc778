// The bounds and deadlines of the Redis broker.
import { idempotencyWindowMs } from '../retention.js'

export interface RedisBrokerLimits {
  /** The timeout of the WAIT for the replicas of a group of writes, in milliseconds. Default 1,000. */
  readonly waitMs: number
  /**
   * How long a write waits for a writer connection before it is refused, and a read for a reader connection,
   * in milliseconds. Default 4,500.
   */
  readonly queueMs: number
  /** The most jobs that wait for each connection. Default 20,000. */
  readonly queueMax: number
  /** The most writes in a group. Default 256. */
  readonly groupMax: number
  /** The most bytes in a group, unless a single write is larger. Default 1 MiB. */
  readonly groupBytesMax: number
  /** How long a publication waits for its predecessors, in milliseconds. Default 50. */
  readonly holdMs: number
  /** The deadline for the answer to a SUBSCRIBE, in milliseconds. Default 5,000. */
  readonly replyMs: number
  /**
   * How long `close` waits until acknowledged publications are sent to subscribers, in milliseconds. Default
   * 1,000.
   */
  readonly flushMs: number
  /** The idempotency window, in milliseconds. Default `idempotencyWindowMs`. */
  readonly windowMs: number
}

export const defaultRedisBrokerLimits: RedisBrokerLimits = {
  waitMs: 1_000,
  queueMs: 4_500,
  queueMax: 20_000,
  groupMax: 256,
  groupBytesMax: 1_048_576,
  holdMs: 50,
  replyMs: 5_000,
  flushMs: 1_000,
  windowMs: idempotencyWindowMs,
}
