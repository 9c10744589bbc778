// Opens the Redis presence of one gateway with its links, for tests.
import { setMaxListeners } from 'node:events'
import { RedisPresence, type RedisPresenceOptions } from '../../src/presence/redis/presence.js'
import { ManagedLink } from '../../src/redis/managed-link.js'
import { parseRedisUrl } from '../../src/redis/url.js'
import { systemClock } from '../../src/time.js'
import { topologyOf } from './redis-gateway.js'
import { recordingLog } from './redis-links.js'

export interface TestPresence {
  readonly presence: RedisPresence
  /** The links of the shards in the order in which they appeared; a standalone Redis has one. */
  readonly links: readonly ManagedLink[]
  close(): Promise<void>
  /** Stops the links without removing entries, as kill -9 does. */
  kill(): Promise<void>
}

export function openTestPresence(url: string, options: Partial<RedisPresenceOptions> = {}): TestPresence {
  const target = parseRedisUrl(url)
  const { log } = recordingLog()
  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  const { run, shards } = topologyOf(target, log)
  const running: Promise<void>[] = [run(stop.signal)]
  const links: ManagedLink[] = []
  const presence = new RedisPresence({
    shards,
    createLink(role, prepare, { locator, retired }) {
      const { login, tls } = target
      const link = new ManagedLink(role, { login, tls, locator, clock: systemClock, log, prepare })
      const ended = AbortSignal.any([stop.signal, retired])
      setMaxListeners(0, ended)
      links.push(link)
      running.push(link.run(ended))
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
