// How long every broker keeps what it must be able to answer for. src/broker/broker.ts promises these times.

/** How long a repeat of an idempotency key is recognised, in milliseconds: 2 minutes. */
export const idempotencyWindowMs = 120_000

/**
 * How long an idle stream keeps its epoch and last offset at least, in milliseconds: 30 days. A client that
 * returns within this time is told with certainty whether it missed a publication.
 */
export const streamIdleTtlMs = 30 * 24 * 3_600_000
