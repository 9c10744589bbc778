// The retention times that src/broker/broker.ts promises for every broker.

/** How long a repeat of an idempotency key is recognised, in milliseconds: 2 minutes. */
export const idempotencyWindowMs = 120_000

/**
 * The shortest time for which an idle stream keeps its epoch and last offset, in milliseconds: 30 days. For a
 * client that returns within this time the broker knows whether the client missed a publication.
 */
export const streamIdleTtlMs = 30 * 24 * 3_600_000

/**
 * The length of the windows of time that are part of epochs, in milliseconds. An epoch is `<store>.<window>`,
 * with the window in which the channel was first read or published to, or `<store>..<nonce>` when an earlier
 * stream of the channel was lost. A stream is kept for at least `streamIdleTtlMs`, so the epochs of two
 * streams of a channel are at least two windows apart: ADR 0016.
 */
export const epochWindowMs = streamIdleTtlMs / 2
