// Opens the Redis broker. This folder (`broker/redis/`) carries publications between many gateways through
// Redis: streams for history, pub/sub for delivery, WAIT before the acknowledgement. It imports the leaves,
// the seam of its room, and src/redis. Start reading here: the parts are created in the order in which they
// depend on each other. A publish passes from broker.ts through a router to group-commit.ts; a delivery
// passes from topic-subscriber.ts to followed-channels.ts. The algorithm and its reasons are in
// docs/broker.md.
import { pause } from '../../deadline.js'
import { atHolder } from '../../redis/routing/at-holder.js'
import { PerShard } from '../../redis/routing/per-shard.js'
import { RedirectedError } from '../../redis/routing/redirects.js'
import { ShardRouter } from '../../redis/routing/shard-router.js'
import { systemAfter } from '../../time.js'
import { RedisBroker } from './broker.js'
import { ChannelKeys } from './channel-keys.js'
import { FollowedChannels } from './followed-channels.js'
import { defaultRedisBrokerLimits } from './limits.js'
import type { PendingWrite } from './pending-write.js'
import type { PendingMessage } from './publisher.js'
import { ShardParts, type RedisBrokerDeps } from './shard-parts.js'
import { readUnavailable, type StreamPage, type StreamRead, type StreamReader } from './stream-reader.js'
import { RedisStorage } from './redis-storage.js'
import { StoredBytes } from './stored-bytes.js'
import { SubscriptionRouter } from './subscription-router.js'

export function openRedisBroker(deps: RedisBrokerDeps): RedisBroker {
  const { clock, hasReplicas, log, shards } = deps
  const limits = { ...defaultRedisBrokerLimits, ...deps.limits }
  const { flushMs, holdMs, queueMax, queueMs, replyMs, windowMs } = limits
  const parts = new ShardParts(deps, limits)
  const routing = { shards, clock, after: systemAfter, patienceMs: queueMs, waitingMax: queueMax }

  const accepted = new ShardRouter<PendingWrite<unknown>>({
    ...routing,
    createWorker: (shard, report) => parts.writer(shard, report, 'accepted'),
  })
  const replicated = new ShardRouter<PendingWrite<unknown>>({
    ...routing,
    // Without replicas this router gets no writes, so its connections are opened when there are replicas.
    eager: hasReplicas,
    createWorker: (shard, report) => parts.writer(shard, report, 'replicated'),
  })
  const messages = new ShardRouter<PendingMessage>({
    ...routing,
    createWorker: (shard, report) => parts.publisher(shard, report),
  })
  const readers = new PerShard(shards, (shard) => parts.reader(shard, { fence: false }))
  const fencedReaders = new PerShard(shards, (shard) => parts.reader(shard, { fence: true }))
  const subscriptions = new SubscriptionRouter({
    shards,
    clock,
    log,
    createSubscriber: (shard, events) => parts.subscriber(shard, events),
    patienceMs: replyMs,
  })

  const readFrom = async (by: PerShard<StreamReader>, read: StreamRead): Promise<StreamPage> => {
    const patience = { clock, patienceMs: queueMs }
    try {
      return await atHolder(shards, read.partition, (shard) => by.of(shard).read(read), patience)
    } catch (error) {
      throw error instanceof RedirectedError ? readUnavailable(error) : error
    }
  }
  const reads = {
    read: (read: StreamRead) => readFrom(readers, read),
    readFenced: (read: StreamRead) => readFrom(fencedReaders, read),
  }
  const keys = new ChannelKeys()
  const storedBytes = new StoredBytes()
  const storage = new RedisStorage({
    shards,
    storedBytes,
    createHousekeeper: (shard, policies) => parts.housekeeper(shard, { storedBytes, policies }),
  })
  const channels = new FollowedChannels({
    keys,
    reads,
    topics: subscriptions,
    after: systemAfter,
    log,
    holdMs,
  })
  subscriptions.listen(channels)

  return new RedisBroker({
    keys,
    accepted,
    replicated,
    hasReplicas,
    messages,
    reads,
    channels,
    storage,
    clock,
    windowMs,
    async close() {
      await Promise.race([messages.idle(), pause(flushMs)])
      storage.close()
      for (const part of [accepted, replicated, messages, subscriptions, readers, fencedReaders]) part.close()
    },
  })
}
