// Connects a process to Redis: finds the topology, checks Redis at the start, opens one link for each role,
// and reports why links are unavailable.
import { setMaxListeners } from 'node:events'
import type { Log } from '../log.js'
import { ClusterMap } from '../redis/topology/cluster-map.js'
import { catalogTag, quotasTag, revocationsTag } from '../redis/keys.js'
import { ManagedLink, type LinkOptions } from '../redis/managed-link.js'
import type { Prepare, RedisLink } from '../redis/link.js'
import { createLocator } from '../redis/topology/create-locator.js'
import type { Shard, ShardMap } from '../redis/topology/shards.js'
import { singleShardMap } from '../redis/topology/single-shard.js'
import { checkAtStart, checkClusterAtStart, type StartCheckOptions } from '../redis/start-check.js'
import {
  describeTarget,
  parseRedisUrl,
  type ClusterTarget,
  type RedisTarget,
  type SentinelTarget,
  type StandaloneTarget,
  type RedisTlsOptions,
} from '../redis/url.js'
import type { Clock } from '../time.js'
import { keyPairFiles, readAuthorities, readKeyPair, type KeyPair } from './certificates.js'
import { readNamedFile } from './files.js'
import { ReloadingFiles } from './reloading-file.js'

export interface RedisOptions {
  readonly redis: string
  readonly redisPasswordFile?: string | undefined
  /** The next three files are PEM, and are read again when they change. */
  readonly redisCaFile?: string | undefined
  readonly redisCertFile?: string | undefined
  readonly redisKeyFile?: string | undefined
  readonly dataNodes?: number | undefined
}

/**
 * A failover takes seconds and must not remove every gateway from the Service, so only a longer outage makes
 * one unready.
 */
const unreadyAfterMs = 15_000

/** The destination of a link: one shard, or the master that serves the slot of a tag. */
export type LinkTarget = Shard | 'catalog' | 'quotas' | 'revocations'

const tags = { catalog: catalogTag, quotas: quotasTag, revocations: revocationsTag }

/**
 * Combines the URL with credentials and certificates from the environment and from files. @throws ConfigError
 * for a URL that cannot be used.
 */
function redisTarget(
  options: RedisOptions,
  { environment, tls }: { environment: NodeJS.ProcessEnv; tls: RedisTlsOptions | undefined },
): RedisTarget {
  const file = options.redisPasswordFile
  return parseRedisUrl(options.redis, {
    password:
      file === undefined ? environment['PARLEY_REDIS_PASSWORD'] : readNamedFile('password file', file).trim(),
    username: environment['PARLEY_REDIS_USERNAME'],
    sentinelPassword: environment['PARLEY_REDIS_SENTINEL_PASSWORD'],
    sentinelUsername: environment['PARLEY_REDIS_SENTINEL_USERNAME'],
    tls,
  })
}

interface RedisCertificates {
  readonly ca: string | undefined
  readonly pair: KeyPair | undefined
}

/**
 * Returns the certificates for Redis, or undefined when no file is given. @throws ConfigError when a file
 * cannot be used.
 */
function openRedisCertificates(
  options: RedisOptions,
  log: Log,
): ReloadingFiles<RedisCertificates> | undefined {
  const { redisCaFile: ca, redisCertFile: cert, redisKeyFile: key } = options
  const files = keyPairFiles({ cert, key }, '--redis')
  if (ca === undefined && files === undefined) return undefined
  return new ReloadingFiles({
    what: 'certificates for Redis',
    read: () => ({
      ca: ca === undefined ? undefined : readAuthorities(ca),
      pair: files && readKeyPair(files),
    }),
    log,
  })
}

interface Deps {
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
  readonly environment: NodeJS.ProcessEnv
}

interface TopologyOptions {
  readonly log: Log
  readonly dataNodes: number | undefined
}

/** Finds the masters of a standalone Redis, of Sentinels, or of a Cluster. */
interface Topology {
  readonly shards: ShardMap
  /** Without a target: the only shard. */
  linkOptions(target: LinkTarget | undefined): Pick<LinkOptions, 'locator' | 'slot'>
  check(waiting: StartCheckOptions): Promise<void>
  waitReplicas(): number | undefined
  run(signal: AbortSignal): Promise<void>
}

export class RedisLinks {
  readonly target: RedisTarget
  readonly shards: ShardMap
  readonly #topology: Topology
  readonly #deps: Deps
  readonly #links = new Set<ManagedLink>()
  readonly #running = new Set<Promise<void>>()
  /** Why the check at the start is not finished; undefined when it is. */
  #startReason: string | undefined = 'the check at the start has no result yet'
  readonly #startedMs: number

