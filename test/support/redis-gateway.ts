// A Redis broker as a gateway has it, for tests: its links, its timers and its end.
import { setMaxListeners } from 'node:events'
import { openRedisBroker } from '../../src/broker/redis-open.js'
import type { RedisBrokerLimits } from '../../src/broker/redis-shard.js'
import type { RedisBroker } from '../../src/broker/redis.js'
import { createLog, type Log } from '../../src/log.js'
import { createLink, type RunningLink } from '../../src/redis/link.js'
import type { LiveRedis } from '../../src/redis/live.js'
import { oneShard } from '../../src/redis/shards.js'
import { createLocator, type Locator } from '../../src/redis/locator.js'
import { parseRedisUrl } from '../../src/redis/url.js'
import { systemClock } from '../../src/time.js'

export interface TestRedisBroker {
  readonly broker: RedisBroker
  readonly links: ReadonlyMap<string, RunningLink>
  readonly locator: Locator
  close(): Promise<void>
}

let gateways = 0

/** What makes a broker a bad one, to see whether tests find it out. */
export interface Spoil {
  readonly waitReplicas?: number
  readonly alter?: (live: LiveRedis) => Partial<LiveRedis>
}

export interface TestBrokerOptions {
  readonly limits?: Partial<RedisBrokerLimits> | undefined
  readonly log?: Log
  readonly spoil?: Spoil | undefined
}

/** Logs nothing below fatal, unless told otherwise. */
export function openTestBroker(url: string, options: TestBrokerOptions = {}): TestRedisBroker {
  const target = parseRedisUrl(url)
  if (target.kind === 'cluster') throw new Error('no broker for a Cluster yet')
  const stop = new AbortController()
  // Every link listens.
  setMaxListeners(0, stop.signal)
  const log = options.log ?? createLog({ level: 'fatal', name: 'test' })
  const locator = createLocator(target, { log })
  const links = new Map<string, RunningLink>()
  const running: Promise<void>[] = [locator.run(stop.signal)]
  gateways += 1
  const broker = openRedisBroker({
    shards: oneShard(locator),
    sharded: false,
    createLink(role, prepare) {
      const altered = alteredBy(options.spoil?.alter)
      const link = createLink(role, {
        ...target,
        locator,
        clock: systemClock,
        log,
        prepare: (live) => prepare(altered(live)),
      })
      links.set(role, link)
      running.push(link.run(stop.signal))
      return {
        get current() {
          return link.current && altered(link.current)
        },
        get trouble() {
          return link.trouble
        },
        ready: async (waitMs) => altered(await link.ready(waitMs)),
        onOpen: (listener) => link.onOpen((live) => listener(altered(live))),
      }
    },
    clock: systemClock,
    log,
    gatewayId: `test-${gateways}`,
    waitReplicas: () => options.spoil?.waitReplicas ?? locator.waitReplicas ?? 1,
    hasReplicas: () => target.kind === 'sentinel',
    ...(options.limits && { limits: options.limits }),
  })
  return {
    broker,
    links,
    locator,
    async close() {
      await broker.close()
      stop.abort()
      await Promise.all(running)
    },
  }
}

/** One altered connection for each real one: the broker knows them by identity. */
function alteredBy(alter: Spoil['alter']): (live: LiveRedis) => LiveRedis {
  const made = new WeakMap<LiveRedis, LiveRedis>()
  return (live) => {
    if (!alter) return live
    const known = made.get(live)
    if (known) return known
    const altered: LiveRedis = {
      client: live.client,
      lost: live.lost,
      run: (pipeline, how) => live.run(pipeline, how),
      stands: () => live.stands(),
      discard: (reason) => live.discard(reason),
      ...alter(live),
    }
    made.set(live, altered)
    return altered
  }
}
