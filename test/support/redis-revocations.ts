// Starts gateways' stores of revocations on a real Redis, for tests.
import { createLog } from '../../src/log.js'
import { revocationsTag } from '../../src/redis/keys.js'
import { ManagedLink } from '../../src/redis/managed-link.js'
import type { RedisLink } from '../../src/redis/link.js'
import { RedisRevocations } from '../../src/revocation/redis/store.js'
import { systemClock, type Clock } from '../../src/time.js'
import { linkTopology } from './redis-links.js'

export interface TestRevocations {
  readonly store: RedisRevocations
  readonly link: RedisLink
  close(): Promise<void>
}

const opened = new Set<TestRevocations>()

/** Starts a store that follows the log. `endRevocations` closes it unless the test does. */
export async function openTestRevocations(
  url: string,
  options: { clock?: Clock; pollMs?: number; waitReplicas?: number } = {},
): Promise<TestRevocations> {
  const { clock = systemClock, pollMs, waitReplicas = 0 } = options
  const log = createLog({ level: 'silent', name: 'test' })
  const stop = new AbortController()
  const topology = linkTopology(url, { tag: revocationsTag, log })
  const running: Promise<void>[] = [topology.run(stop.signal)]
  let link: ManagedLink | undefined
  const store = new RedisRevocations({
    createLink(role, prepare) {
      link = new ManagedLink(role, { ...topology.options, clock: systemClock, log, prepare })
      running.push(link.run(stop.signal))
      return link
    },
    installation: 'test',
    waitReplicas: () => waitReplicas,
    clock,
    log,
    ...(pollMs !== undefined && { pollMs }),
  })
  if (!link) throw new Error('the store has no link')
  running.push(store.run(stop.signal))
  const test: TestRevocations = {
    store,
    link,
    async close() {
      opened.delete(test)
      stop.abort()
      await Promise.all(running)
    },
  }
  opened.add(test)
  await store.current()
  return test
}

export async function endRevocations(): Promise<void> {
  await Promise.all([...opened].map((one) => one.close()))
}
