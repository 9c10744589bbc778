// Runs the Redis calls of revocations, and translates their errors.
import { CommandError } from '../../errors.js'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../redis/link.js'
import type { Pipeline } from '../../redis/scripts.js'

/** Redis replied with an error: the call changed nothing. */
class RevocationReplyError extends Error {
  override readonly name = 'RevocationReplyError'
}

/** Returns true for an error after which the same call may succeed later. Every other error is a bug. */
export function isRedisUnavailable(error: unknown): error is Error {
  return (
    error instanceof RedisUnavailableError ||
    error instanceof UnknownOutcomeError ||
    error instanceof RevocationReplyError
  )
}

/**
 * Runs a pipeline and returns its replies, with texts instead of buffers.
 * @throws errors that `isRedisUnavailable` recognizes.
 */
export async function runPipeline(live: LiveRedis, pipeline: Pipeline): Promise<unknown[]> {
  const replies = await live.run(pipeline)
  for (const reply of replies) {
    if (!(reply instanceof Error)) continue
    if (/^(READONLY|NOSCRIPT|LOADING|MASTERDOWN)/.test(reply.message))
      live.discard(`Redis refused a script: ${reply.message}`)
    throw new RevocationReplyError(reply.message)
  }
  return replies.map(asText)
}

/** How long a write waits for replicas, in milliseconds. Reads wait behind it. */
const waitMs = 500

/**
 * Runs one script that writes, confirmed by `replicas` replicas. Returns its reply as a list. Throws
 * BROKER_UNAVAILABLE when nothing was written and NOT_REPLICATED when that is unknown; repeat it then.
 */
export async function runWrite(
  live: LiveRedis,
  addCall: (pipeline: Pipeline) => void,
  replicas: number,
): Promise<unknown[]> {
  const pipeline = live.client.pipeline()
  addCall(pipeline)
  if (replicas > 0) pipeline.wait(replicas, waitMs)
  try {
    const [reply, reached = 0] = await runPipeline(live, pipeline)
    if ((replicas > 0 && Number(reached) < replicas) || !(await live.confirmMaster())) {
      throw notReplicated()
    }
    return Array.isArray(reply) ? reply : [reply]
  } catch (error) {
    if (error instanceof UnknownOutcomeError) throw notReplicated(error)
    if (!isRedisUnavailable(error)) throw error
    throw new CommandError('BROKER_UNAVAILABLE', `Redis refused the change: ${error.message}. Try again`, {
      retryAfterMs: 1_000,
      cause: error,
    })
  }
}

function notReplicated(cause?: unknown): CommandError {
  return new CommandError(
    'NOT_REPLICATED',
    'Too few Redis replicas confirmed the change in time, so it is unknown whether it is stored: repeat it',
    { retryAfterMs: 1_000, cause },
  )
}

function asText(reply: unknown): unknown {
  if (Buffer.isBuffer(reply)) return reply.toString()
  return Array.isArray(reply) ? reply.map(asText) : reply
}
