// Starts links to a real Redis, for tests, and records their log lines.
import { pino } from 'pino'
import type { Log } from '../../src/log.js'
import { ClusterMap } from '../../src/redis/topology/cluster-map.js'
import { ManagedLink, type LinkOptions, type LinkTiming } from '../../src/redis/managed-link.js'
import type { Prepare } from '../../src/redis/link.js'
import { createLocator, type LocatorOptions } from '../../src/redis/topology/create-locator.js'
import type { Locator } from '../../src/redis/topology/locator.js'
import {
  parseRedisUrl,
  type SeparateCredentials,
  type SentinelTarget,
  type StandaloneTarget,
} from '../../src/redis/url.js'
import type { PollTiming } from '../../src/redis/topology/poller.js'
import { systemClock } from '../../src/time.js'

export function targetOf(url: string, credentials?: SeparateCredentials): StandaloneTarget | SentinelTarget {
  const target = parseRedisUrl(url, credentials)
  if (target.kind === 'cluster') throw new Error('the URL names a Cluster')
  return target
}

/** Returns a log and a function that returns all its lines. */
export function recordingLog(): { log: Log; text: () => string } {
  const lines: string[] = []
  return {
    log: pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) }),
    text: () => lines.join(''),
  }
}

export interface LinkTopology {
  /** Options for `new ManagedLink`. */
  readonly options: Pick<LinkOptions, 'login' | 'tls' | 'db' | 'locator' | 'slot'>
  run(signal: AbortSignal): Promise<void>
}

interface LinkTopologyOptions extends LocatorOptions {
  readonly credentials?: SeparateCredentials | undefined
  /** The hash tag whose master the link leads to in a Cluster. */
  readonly tag: string
  readonly clusterTiming?: Partial<PollTiming> | undefined
}

/** Finds the master that a link leads to; in a Cluster the one that holds the slot of `tag`. */
export function linkTopology(
  url: string,
  { credentials, clusterTiming, tag, ...options }: LinkTopologyOptions,
): LinkTopology {
  const target = parseRedisUrl(url, credentials)
  const { login, tls } = target
  if (target.kind === 'cluster') {
    const map = new ClusterMap(target, { ...options, timing: clusterTiming })
    const slot = { tag, onRedirect: () => map.refresh() }
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
  readonly credentials?: SeparateCredentials
  readonly prepare?: Prepare
  readonly timing?: Partial<LinkTiming>
  readonly role?: string
  /** The hash tag whose master the link leads to in a Cluster. Default `test`. */
  readonly tag?: string
  readonly clusterTiming?: Partial<PollTiming>
  /**
   * A locator that is shared with other links and run by its owner. Default: the link has its own locator.
   */
  readonly locator?: Locator
}

export interface TestLink {
  readonly link: ManagedLink
  readonly locator: Locator
  readonly logged: () => string
  /** Resolves when link and locator have ended. */
  stop(): Promise<void>
}

const open = new Set<TestLink>()

/** Starts a link. `endLinks()` stops it unless the test does. */
export function startLink(url: string, options: TestLinkOptions = {}): TestLink {
  const {
    credentials,
    prepare,
    role = 'test',
    tag = 'test',
    timing,
    locator: shared,
    ...locatorOptions
  } = options
  const { log, text } = recordingLog()
  const topology = linkTopology(url, { credentials, tag, log, ...locatorOptions })
  const locator = shared ?? topology.options.locator
  const link = new ManagedLink(role, {
    ...topology.options,
    locator,
    clock: systemClock,
    log,
    prepare,
    timing,
  })
  const stopper = new AbortController()
  const ended = Promise.all([link.run(stopper.signal), ...(shared ? [] : [topology.run(stopper.signal)])])
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

/** Resolves with the milliseconds until the connection is lost. Rejects after `deadlineMs`. */
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
