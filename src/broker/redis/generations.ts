// The generations of partitions. Each new master begins a new generation: before a writer connection writes,
// it compares the master's replication id with the record of each partition and advances the record when the
// id is new. The record is in the slot of the partition's streams, so in a Cluster it moves with them to
// another master.
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { generationKey } from '../../redis/keys.js'
import type { LiveRedis } from '../../redis/link.js'
import { isRedirect } from '../../redis/routing/redirects.js'
import { addScript, loadScripts } from '../../redis/scripts.js'
import { generationMax } from '../stream-id.js'
import type { ConnectionGenerations } from './group-commit.js'
import type { Generation } from './pending-write.js'
import { brokerScripts, moveGeneration } from './scripts.js'

export async function loadBrokerScripts(live: LiveRedis): Promise<void> {
  await loadScripts(live, brokerScripts)
}

const GenerationRecord = z.tuple([z.int().max(generationMax), z.instanceof(Buffer)])

interface GenerationRequest {
  readonly partition: number
  /** A stream that refuses writes of the recorded generation. */
  readonly streamKey?: string | undefined
}

export interface GenerationsOptions {
  /** How many replicas must have a record before it is used. */
  readonly waitReplicas: () => number
  /** The timeout of a WAIT, in milliseconds. */
  readonly waitMs: number
}

/** The generations that the writer connections to one shard have learned. */
export class Generations implements ConnectionGenerations {
  readonly #options: GenerationsOptions
  readonly #known = new WeakMap<LiveRedis, Map<number, Generation>>()

  constructor(options: GenerationsOptions) {
    this.#options = options
  }

  of(live: LiveRedis, partition: number): Generation | undefined {
    return this.#known.get(live)?.get(partition)
  }

  async open(live: LiveRedis, partitions: Iterable<number>): Promise<ReadonlySet<number>> {
    return this.#advance(
      live,
      [...partitions].map((partition) => ({ partition })),
    )
  }

  async raise(
    live: LiveRedis,
    refused: readonly Required<GenerationRequest>[],
  ): Promise<ReadonlySet<number>> {
    return this.#advance(live, refused)
  }

  /**
   * Reads the master's replication id, advances each record for which that id is new, and waits until enough
   * replicas have all records: otherwise a later master could use a number again. Returns the partitions that
   * another shard holds. Throws when a record cannot be read or too few replicas have it.
   */
  async #advance(live: LiveRedis, requests: readonly GenerationRequest[]): Promise<ReadonlySet<number>> {
    const { waitMs, waitReplicas } = this.#options
    const moved = new Set<number>()
    if (requests.length === 0) return moved
    const [info] = await live.run(live.client.pipeline().info('replication'))
    const replid = /^master_replid:(\w+)/m.exec(String(info))?.[1]
    if (replid === undefined) throw new Error('INFO replication has no master_replid')
    const pipeline = live.client.pipeline()
    for (const { partition, streamKey } of requests) {
      addScript(pipeline, moveGeneration, {
        keys: [generationKey(partition), ...(streamKey === undefined ? [] : [streamKey])],
        args: [replid, randomBytes(6).toString('base64url')],
      })
    }
    const replicas = waitReplicas()
    if (replicas > 0) pipeline.call('WAIT', replicas, waitMs)
    const replies = await live.run(pipeline, { deadlineMs: waitMs + 1_000 })
    const reached = replies[requests.length]
    if (replicas > 0 && !(typeof reached === 'number' && reached >= replicas)) {
      throw new Error(`only ${String(reached)} of ${replicas} replicas have the generation record`)
    }
    if (replicas > 0 && !(await live.confirmMaster()))
      throw new Error('the Sentinels do not confirm this master')
    const known = this.#known.get(live) ?? new Map<number, Generation>()
    for (const [index, { partition }] of requests.entries()) {
      const reply = replies[index]
      known.delete(partition)
      if (isRedirect(reply)) {
        moved.add(partition)
        continue
      }
      if (reply instanceof Error) throw reply
      const [number, store] = GenerationRecord.parse(reply)
      known.set(partition, { number, store: store.toString('latin1') })
    }
    this.#known.set(live, known)
    return moved
  }
}
