// Puts the Redis broker together: which connections there are, and what each of them is for.
import type { Log } from '../log.js'
import { idempotencyWindowMs } from './broker.js'
import { fenceKey, recordKey } from '../redis/keys.js'
import type { LiveRedis, Prepare, RedisLink } from '../redis/live.js'
import { systemAfter, type Clock } from '../time.js'
import { CommitLane, type Generation } from './redis-commit.js'
import { loadBrokerScripts, openGeneration } from './redis-generation.js'
import { PublishQueue } from './redis-publish-queue.js'
import { StreamReads } from './redis-reads.js'
import { Topics } from './redis-topics.js'
import { RedisBroker } from './redis.js'

export interface RedisBrokerDeps {
  /** A link to the master, made and kept open by the caller. `role` names it in logs. */
  createLink(role: string, prepare: Prepare): RedisLink
  readonly clock: Clock
  readonly log: Log
  /** Names this gateway's fence. */
  readonly gatewayId: string
  /** Replicas that make a majority with the master; 0: none are waited for, and `replicated` is not offered. */
  readonly waitReplicas: () => number
  /** Whether this topology has replicas at all. */
  readonly replicas: boolean
  readonly limits?: Partial<RedisBrokerLimits>
}

export interface RedisBrokerLimits {
  /** For replicas to confirm a group. */
  readonly waitMs: number
  /** How long publishes wait for a writer before they are refused, and reads for a connection. */
  readonly queueMs: number
  readonly queueMax: number
  readonly groupMax: number
  readonly groupBytesMax: number
  readonly holdMs: number
  readonly replyMs: number
  readonly windowMs: number
}

const defaultRedisBrokerLimits: RedisBrokerLimits = {
  waitMs: 1_000,
  queueMs: 4_500,
  queueMax: 20_000,
  groupMax: 256,
  groupBytesMax: 1_048_576,
  holdMs: 50,
  replyMs: 5_000,
  windowMs: idempotencyWindowMs,
}

export function openRedisBroker(deps: RedisBrokerDeps): RedisBroker {
  const { clock, gatewayId, log, replicas, waitReplicas } = deps
  const limits = { ...defaultRedisBrokerLimits, ...deps.limits }
  const generations = new WeakMap<LiveRedis, Generation>()

  const prepareWriter =
    (waited: () => number): Prepare =>
    async (live) => {
      await loadBrokerScripts(live)
      generations.set(
        live,
        await openGeneration(live, { recordKey, waitReplicas: waited(), waitMs: limits.waitMs }),
      )
    }
  const lane = (role: string, waited: () => number): CommitLane =>
    new CommitLane({
      link: deps.createLink(role, prepareWriter(waitReplicas)),
      clock,
      generationOf: (live) => {
        const generation = generations.get(live)
        if (!generation) throw new Error('a writer connection was handed out before it had its generation')
        return generation
      },
      waitReplicas: waited,
      ...limits,
    })
  const reads = (role: string, fence: boolean): StreamReads =>
    new StreamReads(
      {
        link: deps.createLink(role, loadBrokerScripts),
        fenceKey: fenceKey(gatewayId),
        waitReplicas,
        waitMs: limits.waitMs,
        epochMs: () => clock.epochMs(),
        patienceMs: limits.queueMs,
      },
      { fence },
    )

  // The subscriber's parts know each other only through the broker that they belong to.
  const topics: Topics = new Topics({
    link: deps.createLink('subscriber', async (live) => {
      live.client.on('messageBuffer', (topic: Buffer, message: Buffer) =>
        broker.onMessage(topic.toString(), message),
      )
      await topics.prepare(live)
    }),
    replyMs: limits.replyMs,
    onResubscribed: (heard) => broker.onResubscribed(heard),
  })
  const broker: RedisBroker = new RedisBroker({
    accepted: lane('accepted writer', () => 0),
    replicated: replicas ? lane('replicated writer', waitReplicas) : undefined,
    publishes: new PublishQueue({
      link: deps.createLink('publisher', async () => {}),
      queueMax: limits.queueMax,
    }),
    reads: reads('reader', false),
    fencedReads: reads('fenced reader', true),
    topics,
    clock,
    after: systemAfter,
    log,
    holdMs: limits.holdMs,
    windowMs: limits.windowMs,
  })
  return broker
}
