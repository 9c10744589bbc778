// Runs the Redis calls of revocations for the server API, and translates their errors.
import { z } from 'zod'
import { CommandError } from '../../errors.js'
import { UnknownOutcomeError, type LiveRedis } from '../../redis/link.js'
import { checkedReply, isRedisUnavailable, runPipeline } from '../../redis/run-script.js'
import type { Pipeline } from '../../redis/scripts.js'

/** How long a write waits for replicas, in milliseconds. Reads wait behind it. */
const waitMs = 500

/** The reply of the scripts that change one revocation. */
const WriteReply = z
  .tuple([z.number(), z.string(), z.string()])
  .transform(([done, text, newestId]) => ({ done: done === 1, text, newestId }))
export type WriteReply = z.infer<typeof WriteReply>

/**
 * Runs one script that writes, confirmed by `replicas` replicas. Throws BROKER_UNAVAILABLE when nothing was
 * written and NOT_REPLICATED when that is unknown; repeat it then.
 */
export async function runWrite(
  live: LiveRedis,
  addCall: (pipeline: Pipeline) => void,
  replicas: number,
): Promise<WriteReply> {
  const pipeline = live.client.pipeline()
  addCall(pipeline)
  if (replicas > 0) pipeline.wait(replicas, waitMs)
  try {
    const [reply, reached = 0] = await runPipeline(live, pipeline)
    const write = checkedReply(reply, WriteReply)
    if (replicas > 0 && Number(reached) < replicas)
      throw notReplicated('too few Redis replicas confirmed it in time')
    if (!(await live.confirmMaster())) throw notReplicated('the Redis master is not confirmed')
    return write
  } catch (error) {
    if (error instanceof UnknownOutcomeError) throw notReplicated(error.message, error)
    return unavailable(error)
  }
}

/** Throws BROKER_UNAVAILABLE for an error after which the same call may succeed, and every other as it is. */
export function unavailable(error: unknown): never {
  if (!isRedisUnavailable(error)) throw error
  throw new CommandError(
    'BROKER_UNAVAILABLE',
    `Redis cannot be used at the moment: ${error.message}. Try again`,
    { retryAfterMs: 1_000, cause: error },
  )
}

function notReplicated(reason: string, cause?: unknown): CommandError {
  return new CommandError(
    'NOT_REPLICATED',
    `It is unknown whether the change is stored (${reason}): repeat it`,
    { retryAfterMs: 1_000, cause },
  )
}
