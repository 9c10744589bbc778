// A new master is a new generation: each writer connection finds out whose history it is about to continue, before it writes.
import { randomBytes } from 'node:crypto'
import type { LiveRedis } from '../redis/live.js'
import type { Generation } from './redis-commit.js'
import { addScript, loadScripts } from '../redis/scripts.js'
import { brokerScripts, moveGeneration } from './redis-scripts.js'
import { generationMax } from './stream-id.js'

export async function loadBrokerScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, brokerScripts)
}

/**
 * Reads the master's replication id, moves the record on when it is new, and waits until the record is on enough replicas: a later master
 * must not hand out the number again. Throws when that is not reached; the connection is then of no use.
 */
export async function openGeneration(
  live: LiveRedis,
  options: { recordKey: string; waitReplicas: number; waitMs: number },
): Promise<Generation> {
  const { recordKey, waitMs, waitReplicas } = options
  const [info] = await live.run(live.client.pipeline().info('replication'))
  const replid = /^master_replid:(\w+)/m.exec(String(info))?.[1]
  if (replid === undefined) throw new Error('INFO replication tells no master_replid')
  const pipeline = live.client.pipeline()
  addScript(pipeline, moveGeneration, {
    keys: [recordKey],
    args: [replid, randomBytes(6).toString('base64url')],
  })
  if (waitReplicas > 0) pipeline.call('WAIT', waitReplicas, waitMs)
  const [record, reached] = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
  if (!Array.isArray(record)) throw new Error(`the generation could not be read: ${String(record)}`)
  if (waitReplicas > 0 && !(typeof reached === 'number' && reached >= waitReplicas)) {
    throw new Error(`${String(reached)} of ${waitReplicas} replicas have the generation`)
  }
  if (waitReplicas > 0 && !(await live.stands())) throw new Error('the Sentinels do not stand by this master')
  const [number, store] = record
  if (typeof number !== 'number' || number > generationMax)
    throw new Error(`${String(number)} is no generation`)
  return { number, store: String(store) }
}
