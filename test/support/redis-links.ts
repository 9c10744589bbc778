// Links to real Redis, with what they say, for tests.
import { pino } from 'pino'
import type { Log } from '../../src/log.js'
import { ClusterMap } from '../../src/redis/topology/cluster-map.js'
import {
  createLink,
  type LinkOptions,
  type LinkTiming,
  type RunningLink,
} from '../../src/redis/managed-link.js'
import type { Prepare } from '../../src/redis/link.js'
import { createLocator, type Locator, type LocatorOptions } from '../../src/redis/topology/locator.js'
import {
  parseRedisUrl,
  type ApartFromUrl,
  type SentinelTarget,
  type StandaloneTarget,
} from '../../src/redis/url.js'
import type { SurveyTiming } from '../../src/redis/topology/poller.js'
import { systemClock } from '../../src/time.js'

export function targetOf(url: string, apart?: ApartFromUrl): StandaloneTarget | SentinelTarget {
  const target = parseRedisUrl(url, apart)
  if (target.kind === 'cluster') throw new Error('no Cluster here')
  return target
}

/** All that would be on standard error. */
export function recordingLog(): { log: Log; text: () => string } {
  const lines: string[] = []
  return {
    log: pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) }),
    text: () => lines.join(''),
  }
}

export interface Whereabouts {
  /** For `createLink`. */
  readonly options: Pick<LinkOptions, 'login' | 'tls' | 'db' | 'locator' | 'slot'>
  run(signal: AbortSignal): Promise<void>
}

interface WhereaboutsOptions extends LocatorOptions {
  readonly apart?: ApartFromUrl | undefined
  /** In a Cluster. */
  readonly tag: string
  readonly clusterTiming?: Partial<SurveyTiming> | undefined
}

/** Where a link leads: to the master, in a Cluster to the one that holds what bears `tag`. */
export function whereabouts(
  url: string,
  { apart, clusterTiming, tag, ...options }: WhereaboutsOptions,
): Whereabouts {
  const target = parseRedisUrl(url, apart)
  const { login, tls } = target
  if (target.kind === 'cluster') {
    const map = new ClusterMap(target, { ...options, timing: clusterTiming })
    const slot = { tag, onElsewhere: () => map.refresh() }
    return {
      options: { login, tls, locator: map.locatorOf(tag), slot },
      run: (signal) => map.run(signal),
    }
  }
  const locator = createLocator(target, options)
  const db = target.kind === 'standalone' ? target.db : 0
  return { options: { login, tls, db, locator }, run: (signal) => locator.run(signal) }
}

export interface TestLinkOptions extends Omit<Partial<LocatorOptions>, 'log'> {
  readonly apart?: ApartFromUrl
  readonly prepare?: Prepare
  readonly timing?: Partial<LinkTiming>
  readonly role?: string
  /** Of the slot that it leads to in a Cluster. */
  readonly tag?: string
  readonly clusterTiming?: Partial<SurveyTiming>
  /** Shared with other links. */
  readonly locator?: Locator
}

export interface TestLink {
  readonly link: RunningLink
  readonly locator: Locator
  readonly logged: () => string
  /** Resolves when link and locator have ended. */
  stop(): Promise<void>
}

const open = new Set<TestLink>()

/** Running. Ended by `endLinks()` at the latest. */
export function startLink(url: string, options: TestLinkOptions = {}): TestLink {
  const { apart, prepare, role = 'test', tag = 'test', timing, locator: shared, ...ofLocator } = options
  const { log, text } = recordingLog()
  const where = whereabouts(url, { apart, tag, log, ...ofLocator })
  const locator = shared ?? where.options.locator
  const link = createLink(role, { ...where.options, locator, clock: systemClock, log, prepare, timing })
  const stopper = new AbortController()
  const ended = Promise.all([link.run(stopper.signal), ...(shared ? [] : [where.run(stopper.signal)])])
  const started: TestLink = {
    link,
    locator,
    logged: text,
    async stop() {
      open.delete(started)
      stopper.abort()
      await ended
    },
  }
  open.add(started)
  return started
}

export async function endLinks(): Promise<void> {
  await Promise.all([...open].map((link) => link.stop()))
}

export function lostWithin(live: { readonly lost: AbortSignal }, deadlineMs: number): Promise<number> {
  const startMs = performance.now()
  return new Promise((resolve, reject) => {
    if (live.lost.aborted) return resolve(0)
    const timer = setTimeout(() => reject(new Error(`not lost within ${deadlineMs} ms`)), deadlineMs)
    live.lost.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve(performance.now() - startMs)
    })
  })
}
