// Presence on Redis as a gateway has it, for tests: its links and its end.
import { setMaxListeners } from 'node:events'
import { RedisPresence, type RedisPresenceOptions } from '../../src/presence/redis/presence.js'
import { createLink, type RunningLink } from '../../src/redis/managed-link.js'
import { parseRedisUrl } from '../../src/redis/url.js'
import { systemClock } from '../../src/time.js'
import { whereaboutsOf } from './redis-gateway.js'
import { recordingLog } from './redis-links.js'

export interface TestPresence {
  readonly presence: RedisPresence
  /** Of the shards that were met, in their order: outside of a Cluster, one. */
  readonly links: readonly RunningLink[]
  close(): Promise<void>
  /** Ends at once, without a goodbye. */
  kill(): Promise<void>
}

export function openTestPresence(url: string, options: Partial<RedisPresenceOptions> = {}): TestPresence {
  const target = parseRedisUrl(url)
  const { log } = recordingLog()
  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  const { run, shards } = whereaboutsOf(target, log)
  const running: Promise<void>[] = [run(stop.signal)]
  const links: RunningLink[] = []
  const presence = new RedisPresence({
    shards,
    createLink(role, prepare, { locator, retired }) {
      const { login, tls } = target
      const link = createLink(role, { login, tls, locator, clock: systemClock, log, prepare })
      const over = AbortSignal.any([stop.signal, retired])
      setMaxListeners(0, over)
      links.push(link)
      running.push(link.run(over))
      return link
    },
    clock: systemClock,
    ...options,
  })
  const kill = async () => {
    stop.abort()
    await Promise.all(running)
  }
  return {
    presence,
    links,
    kill,
    async close() {
      await presence.close()
      await kill()
    },
  }
}
