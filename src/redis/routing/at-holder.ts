// Calls the shard that holds a partition, and follows the partition while it moves. It is for calls that need
// no order.
import { pause } from '../../deadline.js'
import type { Clock } from '../../time.js'
import type { Shard, ShardMap } from '../topology/shards.js'
import { nextRedirectPauseMs, RedirectedError, redirectPauseMs } from './redirects.js'

/**
 * Calls `call` with the shard that holds the partition, and repeats it while it throws RedirectedError.
 * Throws RedirectedError when `patienceMs` milliseconds have passed.
 */
export async function atHolder<Result>(
  shards: ShardMap,
  partition: number,
  call: (shard: Shard) => Promise<Result>,
  { clock, patienceMs }: { clock: Clock; patienceMs: number },
): Promise<Result> {
  const untilMs = clock.monotonicMs() + patienceMs
  let pauseMs = redirectPauseMs
  for (;;) {
    const shard = shards.holderOf(partition)
    try {
      if (shard) return await call(shard)
    } catch (error) {
      if (!(error instanceof RedirectedError) || clock.monotonicMs() >= untilMs) throw error
    }
    if (clock.monotonicMs() >= untilMs)
      throw new RedirectedError('no shard holds the partition at the moment')
    shards.refresh()
    if (shards.holderOf(partition) !== shard) continue
    await pause(pauseMs)
    pauseMs = nextRedirectPauseMs(pauseMs)
  }
}
