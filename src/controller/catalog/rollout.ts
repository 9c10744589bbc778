// Tracks which revisions all live gateways enforce, from their heartbeats in Redis. Polls often while a
// rollout is pending, and rarely otherwise.
import { isDeepStrictEqual } from 'node:util'
import { pause } from '../../deadline.js'
import type { LiveGateway } from '../../catalog/heartbeat.js'
import { isRedisUnavailable } from '../../redis/run-script.js'
import type { CatalogVersion } from '../../catalog/version.js'
import { GatewayAcks, usageByTenant, type RolloutProgress } from './gateway-acks.js'
import { noUsage, type MeasuredUsage } from '../tenants/usage.js'

export interface RolloutOptions {
  /** Throws errors that `isRedisUnavailable` accepts when Redis is unavailable. */
  readonly readGateways: (options: { usage: boolean }) => Promise<LiveGateway[]>
  /** Called with the tenants whose rollout state has changed. */
  readonly onChange: (keys: Iterable<string>) => void
  /** Called with the tenants whose usage has changed. */
  readonly onUsage: (keys: Iterable<string>) => void
}

/** A gateway sends a heartbeat immediately after a change, but at most one every 50 ms. */
const pendingPollMs = 50
/** A rollout that takes longer than this is polled at the idle rate. */
const fastPollForMs = 5_000
const idlePollMs = 5_000
const usagePollMs = 15_000
/**
 * The validity of a heartbeat. A shorter time would report `noGateways` after Redis was emptied, because the
 * gateways need some seconds to send their heartbeats again.
 */
const noGatewaysAfterMs = 15_000

interface PendingRollout {
  readonly revision: string
  readonly version: CatalogVersion
  readonly sinceMs: number
}

/**
 * A revision is proven once all live gateways have reported it. It stays proven while gateways start and
 * stop, because a load balancer sends clients to a new gateway only after that gateway has read the catalog.
 * The state changes when a gateway reports that it cannot serve the tenant, or when no gateway has reported
 * for 15 seconds.
 */
export class Rollout {
  readonly #options: RolloutOptions
  readonly #pending = new Map<string, PendingRollout>()
  /** The proven revision of each tenant. */
  readonly #proven = new Map<string, string>()
  #acks = new GatewayAcks([])
  #hasPolled = false
  #usage: ReadonlyMap<string, MeasuredUsage> = new Map()
  /** The time at which a gateway was last seen. Undefined before the first poll. */
  #seenAtMs: number | undefined
  #usageAtMs = -Infinity
  #noGateways = false
  #pollNow = new AbortController()

  constructor(options: RolloutOptions) {
    this.#options = options
  }

  /** Marks a revision as proven, because a previous leader recorded that all gateways enforce it. */
  restoreProven(key: string, revision: string): void {
    this.#proven.set(key, revision)
  }

  /** Starts to track the rollout of a revision that was written at `version`. */
  track(key: string, revision: string, version: CatalogVersion): void {
    if (this.#proven.get(key) === revision && !this.#noGateways) return
    this.#proven.delete(key)
    this.#pending.set(key, { revision, version, sinceMs: performance.now() })
    this.#pollNow.abort()
  }

  forget(key: string): void {
    this.#pending.delete(key)
    this.#proven.delete(key)
  }

  /** Returns the state of a proven revision, or undefined when the revision is not proven. */
  provenStateOf(key: string, revision: string): RolloutProgress | undefined {
    if (this.#proven.get(key) !== revision) return undefined
    const { length: count } = this.#acks.gateways
    if (this.#noGateways) return { kind: 'noGateways' }
    if (!this.#acks.problems.has(key)) return { kind: 'all', gateways: count, synced: count }
    const serving = this.#acks.gateways.filter(({ problems }) => !problems.includes(key)).length
    return { kind: 'problem', gateways: count, synced: serving }
  }

  /** Returns the rollout progress of `version`. */
  progressOf(key: string, version: CatalogVersion): RolloutProgress {
    if (!this.#hasPolled) return { kind: 'pending', gateways: 0, synced: 0 }
    return this.#acks.progressOf(key, version)
  }

  usageOf(key: string): MeasuredUsage {
    return this.#usage.get(key) ?? noUsage
  }

  /** Polls until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#pollNow = new AbortController()
      await this.#poll()
      const isPending = this.#hasRecentRollout()
      await pause(
        isPending ? pendingPollMs : idlePollMs,
        signal,
        ...(isPending ? [] : [this.#pollNow.signal]),
      )
    }
  }

  #hasRecentRollout(): boolean {
    const startedAfterMs = performance.now() - fastPollForMs
    return [...this.#pending.values()].some(({ sinceMs }) => sinceMs > startedAfterMs)
  }

  async #poll(): Promise<void> {
    const nowMs = performance.now()
    const usage = nowMs - this.#usageAtMs >= usagePollMs
    let gateways: LiveGateway[]
    try {
      gateways = await this.#options.readGateways({ usage })
    } catch (error) {
      // Proven revisions stay proven, and nothing new can be proven without Redis.
      if (!isRedisUnavailable(error)) throw error
      return
    }
    const before = this.#acks
    this.#acks = new GatewayAcks(gateways)
    this.#hasPolled = true
    const changed = new Set(
      [...before.problems, ...this.#acks.problems].filter((key) => this.#differs(key, before)),
    )
    if (usage) this.#updateUsage(usageByTenant(gateways), nowMs)
    for (const key of this.#updateNoGateways(nowMs)) changed.add(key)
    for (const key of this.#completeRollouts()) changed.add(key)
    if (changed.size > 0) this.#options.onChange(changed)
  }

  #differs(key: string, before: GatewayAcks): boolean {
    return before.problems.has(key) !== this.#acks.problems.has(key)
  }

  #updateUsage(usage: ReadonlyMap<string, MeasuredUsage>, nowMs: number): void {
    const before = this.#usage
    this.#usage = usage
    this.#usageAtMs = nowMs
    const keys = new Set([...before.keys(), ...usage.keys()])
    const changed = [...keys].filter((key) => !isDeepStrictEqual(before.get(key), usage.get(key)))
    if (changed.length > 0) this.#options.onUsage(changed)
  }

  /**
   * Returns the tenants whose state changes because the last gateway has disappeared, or the first one has
   * appeared.
   */
  #updateNoGateways(nowMs: number): Iterable<string> {
    this.#seenAtMs = this.#acks.gateways.length > 0 || this.#seenAtMs === undefined ? nowMs : this.#seenAtMs
    const noGateways = this.#acks.gateways.length === 0 && nowMs - this.#seenAtMs >= noGatewaysAfterMs
    if (noGateways === this.#noGateways) return []
    this.#noGateways = noGateways
    return this.#proven.keys()
  }

  /** Marks completed rollouts as proven and yields their tenants. */
  *#completeRollouts(): Iterable<string> {
    for (const [key, { revision, version }] of this.#pending) {
      if (this.#acks.progressOf(key, version).kind !== 'all') continue
      this.#pending.delete(key)
      this.#proven.set(key, revision)
      yield key
    }
  }
}
