// What a Cluster answers while partitions move: nothing was done, ask another, or again. ASK is not followed: within moments the slot has
// arrived, and until then what lies there is no whole (a channel's keys are in two places).
import type { Clock } from '../../time.js'
import { pause } from '../../deadline.js'
import type { Shard, ShardMap } from '../topology/shards.js'

/** Nothing was done: it is another shard's by now, or on its way there. */
export class ElsewhereError extends Error {
  override readonly name = 'ElsewhereError'
}

/** A reply to one command of a pipeline. */
export function liesElsewhere(reply: unknown): reply is Error {
  return reply instanceof Error && /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(reply.message)
}

/** From an answer that something lies elsewhere, when nobody else is known to hold it, to the next try. */
export const elsewherePauseMs = 50

/** Where many ask, each for itself, pauses grow to this: a Cluster that is down would answer nothing but that it is. */
const longestPauseMs = 400

/** After the pause of so long, the next one. */
export function nextPauseMs(pauseMs: number): number {
  return Math.min(2 * pauseMs, longestPauseMs)
}

/** Calls whoever holds the partition, and again while that throws ElsewhereError: for what needs no order. Throws it in the end. */
export async function atHolder<Result>(
  shards: ShardMap,
  partition: number,
  call: (shard: Shard) => Promise<Result>,
  { clock, patienceMs }: { clock: Clock; patienceMs: number },
): Promise<Result> {
  const untilMs = clock.monotonicMs() + patienceMs
  let pauseMs = elsewherePauseMs
  for (;;) {
    const shard = shards.holderOf(partition)
    try {
      if (shard) return await call(shard)
    } catch (error) {
      if (!(error instanceof ElsewhereError) || clock.monotonicMs() >= untilMs) throw error
    }
    if (clock.monotonicMs() >= untilMs) throw new ElsewhereError('nobody holds it at the moment')
    shards.refresh()
    if (shards.holderOf(partition) !== shard) continue
    await pause(pauseMs)
    pauseMs = nextPauseMs(pauseMs)
  }
}
