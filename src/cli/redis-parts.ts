// Redis as a gateway uses it: one locator, a link for each role, and what is to be said when they are in trouble.
import { readFileSync } from 'node:fs'
import { ConfigError } from '../errors.js'
import type { Log } from '../log.js'
import { createLink, type RunningLink } from '../redis/link.js'
import type { Prepare, RedisLink } from '../redis/live.js'
import { createLocator, type Locator } from '../redis/locator.js'
import { checkAtStart } from '../redis/start-check.js'
import { describeTarget, parseRedisUrl, type SentinelTarget, type StandaloneTarget } from '../redis/url.js'
import type { Clock } from '../time.js'

export interface RedisOptions {
  readonly redis: string
  readonly redisPasswordFile?: string | undefined
  readonly dataNodes?: number | undefined
}

/** A failover takes seconds, and must not empty the Service: only what lasts longer makes a gateway unready. */
const unreadyAfterMs = 15_000

/** The URL with what need not stand in it. Throws ConfigError. */
export function redisTarget(
  options: RedisOptions,
  environment: NodeJS.ProcessEnv,
): StandaloneTarget | SentinelTarget {
  const file = options.redisPasswordFile
  const target = parseRedisUrl(options.redis, {
    password: file === undefined ? environment['PARLEY_REDIS_PASSWORD'] : readSecret(file),
    username: environment['PARLEY_REDIS_USERNAME'],
    sentinelPassword: environment['PARLEY_REDIS_SENTINEL_PASSWORD'],
    sentinelUsername: environment['PARLEY_REDIS_SENTINEL_USERNAME'],
  })
  if (target.kind === 'cluster')
    throw new ConfigError(['Redis Cluster is not supported yet: use redis:// or redis+sentinel://'])
  return target
}

export class RedisParts {
  readonly target: StandaloneTarget | SentinelTarget
  readonly locator: Locator
  readonly #deps: { clock: Clock; log: Log; signal: AbortSignal }
  readonly #links: RunningLink[] = []
  readonly #running: Promise<void>[] = []
  /** Why the start is not over yet. */
  #waitsFor: string | undefined = 'it is being checked'

  constructor(
    target: StandaloneTarget | SentinelTarget,
    deps: { clock: Clock; log: Log; signal: AbortSignal; dataNodes: number | undefined },
  ) {
    this.target = target
    this.#deps = deps
    this.locator = createLocator(target, { log: deps.log, dataNodes: deps.dataNodes })
    this.#running.push(this.locator.run(deps.signal))
  }

  /** Throws ConfigError for what will never work; waits for what may. */
  async check(): Promise<void> {
    const { log, signal } = this.#deps
    const redis = describeTarget(this.target)
    await checkAtStart(this.target, {
      locator: this.locator,
      signal,
      onTrouble: (reason) => {
        this.#waitsFor = reason
        log.warn({ redis, reason }, 'waiting for Redis')
      },
    })
    this.#waitsFor = undefined
  }

  createLink(role: string, prepare?: Prepare): RedisLink {
    const { clock, log, signal } = this.#deps
    const link = createLink(role, { ...this.target, locator: this.locator, clock, log, prepare })
    this.#links.push(link)
    this.#running.push(link.run(signal))
    return link
  }

  /** For `/readyz`. */
  troubles(): string[] {
    if (this.#waitsFor !== undefined) return [`Redis was not reached yet: ${this.#waitsFor}`]
    return this.#links
      .filter(({ troubleMs }) => troubleMs > unreadyAfterMs)
      .map(
        ({ trouble, troubleMs }) => `Redis is away for ${Math.round(troubleMs / 1000)} s: ${trouble ?? ''}`,
      )
  }

  /** Replicas that make a majority with the master. */
  waitReplicas(): number {
    return this.locator.waitReplicas ?? 1
  }

  /** Resolves when all connections are closed; the signal must have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running)
  }
}

function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw new ConfigError([`The password file "${file}" cannot be read: ${code}`])
  }
}
