// Puts the Redis broker together: on each shard the same parts, and in front of them who knows which shard is asked.
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { atHolder, ElsewhereError } from '../../redis/routing/redirects.js'
import { partitionCount } from '../../redis/keys.js'
import type { Prepare, RedisLink } from '../../redis/link.js'
import { PerShard } from '../../redis/routing/per-shard.js'
import { Router } from '../../redis/routing/shard-router.js'
import type { Shard, ShardMap } from '../../redis/topology/shards.js'
import { systemAfter, type Clock } from '../../time.js'
import type { Message } from './publisher.js'
import { unreadable, type StreamPage, type StreamRead, type StreamReads } from './stream-reader.js'
import { defaultRedisBrokerLimits, ShardParts, type RedisBrokerLimits } from './shard.js'
import { TopicRoutes } from './subscription-router.js'
import { Writers } from './writers.js'
import { RedisBroker } from './broker.js'

export interface RedisBrokerDeps {
  readonly shards: ShardMap
  /** A Cluster: its pub/sub is that of shards. */
  readonly sharded: boolean
  /** A link to the shard's master, made and kept open by the caller until the shard is retired. `role` names it in logs. */
  createLink(role: string, prepare: Prepare, shard: Shard): RedisLink
  readonly clock: Clock
  readonly log: Log
  /** Names this gateway's fences. */
  readonly gatewayId: string
  /** Replicas that make a majority with the shard's master; 0: none are waited for. */
  readonly waitReplicas: (shard: Shard) => number
  /** Whether there are replicas at all: else `replicated` is not offered. */
  readonly hasReplicas: () => boolean
  readonly limits?: Partial<RedisBrokerLimits>
}

/** A message that nobody can be found for is in its stream, or was for those who were there. */
const forget = (): void => {}

const partitions = Array.from({ length: partitionCount }, (_, partition) => partition)

export function openRedisBroker(deps: RedisBrokerDeps): RedisBroker {
  const { clock, gatewayId, hasReplicas, log, sharded, shards } = deps
  const limits = { ...defaultRedisBrokerLimits, ...deps.limits }
  const { queueMax, queueMs } = limits
  const routing = { shards, clock, after: systemAfter, patienceMs: queueMs, waitingMax: queueMax }

  const accepted = new Writers({ ...routing, laneOf: (shard) => parts.of(shard).accepted })
  const replicated = new Writers({ ...routing, laneOf: (shard) => parts.of(shard).replicated })
  const messages: Router<Message> = new Router<Message>({
    ...routing,
    laneOf: (shard) => parts.of(shard).publishes,
  })
  const topics = new TopicRoutes({
    shards,
    clock,
    log,
    topicsOf: (shard) => parts.of(shard).topics,
    patienceMs: limits.replyMs,
    onMoved: (heard) => broker.onResubscribed(heard),
  })
  const parts: PerShard<ShardParts> = new PerShard(
    shards,
    (shard) =>
      new ShardParts({
        createLink: (role, prepare) => deps.createLink(role, prepare, shard),
        shard,
        partitions: () => partitions.filter((partition) => shards.holderOf(partition) === shard),
        clock,
        gatewayId,
        sharded,
        waitReplicas: () => deps.waitReplicas(shard),
        hasReplicas: hasReplicas(),
        limits,
        accepted: accepted.report,
        replicated: replicated.report,
        messages,
        onMessage: (topic, message) => broker.onMessage(topic, message),
        onResubscribed: (heard) => broker.onResubscribed(heard),
        onElsewhere: () => {
          shards.refresh()
          topics.look()
        },
      }),
  )
  const read = async (asked: StreamRead, by: (shard: Shard) => StreamReads): Promise<StreamPage> =>
    atHolder(shards, asked.partition, (shard) => by(shard).read(asked), { clock, patienceMs: queueMs }).catch(
      (error: unknown) => {
        throw error instanceof ElsewhereError ? unreadable(error) : error
      },
    )
  const broker: RedisBroker = new RedisBroker({
    accepted,
    replicated,
    hasReplicas,
    send: ({ partition, topic }, message, { again }) =>
      messages.send({
        partition,
        key: topic,
        sinceMs: clock.monotonicMs(),
        message,
        again,
        refuse: forget,
      }),
    read: (asked) => read(asked, (shard) => parts.of(shard).reads),
    readFenced: (asked) => read(asked, (shard) => parts.of(shard).fencedReads),
    topics,
    clock,
    after: systemAfter,
    log,
    holdMs: limits.holdMs,
    windowMs: limits.windowMs,
    async close() {
      await Promise.race([messages.idle(), pause(limits.flushMs)])
      for (const part of [accepted, replicated, messages, topics, parts]) part.close()
    },
  })
  return broker
}
