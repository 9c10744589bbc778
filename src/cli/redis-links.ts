// Redis as a gateway uses it: where everything is, a link for each role, and what is to be said when they are in trouble.
import { setMaxListeners } from 'node:events'
import type { Log } from '../log.js'
import { ClusterMap } from '../redis/topology/cluster-map.js'
import { catalogTag, quotasTag } from '../redis/keys.js'
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
import { Renewal } from './reloading-file.js'

export interface RedisOptions {
  readonly redis: string
  readonly redisPasswordFile?: string | undefined
  /** PEM, all three; they are read again when they change. */
  readonly redisCaFile?: string | undefined
  readonly redisCertFile?: string | undefined
  readonly redisKeyFile?: string | undefined
  readonly dataNodes?: number | undefined
}

/** A failover takes seconds, and must not empty the Service: only what lasts longer makes a gateway unready. */
const unreadyAfterMs = 15_000

/** Where a link leads: to one master of several, or to whoever holds what bears a tag. */
export type Place = Shard | 'catalog' | 'quotas'

const tags = { catalog: catalogTag, quotas: quotasTag }

/** The URL with what need not stand in it. Throws ConfigError. */
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

/** Undefined when no file is given. Throws ConfigError. */
function openCertificates(options: RedisOptions, log: Log): Renewal<RedisCertificates> | undefined {
  const { redisCaFile: ca, redisCertFile: cert, redisKeyFile: key } = options
  const files = keyPairFiles({ cert, key }, '--redis')
  if (ca === undefined && files === undefined) return undefined
  return new Renewal({
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

/** What leads to Redis needs of them. */
interface Surroundings {
  readonly log: Log
  readonly dataNodes: number | undefined
}

/** Where everything is. */
interface Whereabouts {
  readonly shards: ShardMap
  /** Absent place: the only shard. */
  linkOptions(place: Place | undefined): Pick<LinkOptions, 'locator' | 'slot'>
  check(waiting: StartCheckOptions): Promise<void>
  waitReplicas(): number | undefined
  run(signal: AbortSignal): Promise<void>
}

export class RedisParts {
  readonly target: RedisTarget
  readonly shards: ShardMap
  readonly #whereabouts: Whereabouts
  readonly #deps: Deps
  readonly #links = new Set<ManagedLink>()
  readonly #running = new Set<Promise<void>>()
  /** Why the start is not over yet. */
  #waitsFor: string | undefined = 'it is being checked'
  readonly #startedMs: number

  /** Throws ConfigError for a URL or for files that cannot be used. */
  constructor(options: RedisOptions, deps: Deps) {
    const { environment, log } = deps
    const certificates = openCertificates(options, log)
    const target = redisTarget(options, { environment, tls: certificates && renewing(certificates) })
    this.target = target
    this.#deps = deps
    this.#startedMs = deps.clock.monotonicMs()
    const around = { log, dataNodes: options.dataNodes }
    this.#whereabouts = target.kind === 'cluster' ? ofCluster(target, around) : ofOne(target, around)
    this.shards = this.#whereabouts.shards
    this.#running.add(this.#whereabouts.run(deps.signal))
    if (certificates) this.#running.add(certificates.run(deps.signal))
  }

  /** Throws ConfigError for what will never work; waits for what may. */
  async check(): Promise<void> {
    const { log, signal } = this.#deps
    const redis = describeTarget(this.target)
    await this.#whereabouts.check({
      signal,
      onUnavailable: (reason) => {
        this.#waitsFor = reason
        log.warn({ redis, reason }, 'waiting for Redis')
      },
    })
    this.#waitsFor = undefined
  }

  /** Open until `signal` of the parts ends it, or the shard that it leads to is retired. */
  createLink(role: string, prepare?: Prepare, place?: Place): RedisLink {
    const { clock, log, signal } = this.#deps
    const { login, tls } = this.target
    const db = this.target.kind === 'standalone' ? this.target.db : undefined
    const where = this.#whereabouts.linkOptions(place)
    const link = new ManagedLink(role, { login, tls, db, ...where, clock, log, prepare })
    const over = typeof place === 'object' ? AbortSignal.any([signal, place.retired]) : signal
    // Every connection of the link listens.
    setMaxListeners(0, over)
    this.#links.add(link)
    const running = link.run(over).finally(() => {
      this.#links.delete(link)
      this.#running.delete(running)
    })
    this.#running.add(running)
    return link
  }

  /** For `/readyz`. */
  troubles(): string[] {
    if (this.#waitsFor !== undefined) return [`Redis was not reached yet: ${this.#waitsFor}`]
    return [...this.#links]
      .filter(({ unavailableMs: troubleMs }) => troubleMs > unreadyAfterMs)
      .map(
        ({ unavailableReason: trouble, unavailableMs: troubleMs }) =>
          `Redis is away for ${Math.round(troubleMs / 1000)} s: ${trouble ?? ''}`,
      )
  }

  /** Of the link that is away longest; 0 when all are there. */
  awayMs(): number {
    if (this.#waitsFor !== undefined) return this.#deps.clock.monotonicMs() - this.#startedMs
    return Math.max(0, ...[...this.#links].map(({ unavailableMs: troubleMs }) => troubleMs))
  }

  /** Replicas that make a majority with the master. */
  waitReplicas(): number {
    return this.#whereabouts.waitReplicas() ?? 1
  }

  /** Resolves when all connections are closed; the signal must have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running)
  }
}

/** Each connection takes what is good by then. */
function renewing(certificates: Renewal<RedisCertificates>): RedisTlsOptions {
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

function ofOne(target: StandaloneTarget | SentinelTarget, { dataNodes, log }: Surroundings): Whereabouts {
  const locator = createLocator(target, { log, dataNodes })
  return {
    shards: singleShardMap(locator),
    linkOptions: () => ({ locator }),
    check: (waiting) => checkAtStart(target, { locator, ...waiting }),
    waitReplicas: () => locator.waitReplicas,
    run: (signal) => locator.run(signal),
  }
}

function ofCluster(target: ClusterTarget, { dataNodes, log }: Surroundings): Whereabouts {
  const map = new ClusterMap(target, { log, dataNodes })
  return {
    shards: map,
    linkOptions(place) {
      if (place === undefined) throw new Error('in a Cluster every link leads somewhere')
      if (typeof place === 'object') return { locator: place.locator }
      const tag = tags[place]
      return { locator: map.locatorOf(tag), slot: { tag, onRedirect: () => map.refresh() } }
    },
    check: (waiting) => checkClusterAtStart(target, { map, ...waiting }),
    waitReplicas: () => map.waitReplicas,
    run: (signal) => map.run(signal),
  }
}
