// The broker's connections to one shard, and what each of them is for.
import { idempotencyWindowMs } from '../broker.js'
import type { Prepare, RedisLink } from '../../redis/link.js'
import type { LaneReport } from '../../redis/routing/shard-router.js'
import type { Shard } from '../../redis/topology/shards.js'
import type { Clock } from '../../time.js'
import { CommitLane } from './group-commit.js'
import type { AnnounceBy, Commit } from './pending-write.js'
import { Generations, loadBrokerScripts } from './generations.js'
import { PublishQueue, type Message } from './publisher.js'
import { StreamReads } from './stream-reader.js'
import { Topics } from './subscriber.js'

export interface RedisBrokerLimits {
  /** For replicas to confirm a group. */
  readonly waitMs: number
  /** How long publishes wait for a writer before they are refused, and reads for a connection. */
  readonly queueMs: number
  /** Of each connection. */
  readonly queueMax: number
  readonly groupMax: number
  readonly groupBytesMax: number
  readonly holdMs: number
  readonly replyMs: number
  /** At the end, for what is acknowledged to be sent out. */
  readonly flushMs: number
  readonly windowMs: number
}

export const defaultRedisBrokerLimits: RedisBrokerLimits = {
  waitMs: 1_000,
  queueMs: 4_500,
  queueMax: 20_000,
  groupMax: 256,
  groupBytesMax: 1_048_576,
  holdMs: 50,
  replyMs: 5_000,
  flushMs: 1_000,
  windowMs: idempotencyWindowMs,
}

export interface ShardPartsOptions {
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  readonly shard: Shard
  /** What it holds at the moment. */
  readonly partitions: () => readonly number[]
  readonly clock: Clock
  readonly gatewayId: string
  readonly sharded: boolean
  readonly waitReplicas: () => number
  /** Is there anybody to be waited for? Else the connection for that is made when it is asked for. */
  readonly hasReplicas: boolean
  readonly limits: RedisBrokerLimits
  readonly accepted: LaneReport<Commit>
  readonly replicated: LaneReport<Commit>
  readonly messages: LaneReport<Message>
  readonly onMessage: (topic: string, message: Buffer) => void
  readonly onResubscribed: (topics: readonly string[]) => void
  readonly onElsewhere: () => void
}

export class ShardParts {
  readonly accepted: CommitLane
  readonly publishes: PublishQueue
  readonly reads: StreamReads
  readonly fencedReads: StreamReads
  readonly topics: Topics
  readonly #options: ShardPartsOptions
  readonly #announceBy: AnnounceBy
  readonly #generations: Generations
  #replicated: CommitLane | undefined

  constructor(options: ShardPartsOptions) {
    const { createLink, limits, messages, onElsewhere, onMessage, onResubscribed, sharded, shard } = options
    const { retired } = shard
    this.#options = options
    this.#announceBy = sharded ? 'SPUBLISH' : 'PUBLISH'
    this.#generations = new Generations({ waitReplicas: options.waitReplicas, waitMs: limits.waitMs })
    this.accepted = this.#lane('accepted writer', options.accepted, () => 0)
    if (options.hasReplicas) this.#replicated = this.#replicatedLane()
    this.publishes = new PublishQueue({
      link: createLink('publisher', async () => {}),
      retired,
      report: messages,
      announceBy: this.#announceBy,
      queueMax: limits.queueMax,
    })
    this.reads = this.#reads('reader', { fence: false })
    this.fencedReads = this.#reads('fenced reader', { fence: true })
    const topics: Topics = new Topics({
      link: createLink('subscriber', async (live) => {
        live.client.on(sharded ? 'smessageBuffer' : 'messageBuffer', (topic: Buffer, message: Buffer) =>
          onMessage(topic.toString(), message),
        )
        await topics.prepare(live)
      }),
      retired,
      sharded,
      replyMs: limits.replyMs,
      onResubscribed,
      onElsewhere,
    })
    this.topics = topics
  }

  get replicated(): CommitLane {
    this.#replicated ??= this.#replicatedLane()
    return this.#replicated
  }

  #replicatedLane(): CommitLane {
    return this.#lane('replicated writer', this.#options.replicated, this.#options.waitReplicas)
  }

  #lane(role: string, report: LaneReport<Commit>, waitReplicas: () => number): CommitLane {
    const { clock, createLink, limits, partitions, shard } = this.#options
    const generations = this.#generations
    return new CommitLane({
      // All that it holds in one go; what comes to it later is opened when it is written to.
      link: createLink(role, async (live) => {
        await loadBrokerScripts(live)
        await generations.open(live, partitions())
      }),
      clock,
      retired: shard.retired,
      report,
      generations,
      waitReplicas,
      announceBy: this.#announceBy,
      ...limits,
    })
  }

  #reads(role: string, { fence }: { fence: boolean }): StreamReads {
    const { clock, createLink, gatewayId, limits, partitions, shard, waitReplicas } = this.#options
    return new StreamReads(
      {
        link: createLink(role, loadBrokerScripts),
        retired: shard.retired,
        gatewayId,
        partitions,
        waitReplicas,
        waitMs: limits.waitMs,
        epochMs: () => clock.epochMs(),
        patienceMs: limits.queueMs,
      },
      { fence },
    )
  }
}
