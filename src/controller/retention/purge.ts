// Deletes all that lies in one master under some tenants' ids: by walking through its keys, slowly enough that nobody else notices.
import { z } from 'zod'
import { pause } from '../../deadline.js'
import { tenantIdOfKey, tenantKeyPattern } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'

const ScanReply = z.tuple([z.string(), z.array(z.string())])

/** Looked at per step; and how long between two. A million keys take about ten seconds. */
const pageSize = 1_000
const pauseMs = 10

/** How many keys were deleted. Throws what `LiveRedis.run` throws, what Redis answers, and what `guard` does: begin anew then. */
export async function purge(
  live: LiveRedis,
  tenantIds: ReadonlySet<string>,
  { guard, signal }: { guard: () => void; signal: AbortSignal },
): Promise<number> {
  let cursor = '0'
  let deleted = 0
  do {
    const page = live.client.pipeline().scan(cursor, 'MATCH', tenantKeyPattern, 'COUNT', pageSize)
    const [reply] = await live.run(page)
    if (reply instanceof Error) throw reply
    const [next, keys] = ScanReply.parse(reply)
    const theirs = keys.filter((key) => tenantIds.has(tenantIdOfKey(key) ?? ''))
    if (theirs.length > 0) {
      guard()
      // One command each: in a Cluster they lie in many slots.
      const pipeline = live.client.pipeline()
      for (const key of theirs) pipeline.unlink(key)
      for (const answer of await live.run(pipeline)) if (answer instanceof Error) throw answer
      deleted += theirs.length
    }
    cursor = next
    await pause(pauseMs, signal)
  } while (cursor !== '0' && !signal.aborted)
  return deleted
}
