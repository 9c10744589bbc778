// A new master is a new generation: each writer connection finds out, partition by partition, whose history it is about to continue, before
// it writes. The record lies in the slot of the streams that it governs: in a Cluster it moves with them, and is met by another master.
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { liesElsewhere } from '../../redis/routing/redirects.js'
import { recordKey } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { addScript, loadScripts } from '../../redis/scripts.js'
import type { GenerationsOf } from './group-commit.js'
import type { Generation } from './pending-write.js'
import { brokerScripts, moveGeneration } from './scripts.js'
import { generationMax } from '../stream-id.js'

export async function loadBrokerScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, brokerScripts)
}

const Record = z.tuple([z.int().max(generationMax), z.instanceof(Buffer)])

interface Asked {
  readonly partition: number
  /** A stream that refuses the generation on record. */
  readonly streamKey?: string | undefined
}

/** What the writer connections to one shard know. */
export class Generations implements GenerationsOf {
  readonly #options: { waitReplicas: () => number; waitMs: number }
  readonly #known = new WeakMap<LiveRedis, Map<number, Generation>>()

  constructor(options: { waitReplicas: () => number; waitMs: number }) {
    this.#options = options
  }

  of(live: LiveRedis, partition: number): Generation | undefined {
    return this.#known.get(live)?.get(partition)
  }

  async open(live: LiveRedis, partitions: Iterable<number>): Promise<ReadonlySet<number>> {
    return this.#move(
      live,
      [...partitions].map((partition) => ({ partition })),
    )
  }

  async raise(live: LiveRedis, refused: readonly Required<Asked>[]): Promise<ReadonlySet<number>> {
    return this.#move(live, refused)
  }

  /**
   * Reads the master's replication id, moves each record on where it is new, and waits until all are on enough replicas: a later master
   * must not hand out a number again. Gives those that lie elsewhere. Throws when a record is not reached or not on enough replicas.
   */
  async #move(live: LiveRedis, asked: readonly Asked[]): Promise<ReadonlySet<number>> {
    const { waitMs, waitReplicas } = this.#options
    const elsewhere = new Set<number>()
    if (asked.length === 0) return elsewhere
    const [info] = await live.run(live.client.pipeline().info('replication'))
    const replid = /^master_replid:(\w+)/m.exec(String(info))?.[1]
    if (replid === undefined) throw new Error('INFO replication tells no master_replid')
    const pipeline = live.client.pipeline()
    for (const { partition, streamKey } of asked) {
      addScript(pipeline, moveGeneration, {
        keys: [recordKey(partition), ...(streamKey === undefined ? [] : [streamKey])],
        args: [replid, randomBytes(6).toString('base64url')],
      })
    }
    const replicas = waitReplicas()
    if (replicas > 0) pipeline.call('WAIT', replicas, waitMs)
    const replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    const reached = replies[asked.length]
    if (replicas > 0 && !(typeof reached === 'number' && reached >= replicas)) {
      throw new Error(`${String(reached)} of ${replicas} replicas have the generation`)
    }
    if (replicas > 0 && !(await live.stands())) throw new Error('nobody stands by this master')
    const known = this.#known.get(live) ?? new Map<number, Generation>()
    for (const [index, { partition }] of asked.entries()) {
      const reply = replies[index]
      known.delete(partition)
      if (liesElsewhere(reply)) {
        elsewhere.add(partition)
        continue
      }
      if (reply instanceof Error) throw reply
      const [number, store] = Record.parse(reply)
      known.set(partition, { number, store: store.toString('latin1') })
    }
    this.#known.set(live, known)
    return elsewhere
  }
}
