// Deletes all keys of the given tenants in one master. It scans the keyspace slowly, so that it does not
// delay other clients of Redis.
import { z } from 'zod'
import { pause } from '../../deadline.js'
import { tenantIdOfKey, tenantKeyPattern } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'

const ScanReply = z.tuple([z.string(), z.array(z.string())])

/** The number of keys scanned per step, and the pause between two steps: a million keys take about 10 s. */
const pageSize = 1_000
const pauseMs = 10

/**
 * Deletes the keys and returns their number. Throws the errors of `LiveRedis.run`, error replies of Redis,
 * and the errors of `guard`, which is called before each deletion. After an error, start again from the
 * beginning.
 */
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
    const matching = keys.filter((key) => tenantIds.has(tenantIdOfKey(key) ?? ''))
    if (matching.length > 0) {
      guard()
      // One command per key: in a Redis Cluster the keys are in many slots.
      const pipeline = live.client.pipeline()
      for (const key of matching) pipeline.unlink(key)
      for (const answer of await live.run(pipeline)) if (answer instanceof Error) throw answer
      deleted += matching.length
    }
    cursor = next
    await pause(pauseMs, signal)
  } while (cursor !== '0' && !signal.aborted)
  return deleted
}
