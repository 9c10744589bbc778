// A Redis broker as a gateway has it, for tests: its links, its timers and its end.
import { setMaxListeners } from 'node:events'
import { openRedisBroker, type RedisBrokerLimits } from '../../src/broker/redis-open.js'
import type { RedisBroker } from '../../src/broker/redis.js'
import { createLog, type Log } from '../../src/log.js'
import { createLink, type RunningLink } from '../../src/redis/link.js'
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

/** `quiet` logs nothing below fatal. */
export function openTestBroker(
  url: string,
  options: { limits?: Partial<RedisBrokerLimits>; log?: Log } = {},
): TestRedisBroker {
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
    createLink(role, prepare) {
      const link = createLink(role, { ...target, locator, clock: systemClock, log, prepare })
      links.set(role, link)
      running.push(link.run(stop.signal))
      return link
    },
    clock: systemClock,
    log,
    gatewayId: `test-${gateways}`,
    waitReplicas: () => locator.waitReplicas ?? 1,
    replicas: target.kind === 'sentinel',
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
