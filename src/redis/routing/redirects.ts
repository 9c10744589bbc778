// How a Cluster answers while partitions move: the command was not executed, and the caller asks another
// shard or tries again. Parley does not follow ASK: the slot arrives within moments, and until then a
// channel's keys are in two places.

/** The command was not executed: another shard holds the partition, or is about to. */
export class RedirectedError extends Error {
  override readonly name = 'RedirectedError'
}

/** Whether the reply to one command of a pipeline is a redirect. */
export function isRedirect(reply: unknown): reply is Error {
  return reply instanceof Error && /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(reply.message)
}

/** The pause between a redirect and the next try, when no other shard is known to hold the partition. */
export const redirectPauseMs = 50

/**
 * The pause grows to this when many callers retry on their own: a Cluster that is down only repeats that it
 * is down.
 */
const redirectPauseMsMax = 400

/** The pause that follows one of `pauseMs`. */
export function nextRedirectPauseMs(pauseMs: number): number {
  return Math.min(2 * pauseMs, redirectPauseMsMax)
}
