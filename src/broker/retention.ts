// The retention times that src/broker/broker.ts promises for every broker.

/** How long a repeat of an idempotency key is recognised, in milliseconds: 2 minutes. */
export const idempotencyWindowMs = 120_000

/**
 * The shortest time for which an idle stream keeps its epoch and last offset, in milliseconds: 30 days. For a
 * client that returns within this time the broker knows whether the client missed a publication.
 */
export const streamIdleTtlMs = 30 * 24 * 3_600_000
