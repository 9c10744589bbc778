// Proves what is enforced: asks the gateways often while somebody waits for it, and seldom otherwise.
import { isDeepStrictEqual } from 'node:util'
import { pause } from '../../deadline.js'
import type { LiveGateway } from '../../catalog/heartbeat.js'
import { isRedisTrouble } from '../../catalog/redis/scripts.js'
import type { CatalogVersion } from '../../catalog/version.js'
import { GatewaysView, usageOf, type Progress } from './gateway-acks.js'
import { noUsage, type Usage } from '../tenants/usage.js'

export interface GatewaysProofOptions {
  /** Throws what `isRedisTrouble` knows. */
  readonly read: (options: { usage: boolean }) => Promise<LiveGateway[]>
  /** What is known of these is another. */
  readonly onChange: (keys: Iterable<string>) => void
  readonly onUsage: (keys: Iterable<string>) => void
}

/** Heartbeats come at once after a change, but not oftener than every 50 ms. */
const waitingMs = 50
/** Whoever waits longer than this does not wait for milliseconds. */
const patienceMs = 5_000
const idleMs = 5_000
const usageEveryMs = 15_000
/** As long as a heartbeat counts: an emptied Redis knows of no gateway for some seconds. */
const noGatewaysAfterMs = 15_000

interface Expected {
  readonly revision: string
  readonly version: CatalogVersion
  readonly sinceMs: number
}

/**
 * What was once proven stays so, also while gateways come and go: a new one is let in by its load balancer only when it is as far. It ends
 * when a gateway says that it cannot serve the tenant, or when there is none for a while.
 */
export class GatewaysProof {
  readonly #options: GatewaysProofOptions
  readonly #expected = new Map<string, Expected>()
  /** Revision that all gateways were seen to enforce, by tenant. */
  readonly #proven = new Map<string, string>()
  #view = new GatewaysView([])
  #looked = false
  #usage: ReadonlyMap<string, Usage> = new Map()
  /** When a gateway was last seen; undefined: never looked. */
  #seenAtMs: number | undefined
  #usageAtMs = -Infinity
  #deserted = false
  #hurry = new AbortController()

  constructor(options: GatewaysProofOptions) {
    this.#options = options
  }

  /** Somebody proved it before. */
  believe(key: string, revision: string): void {
    this.#proven.set(key, revision)
  }

  expect(key: string, revision: string, version: CatalogVersion): void {
    if (this.#proven.get(key) === revision && !this.#deserted) return
    this.#proven.delete(key)
    this.#expected.set(key, { revision, version, sinceMs: performance.now() })
    this.#hurry.abort()
  }

  forget(key: string): void {
    this.#expected.delete(key)
    this.#proven.delete(key)
  }

  /** Undefined: the revision was not proven. */
  standingOf(key: string, revision: string): Progress | undefined {
    if (this.#proven.get(key) !== revision) return undefined
    const { length: count } = this.#view.gateways
    if (this.#deserted) return { kind: 'noGateways' }
    if (!this.#view.problems.has(key)) return { kind: 'all', gateways: count, synced: count }
    const able = this.#view.gateways.filter(({ problems }) => !problems.includes(key)).length
    return { kind: 'problem', gateways: count, synced: able }
  }

  progressOf(key: string, version: CatalogVersion): Progress {
    if (!this.#looked) return { kind: 'pending', gateways: 0, synced: 0 }
    return this.#view.progressOf(key, version)
  }

  usageOf(key: string): Usage {
    return this.#usage.get(key) ?? noUsage
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#hurry = new AbortController()
      await this.#look()
      const isWaiting = this.#someoneWaits()
      await pause(isWaiting ? waitingMs : idleMs, signal, ...(isWaiting ? [] : [this.#hurry.signal]))
    }
  }

  #someoneWaits(): boolean {
    const soonMs = performance.now() - patienceMs
    return [...this.#expected.values()].some(({ sinceMs }) => sinceMs > soonMs)
  }

  async #look(): Promise<void> {
    const nowMs = performance.now()
    const usage = nowMs - this.#usageAtMs >= usageEveryMs
    let gateways: LiveGateway[]
    try {
      gateways = await this.#options.read({ usage })
    } catch (error) {
      // What is in force stays in force; what is not known cannot be proven.
      if (!isRedisTrouble(error)) throw error
      return
    }
    const before = this.#view
    this.#view = new GatewaysView(gateways)
    this.#looked = true
    const changed = new Set(
      [...before.problems, ...this.#view.problems].filter((key) => this.#differs(key, before)),
    )
    if (usage) this.#settleUsage(usageOf(gateways), nowMs)
    for (const key of this.#settleDesertion(nowMs)) changed.add(key)
    for (const key of this.#prove()) changed.add(key)
    if (changed.size > 0) this.#options.onChange(changed)
  }

  #differs(key: string, before: GatewaysView): boolean {
    return before.problems.has(key) !== this.#view.problems.has(key)
  }

  #settleUsage(usage: ReadonlyMap<string, Usage>, nowMs: number): void {
    const before = this.#usage
    this.#usage = usage
    this.#usageAtMs = nowMs
    const keys = new Set([...before.keys(), ...usage.keys()])
    const moved = [...keys].filter((key) => !isDeepStrictEqual(before.get(key), usage.get(key)))
    if (moved.length > 0) this.#options.onUsage(moved)
  }

  /** Those whose standing changes because there is no gateway any more, or is one again. */
  #settleDesertion(nowMs: number): Iterable<string> {
    this.#seenAtMs = this.#view.gateways.length > 0 || this.#seenAtMs === undefined ? nowMs : this.#seenAtMs
    const deserted = this.#view.gateways.length === 0 && nowMs - this.#seenAtMs >= noGatewaysAfterMs
    if (deserted === this.#deserted) return []
    this.#deserted = deserted
    return this.#proven.keys()
  }

  *#prove(): Iterable<string> {
    for (const [key, { revision, version }] of this.#expected) {
      if (this.#view.progressOf(key, version).kind !== 'all') continue
      this.#expected.delete(key)
      this.#proven.set(key, revision)
      yield key
    }
  }
}
