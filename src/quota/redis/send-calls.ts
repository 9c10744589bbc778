// Sends calls of the ledger in one pipeline and hands each its reply.
import { RedisUnavailableError, UnknownOutcomeError, type LiveRedis } from '../../redis/link.js'
import { addScript } from '../../redis/scripts.js'
import type { LedgerCall } from './calls.js'

/**
 * Resolves with false when a call failed and sending again immediately would not help. `onFailure`: called
 * when Redis is reachable but rejects a script.
 */
export async function sendCalls(
  live: LiveRedis,
  calls: readonly LedgerCall[],
  { onFailure }: { onFailure: (error: unknown) => void },
): Promise<boolean> {
  if (calls.length === 0) return true
  const pipeline = live.client.pipeline()
  for (const { args, keys, script } of calls) addScript(pipeline, script, { keys, args })
  let replies: readonly unknown[]
  try {
    replies = await live.run(pipeline)
  } catch (error) {
    for (const call of calls) call.onLost()
    if (error instanceof RedisUnavailableError || error instanceof UnknownOutcomeError) return false
    throw error
  }
  let failure: unknown
  calls.forEach((call, index) => {
    const reply = replies[index]
    try {
      if (reply instanceof Error) throw reply
      call.accept(reply)
    } catch (error) {
      failure ??= error
      call.onLost()
    }
  })
  if (failure === undefined) return true
  // The link has discarded the connection because the slot has moved. The next connection leads to the master
  // that holds the slot.
  if (live.lost.aborted) return false
  if (failure instanceof Error && /^(NOSCRIPT|READONLY)/.test(failure.message)) {
    // The server was demoted or has lost the scripts. The next connection leads to the new master or loads
    // the scripts.
    live.discard('Redis rejected the scripts of the quota ledger')
    return false
  }
  onFailure(failure)
  return false
}
