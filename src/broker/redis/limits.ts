// The bounds and deadlines of the Redis broker.
import { idempotencyWindowMs } from '../retention.js'

export interface RedisBrokerLimits {
  /** How long a WAIT gives the replicas to confirm a group of writes, in milliseconds. Default 1,000. */
  readonly waitMs: number
  /**
   * How long a write waits for a writer connection before it is refused, and a read for a reader connection,
   * in milliseconds. Default 4,500.
   */
  readonly queueMs: number
  /** At most this many jobs wait for each connection. Default 20,000. */
  readonly queueMax: number
  /** At most this many writes form a group. Default 256. */
  readonly groupMax: number
  /** At most this many bytes form a group, unless a single write is larger. Default 1 MiB. */
  readonly groupBytesMax: number
  /** How long a publication waits for its predecessors, in milliseconds. Default 50. */
  readonly holdMs: number
  /** How long Redis may take to answer a SUBSCRIBE, in milliseconds. Default 5,000. */
  readonly replyMs: number
  /**
   * How long `close` waits until acknowledged publications are sent to subscribers, in milliseconds. Default
   * 1,000.
   */
  readonly flushMs: number
  /** How long an idempotency key is known, in milliseconds. Default `idempotencyWindowMs`. */
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
