// Runs Lua scripts with texts as replies, and tells errors that another attempt may mend from bugs.
import type { z } from 'zod'
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from './link.js'
import type { Pipeline, Script } from './scripts.js'

/** Redis replied with an error, and the call changed nothing, or with a value that Parley does not know. */
export class RedisReplyError extends Error {
  override readonly name = 'RedisReplyError'
}

/**
 * Returns true for an error after which the same call may succeed later: Redis cannot be reached, the outcome
 * of the call is not known, or Redis replied with an error or with an unexpected value. Every other error is
 * a bug or a failure of the caller, and must not be swallowed.
 */
export function isRedisUnavailable(error: unknown): error is Error {
  return (
    error instanceof RedisUnavailableError ||
    error instanceof UnknownOutcomeError ||
    error instanceof RedisReplyError
  )
}

interface ScriptCall {
  readonly keys: readonly string[]
  readonly args?: readonly (string | number)[]
}

/**
 * Runs a script and validates its reply with `call.reply`.
 * @throws errors that `isRedisUnavailable` recognizes.
 */
export async function runScript<Reply>(
  live: LiveRedis,
  script: Script,
  call: ScriptCall & { reply: z.ZodType<Reply> },
): Promise<Reply> {
  const pipeline = live.client.pipeline()
  addTextScript(pipeline, script, call)
  const [result] = await runPipeline(live, pipeline)
  return checkedReply(result, call.reply)
}

/** Adds a call of the script whose reply holds texts. `addScript` adds one whose reply holds Buffers. */
export function addTextScript(pipeline: Pipeline, { sha }: Script, { args = [], keys }: ScriptCall): void {
  pipeline.call('EVALSHA', sha, keys.length, ...keys, ...args)
}

/**
 * Runs a pipeline and returns its replies.
 * @throws errors that `isRedisUnavailable` recognizes, also when only one reply is an error.
 */
export async function runPipeline(live: LiveRedis, pipeline: Pipeline): Promise<unknown[]> {
  const replies = await live.run(pipeline)
  for (const reply of replies) if (reply instanceof Error) throw replyErrorOf(live, reply)
  return replies
}

/** Validates a reply. @throws RedisReplyError. */
export function checkedReply<Reply>(reply: unknown, schema: z.ZodType<Reply>): Reply {
  const parsed = schema.safeParse(reply)
  if (parsed.success) return parsed.data
  throw new RedisReplyError(
    'Redis holds unexpected data under the keys of Parley, or data of another version',
  )
}

/**
 * Converts an error reply to an error. Discards the connection when its node is no longer a master or has
 * lost the scripts.
 */
export function replyErrorOf(live: LiveRedis, reply: Error): RedisReplyError {
  if (/^(READONLY|NOSCRIPT|LOADING|MASTERDOWN)/.test(reply.message))
    live.discard(`Redis refused a script: ${reply.message}`)
  return new RedisReplyError(reply.message)
}
