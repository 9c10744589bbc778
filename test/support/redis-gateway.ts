// Opens a Redis broker with its links and timers, as a gateway does, for tests.
import { setMaxListeners } from 'node:events'
import { openRedisBroker } from '../../src/broker/redis/open.js'
import type { RedisBrokerLimits } from '../../src/broker/redis/limits.js'
import type { RedisBroker } from '../../src/broker/redis/broker.js'
import { createLog, type Log } from '../../src/log.js'
import { ClusterMap } from '../../src/redis/topology/cluster-map.js'
import { ManagedLink } from '../../src/redis/managed-link.js'
import type { LiveRedis } from '../../src/redis/link.js'
import { createLocator } from '../../src/redis/topology/create-locator.js'
import type { ShardMap } from '../../src/redis/topology/shards.js'
import { singleShardMap } from '../../src/redis/topology/single-shard.js'
import {
  parseRedisUrl,
  type ClusterTarget,
  type RedisTarget,
  type SentinelTarget,
  type StandaloneTarget,
} from '../../src/redis/url.js'
import { systemClock, type Clock } from '../../src/time.js'

export interface TestRedisBroker {
  readonly broker: RedisBroker
  /** The links by role; in a Cluster by role and shard, such as `replicated writer 127.0.0.1:7000`. */
  readonly links: ReadonlyMap<string, ManagedLink>
  readonly shards: ShardMap
  close(): Promise<void>
}

let gateways = 0

/** A deliberate fault of the broker, to prove that tests detect it. */
export interface BrokerFault {
  readonly waitReplicas?: number
  readonly alter?: (live: LiveRedis) => Partial<LiveRedis>
}

export interface TestBrokerOptions {
  readonly limits?: Partial<RedisBrokerLimits> | undefined
  readonly log?: Log
  readonly fault?: BrokerFault | undefined
  /** Default: the clock of the system. */
  readonly clock?: Clock | undefined
}

/** Opens a broker. Its default log level is fatal. */
export function openTestBroker(url: string, options: TestBrokerOptions = {}): TestRedisBroker {
  const target = parseRedisUrl(url)
  const stop = new AbortController()
  // Every link adds a listener, more than Node's default limit.
  setMaxListeners(0, stop.signal)
  const log = options.log ?? createLog({ level: 'fatal', name: 'test' })
  const { hasReplicas, run, shards } = topologyOf(target, log)
  const links = new Map<string, ManagedLink>()
  const running: Promise<void>[] = [run(stop.signal)]
  gateways += 1
  const broker = openRedisBroker({
    shards,
    sharded: target.kind === 'cluster',
    createLink(role, prepare, shard) {
      const altered = alteredBy(options.fault?.alter)
      const link = new ManagedLink(role, {
        login: target.login,
        tls: target.tls,
        db: target.kind === 'standalone' ? target.db : undefined,
        locator: shard.locator,
        clock: systemClock,
        log,
        prepare: (live) => prepare(altered(live)),
      })
      const ended = AbortSignal.any([stop.signal, shard.retired])
      setMaxListeners(0, ended)
      links.set(target.kind === 'cluster' ? `${role} ${shard.name}` : role, link)
      running.push(link.run(ended))
      return {
        get current() {
          return link.current && altered(link.current)
        },
        get unavailableReason() {
          return link.unavailableReason
        },
        ready: async (waitMs) => altered(await link.ready(waitMs)),
        onOpen: (listener) => link.onOpen((live) => listener(altered(live))),
      }
    },
    clock: options.clock ?? systemClock,
    log,
    gatewayId: `test-${gateways}`,
    waitReplicas: ({ locator }) => options.fault?.waitReplicas ?? locator.waitReplicas ?? 1,
    hasReplicas,
    ...(options.limits && { limits: options.limits }),
  })
  return {
    broker,
    links,
    shards,
    async close() {
      await broker.close()
      stop.abort()
      await Promise.all(running)
    },
  }
}

interface TestTopology {
  readonly shards: ShardMap
  readonly hasReplicas: () => boolean
  readonly run: (signal: AbortSignal) => Promise<void>
}

export function topologyOf(target: RedisTarget, log: Log): TestTopology {
  return target.kind === 'cluster' ? clusterTopology(target, log) : singleTopology(target, log)
}

function singleTopology(target: StandaloneTarget | SentinelTarget, log: Log): TestTopology {
  const locator = createLocator(target, { log })
  return {
    shards: singleShardMap(locator),
    hasReplicas: () => target.kind === 'sentinel',
    run: (signal) => locator.run(signal),
  }
}

function clusterTopology(target: ClusterTarget, log: Log): TestTopology {
  const map = new ClusterMap(target, { log })
  return {
    shards: map,
    hasReplicas: () => (map.waitReplicas ?? 1) > 0,
    run: (signal) => map.run(signal),
  }
}

/**
 * Returns a function that alters each connection once, because the broker compares connections by identity.
 */
function alteredBy(alter: BrokerFault['alter']): (live: LiveRedis) => LiveRedis {
  const made = new WeakMap<LiveRedis, LiveRedis>()
  return (live) => {
    if (!alter) return live
    const known = made.get(live)
    if (known) return known
    const altered: LiveRedis = {
      client: live.client,
      lost: live.lost,
      run: (pipeline, runOptions) => live.run(pipeline, runOptions),
      confirmMaster: () => live.confirmMaster(),
      discard: (reason) => live.discard(reason),
      ...alter(live),
    }
    made.set(live, altered)
    return altered
  }
}
