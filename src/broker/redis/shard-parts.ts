// Creates the parts of the broker that belong to one shard. Each part has its own connection, so that no part
// waits for the replies of another.
import type { Log } from '../../log.js'
import { partitionCount } from '../../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../../redis/link.js'
import type { WorkerReport } from '../../redis/routing/job.js'
import { loadScripts } from '../../redis/scripts.js'
import { ServerTime } from '../../redis/server-time.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import { systemAfter, type Clock } from '../../time.js'
import type { HistoryPolicies } from '../storage.js'
import { Generations, loadBrokerScripts } from './generations.js'
import { GroupCommit } from './group-commit.js'
import { Housekeeper } from './housekeeper.js'
import type { RedisBrokerLimits } from './limits.js'
import { MemoryGauge } from './memory-gauge.js'
import type { PendingWrite, PubSubCommand } from './pending-write.js'
import { Publisher, type PendingMessage } from './publisher.js'
import type { StoredBytes } from './stored-bytes.js'
import { StreamReader } from './stream-reader.js'
import { sweepScripts } from './sweep-scripts.js'
import { Sweeper } from './sweeper.js'
import { TopicSubscriber, type TopicEvents } from './topic-subscriber.js'

export interface RedisBrokerDeps {
  readonly shards: ShardMap
  /** True in a Cluster, which uses sharded pub/sub. */
  readonly sharded: boolean
  /**
   * Creates a link to the shard's master, and keeps it open until the shard is retired. `role` names the link
   * in logs.
   */
  readonly createLink: (role: string, prepare: Prepare, shard: Shard) => RedisLink
  readonly clock: Clock
  readonly log: Log
  /** The id of this gateway. It is part of the names of its fences. */
  readonly gatewayId: string
  /**
   * The number of replicas that form a majority with the shard's master. With 0 writes wait for no replica.
   */
  readonly waitReplicas: (shard: Shard) => number
  /** Whether Redis has replicas. Without them the durability `replicated` is not offered. */
  readonly hasReplicas: () => boolean
  /** Each limit has a default: see `RedisBrokerLimits`. */
  readonly limits?: Partial<RedisBrokerLimits>
}

/**
 * When a write is acknowledged. `accepted`: when the master has it. `replicated`: when a majority of the data
 * nodes has it.
 */
export type WriteDurability = 'accepted' | 'replicated'

const partitions = Array.from({ length: partitionCount }, (_, partition) => partition)

export class ShardParts {
  readonly #deps: RedisBrokerDeps
  readonly #limits: RedisBrokerLimits
  readonly #publishBy: PubSubCommand
  readonly #times = new WeakMap<Shard, ServerTime>()

  constructor(deps: RedisBrokerDeps, limits: RedisBrokerLimits) {
    this.#deps = deps
    this.#limits = limits
    this.#publishBy = deps.sharded ? 'SPUBLISH' : 'PUBLISH'
  }

  writer(
    shard: Shard,
    report: WorkerReport<PendingWrite<unknown>>,
    durability: WriteDurability,
  ): GroupCommit {
    const { clock, createLink, waitReplicas } = this.#deps
    // Generation records wait for replicas even when writes do not, because a later master must not use a
    // generation again.
    const generations = new Generations({
      waitReplicas: () => waitReplicas(shard),
      waitMs: this.#limits.waitMs,
    })
    const prepare: Prepare = async (live) => {
      await loadBrokerScripts(live)
      await this.timeOf(shard).begin(live)
      // One pipeline opens all partitions that the shard holds. The first write to a partition that moves
      // here later opens that partition.
      await generations.open(live, this.#heldBy(shard))
    }
    return new GroupCommit({
      link: createLink(`${durability} writer`, prepare, shard),
      clock,
      retired: shard.retired,
      report,
      generations,
      waitReplicas: durability === 'replicated' ? () => waitReplicas(shard) : () => 0,
      nowMs: () => this.timeOf(shard).nowMs(),
      publishBy: this.#publishBy,
      ...this.#limits,
    })
  }

  publisher(shard: Shard, report: WorkerReport<PendingMessage>): Publisher {
    const { clock, createLink } = this.#deps
    return new Publisher({
      link: createLink('publisher', async () => {}, shard),
      clock,
      retired: shard.retired,
      report,
      publishBy: this.#publishBy,
      queueMax: this.#limits.queueMax,
    })
  }

  reader(shard: Shard, { fence }: { fence: boolean }): StreamReader {
    const { createLink, gatewayId, waitReplicas } = this.#deps
    return new StreamReader(
      {
        link: createLink(fence ? 'fenced reader' : 'reader', loadBrokerScripts, shard),
        retired: shard.retired,
        gatewayId,
        partitions: () => this.#heldBy(shard),
        waitReplicas: () => waitReplicas(shard),
        waitMs: this.#limits.waitMs,
        patienceMs: this.#limits.queueMs,
      },
      { fence },
    )
  }

  subscriber(shard: Shard, events: TopicEvents): TopicSubscriber {
    const { createLink, sharded } = this.#deps
    return new TopicSubscriber({
      createLink: (prepare) => createLink('subscriber', prepare, shard),
      retired: shard.retired,
      sharded,
      replyMs: this.#limits.replyMs,
      events,
    })
  }

  housekeeper(
    shard: Shard,
    tenants: {
      readonly storedBytes: StoredBytes
      readonly policies: () => HistoryPolicies
    },
  ): Housekeeper {
    const { clock, createLink, gatewayId, log } = this.#deps
    const partitionsHeld = () => this.#heldBy(shard)
    const prepare = (live: LiveRedis) => loadScripts(live, sweepScripts)
    return new Housekeeper({
      link: createLink('housekeeper', prepare, shard),
      retired: shard.retired,
      gatewayId,
      partitions: partitionsHeld,
      ...tenants,
      sweeper: new Sweeper({ partitions: partitionsHeld, ...tenants }),
      memory: new MemoryGauge(shard.name, log),
      time: this.timeOf(shard),
      clock,
      after: systemAfter,
      log,
    })
  }

  /** The clock of the shard's master. */
  timeOf(shard: Shard): ServerTime {
    const known = this.#times.get(shard) ?? new ServerTime(this.#deps.clock)
    this.#times.set(shard, known)
    return known
  }

  #heldBy(shard: Shard): number[] {
    return partitions.filter((partition) => this.#deps.shards.holderOf(partition) === shard)
  }
}
