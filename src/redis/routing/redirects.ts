// The replies of a Cluster while partitions move. The command was not executed, and the caller asks another
// shard or tries again. Parley does not follow ASK, because the keys of a channel are on two masters until
// the whole slot has moved.

/** The command was not executed, because another shard holds the partition or will hold it soon. */
export class RedirectedError extends Error {
  override readonly name = 'RedirectedError'
}

/** Returns whether the reply to one command of a pipeline is a redirect. */
export function isRedirect(reply: unknown): reply is Error {
  return reply instanceof Error && /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(reply.message)
}

/**
 * The pause between a redirect and the next attempt, in milliseconds, when no other shard is known to hold
 * the partition.
 */
export const redirectPauseMs = 50

/**
 * The longest pause, in milliseconds. Callers that retry independently double their pause up to it, so that
 * they do not flood a Cluster that is down.
 */
const redirectPauseMsMax = 400

/** Returns the pause that follows a pause of `pauseMs`. */
export function nextRedirectPauseMs(pauseMs: number): number {
  return Math.min(2 * pauseMs, redirectPauseMsMax)
}