  /** @throws ConfigError for a URL or files that cannot be used. */
  constructor(options: RedisOptions, deps: Deps) {
    const { environment, log } = deps
    const certificates = openRedisCertificates(options, log)
    const target = redisTarget(options, { environment, tls: certificates && currentTls(certificates) })
    this.target = target
    this.#deps = deps
    this.#startedMs = deps.clock.monotonicMs()
    const topologyOptions = { log, dataNodes: options.dataNodes }
    this.#topology =
      target.kind === 'cluster'
        ? clusterTopology(target, topologyOptions)
        : singleMasterTopology(target, topologyOptions)
    this.shards = this.#topology.shards
    this.#running.add(this.#topology.run(deps.signal))
    if (certificates) this.#running.add(certificates.run(deps.signal))
  }

  /**
   * Waits until Redis can be used. @throws ConfigError for problems that a retry cannot fix: version, name,
   * credentials, role.
   */
  async check(): Promise<void> {
    const { log, signal } = this.#deps
    const redis = describeTarget(this.target)
    const warned = new Set<string>()
    await this.#topology.check({
      signal,
      onWarning: (sentence) => {
        if (!warned.has(sentence)) log.warn({ redis }, sentence)
        warned.add(sentence)
      },
      onUnavailable: (reason) => {
        this.#startReason = reason
        log.warn({ redis, reason }, 'waiting for Redis')
      },
    })
    this.#startReason = undefined
  }

  /**
   * Creates a link that stays open until the process ends or its shard is retired. `role` names its
   * connections in logs and in Redis's CLIENT LIST.
   */
  createLink(role: string, prepare?: Prepare, linkTarget?: LinkTarget): RedisLink {
    const { clock, log, signal } = this.#deps
    const { login, tls } = this.target
    const db = this.target.kind === 'standalone' ? this.target.db : undefined
    const topologyPart = this.#topology.linkOptions(linkTarget)
    const link = new ManagedLink(role, { login, tls, db, ...topologyPart, clock, log, prepare })
    const ended = typeof linkTarget === 'object' ? AbortSignal.any([signal, linkTarget.retired]) : signal
    // Every connection of the link adds a listener.
    setMaxListeners(0, ended)
    this.#links.add(link)
    const running = link.run(ended).finally(() => {
      this.#links.delete(link)
      this.#running.delete(running)
    })
    this.#running.add(running)
    return link
  }

  /** Returns why this process cannot use Redis, as sentences for `/readyz`; empty when it can. */
  unreadyReasons(): string[] {
    if (this.#startReason !== undefined) return [`Redis has not been reached yet: ${this.#startReason}`]
    return [...this.#links]
      .filter(({ unavailableMs }) => unavailableMs > unreadyAfterMs)
      .map(({ unavailableMs, unavailableReason }) => {
        const seconds = Math.round(unavailableMs / 1000)
        return `Redis has been unavailable for ${seconds} s: ${unavailableReason ?? ''}`
      })
  }

  /**
   * Returns for how many milliseconds the longest unavailable link has been down; 0 when all links are open.
   */
  unavailableMs(): number {
    if (this.#startReason !== undefined) return this.#deps.clock.monotonicMs() - this.#startedMs
    return Math.max(0, ...[...this.#links].map(({ unavailableMs }) => unavailableMs))
  }

  /** Returns the number of replicas that form a majority together with the master. */
  waitReplicas(): number {
    return this.#topology.waitReplicas() ?? 1
  }

  /** Resolves when all connections are closed. The caller aborts the signal first. */
  async closed(): Promise<void> {
    await Promise.all(this.#running)
  }
}

/** Uses getters, so that each new connection uses the current certificates. */
function currentTls(certificates: ReloadingFiles<RedisCertificates>): RedisTlsOptions {
  return {
    get ca() {
      return certificates.current.ca
    },
    get cert() {
      return certificates.current.pair?.cert
    },
    get key() {
      return certificates.current.pair?.key
    },
  }
}

function singleMasterTopology(
  target: StandaloneTarget | SentinelTarget,
  { dataNodes, log }: TopologyOptions,
): Topology {
  const locator = createLocator(target, { log, dataNodes })
  return {
    shards: singleShardMap(locator),
    linkOptions: () => ({ locator }),
    check: (waiting) => checkAtStart(target, { locator, ...waiting }),
    waitReplicas: () => locator.waitReplicas,
    run: (signal) => locator.run(signal),
  }
}

function clusterTopology(target: ClusterTarget, { dataNodes, log }: TopologyOptions): Topology {
  const map = new ClusterMap(target, { log, dataNodes })
  return {
    shards: map,
    linkOptions(linkTarget) {
      if (linkTarget === undefined) throw new Error('in a Cluster every link has a target')
      if (typeof linkTarget === 'object') return { locator: linkTarget.locator }
      const tag = tags[linkTarget]
      return { locator: map.locatorOf(tag), slot: { tag, onRedirect: () => map.refresh() } }
    },
    check: (waiting) => checkClusterAtStart(target, { map, ...waiting }),
    waitReplicas: () => map.waitReplicas,
    run: (signal) => map.run(signal),
  }
}
