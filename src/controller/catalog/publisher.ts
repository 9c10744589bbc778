// Publishes the catalog to Redis and tracks its rollout to the gateways. The publisher is level-triggered: it
// holds the complete desired state, so one snapshot repairs any loss or change of the data in Redis.
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { isRedisUnavailable } from '../../redis/run-script.js'
import type { TenantRef } from '../../catalog/redis/staging.js'
import type { CatalogVersion } from '../../catalog/version.js'
import type { CatalogWriter, WriteOutcome } from '../../catalog/redis/writer.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import { Rollout } from './rollout.js'
import type { RolloutProgress } from './gateway-acks.js'
import { runTaskGroup } from '../../kube/task-group.js'
import type { MeasuredUsage } from '../tenants/usage.js'

/** The rollout state of the current revision of a tenant. */
export type RolloutState =
  | RolloutProgress
  /** The revision could not be written to Redis yet. */
  | { readonly kind: 'unavailable'; readonly message: string }
  /** The catalog belongs to another cluster. `owner` is the id of that cluster. */
  | { readonly kind: 'foreign'; readonly owner: string }

interface DesiredTenant {
  readonly tenantId: string
  /** Undefined when no policy is known: the tenant keeps its record in the catalog. */
  policy: TenantPolicy | undefined
  /** The catalog version that contains `policy`. Undefined while it is not written. */
  version: CatalogVersion | undefined
}

export interface CatalogPublisherOptions {
  readonly writer: CatalogWriter
  readonly log: Log
  /** Called with the tenants whose rollout state may have changed. */
  readonly onChange: (keys: Iterable<string>) => void
  /** Called with the tenants whose usage has changed. */
  readonly onUsage: (keys: Iterable<string>) => void
  /** Milliseconds between two checks that Redis still holds what was published. Default 2,000. */
  readonly confirmMs?: number
  /**
   * How long, in milliseconds, a catalog that belonged to another cluster must have no owner before this
   * cluster takes it over. Default 60,000.
   */
  readonly orphanedMs?: number
}

/** Thrown when a later leader has written the catalog. This process must exit. */
export class FencedError extends Error {
  override readonly name = 'FencedError'
}

const retryMs = 500
const orphanedDefaultMs = 60_000

export class CatalogPublisher {
  readonly #options: CatalogPublisherOptions
  readonly #desired = new Map<string, DesiredTenant>()
  readonly #rollout: Rollout
  #unavailableReason: string | undefined = 'the catalog is not published yet'
  #owner: string | undefined
  #ownerlessSinceMs: number | undefined
  /** True while Redis lacks a write, so the next write must be a complete snapshot. */
  #snapshotNeeded = true
  #wake = new AbortController()
  #fenced = false
  #resolveFirstAttempt: () => void = () => {}
  /** Resolves after the first attempt to publish the catalog, whether it succeeded or not. */
  readonly firstAttempt = new Promise<void>((resolve) => (this.#resolveFirstAttempt = resolve))

  constructor(options: CatalogPublisherOptions) {
    this.#options = options
    this.#rollout = new Rollout({
      readGateways: async (selection) => options.writer.readGateways(selection),
      onChange: options.onChange,
      onUsage: options.onUsage,
    })
  }

  /**
   * Sets the tenants that exist. Each keeps its record in the catalog until `put` or `remove`. Call it before
   * `run`.
   */
  initialize(tenants: Iterable<TenantRef>): void {
    for (const { key, tenantId } of tenants)
      this.#desired.set(key, { tenantId, policy: undefined, version: undefined })
  }

  /**
   * Publishes a tenant's policy. Does not reject when Redis is unavailable: the next snapshot contains the
   * policy. `lastProven` is the revision that a previous leader recorded as enforced by all gateways.
   */
  async put(policy: TenantPolicy, lastProven?: string): Promise<void> {
    const key = tenantKey(policy)
    const known = this.#desired.get(key)
    const isSame = known?.policy?.revision === policy.revision && known.tenantId === policy.tenantId
    if (isSame && known.version) return
    const desired: DesiredTenant = { tenantId: policy.tenantId, policy, version: undefined }
    this.#desired.set(key, desired)
    if (lastProven === policy.revision && known?.policy === undefined)
      this.#rollout.restoreProven(key, policy.revision)
    const outcome = await this.#write(async () => this.#options.writer.put(policy))
    // The tenant may have been changed or removed during the write.
    if (outcome && this.#desired.get(key) === desired) this.#recordWritten(key, desired, outcome)
  }

  /**
   * Keeps the last policy of a tenant whose spec is not accepted, and returns that policy when it is known.
   * Removes the record of a deleted tenant of the same name.
   */
  async keepLast(tenant: TenantRef): Promise<TenantPolicy | undefined> {
    const { key, tenantId } = tenant
    const known = this.#desired.get(key)
    if (known?.tenantId !== tenantId) {
      if (known) await this.remove(key)
      this.#desired.set(key, { tenantId, policy: undefined, version: undefined })
      return undefined
    }
    if (known.policy || this.unavailableReason !== undefined) return known.policy
    // The policy was accepted under a previous leader.
    return this.#attempt(async () => this.#options.writer.readPolicy(tenant))
  }

  /** Writes a tombstone for a tenant that is known to be deleted. */
  async remove(key: string): Promise<void> {
    const desired = this.#desired.get(key)
    this.#desired.delete(key)
    this.#rollout.forget(key)
    if (desired)
      await this.#write(async () => this.#options.writer.remove({ key, tenantId: desired.tenantId }))
  }

  /**
   * Returns the policy that is published, or that will be published when Redis is available. Returns
   * undefined when no policy is known.
   */
  policyOf(key: string): TenantPolicy | undefined {
    return this.#desired.get(key)?.policy
  }

  /** Returns the tenant's usage, summed over all gateways. */
  usageOf(key: string): MeasuredUsage {
    return this.#rollout.usageOf(key)
  }

  /** Returns the rollout state of the tenant's current revision. */
  rolloutOf(key: string): RolloutState {
    if (this.#owner !== undefined) return { kind: 'foreign', owner: this.#owner }
    const desired = this.#desired.get(key)
    if (desired?.policy) {
      const state = this.#rollout.provenStateOf(key, desired.policy.revision)
      if (state) return state
      if (desired.version) return this.#rollout.progressOf(key, desired.version)
    }
    return { kind: 'unavailable', message: this.#unavailableReason ?? 'the catalog is being written' }
  }

  /** Why the catalog in Redis is not up to date, or undefined. A leader's `/readyz` reports it. */
  get unavailableReason(): string | undefined {
    return this.#owner === undefined
      ? this.#unavailableReason
      : `the catalog belongs to the cluster ${this.#owner}`
  }

  /** Runs until `signal` aborts. Rejects with FencedError when a later leader has written the catalog. */
  run(signal: AbortSignal): Promise<void> {
    return runTaskGroup(signal, [
      async (ending) => this.#publishLoop(ending),
      async (ending) => this.#rollout.run(ending),
    ])
  }

  async #publishLoop(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController()
      await this.#confirm()
      this.#resolveFirstAttempt()
      if (this.#fenced) throw new FencedError('a later leader has written the catalog')
      const { confirmMs = 2_000, orphanedMs = orphanedDefaultMs } = this.#options
      const waitMs = this.#owner === undefined ? confirmMs : orphanedMs / 4
      await pause(this.#unavailableReason === undefined ? waitMs : retryMs, signal, this.#wake.signal)
    }
  }

  async #confirm(): Promise<void> {
    if (this.#owner !== undefined && !(await this.#isOrphaned())) return
    const { writer } = this.#options
    const reply = this.#snapshotNeeded ? 'snapshotNeeded' : await this.#attempt(async () => writer.confirm())
    if (reply === 'fenced') this.#fenced = true
    else if (reply === 'confirmed') this.#setUnavailable(undefined)
    else if (reply) await this.#snapshot()
  }

  /**
   * Returns true when the catalog has had no owner for `orphanedMs`. A shorter time is not enough: after
   * Redis was emptied, the cluster that owns the catalog publishes it again.
   */
  async #isOrphaned(): Promise<boolean> {
    const { orphanedMs = orphanedDefaultMs, writer } = this.#options
    const nowMs = performance.now()
    const reply = await this.#attempt(async () => ({ owner: await writer.readOwner() }))
    if (!reply) return false
    this.#ownerlessSinceMs = reply.owner === undefined ? (this.#ownerlessSinceMs ?? nowMs) : undefined
    return this.#ownerlessSinceMs !== undefined && nowMs - this.#ownerlessSinceMs >= orphanedMs
  }

  async #snapshot(): Promise<void> {
    const before = new Map(this.#desired)
    this.#snapshotNeeded = false
    const policies = [...before.values()].flatMap(({ policy }) => policy ?? [])
    const kept = [...before].flatMap(([key, { policy, tenantId }]) => (policy ? [] : { key, tenantId }))
    const outcome = await this.#attempt(async () => this.#options.writer.snapshot(policies, kept))
    if (!outcome || !this.#isWritten(outcome)) {
      this.#snapshotNeeded = true
      return
    }
    const firstWritten: string[] = []
    for (const [key, desired] of before) {
      if (!desired.policy || this.#desired.get(key) !== desired) continue
      if (!desired.version) firstWritten.push(key)
      // A version of the same epoch is still valid.
      if (desired.version?.epoch !== outcome.version.epoch) this.#recordWritten(key, desired, outcome)
    }
    this.#setUnavailable(undefined)
    this.#options.onChange(firstWritten)
  }

  /** Returns undefined when nothing was written. The next snapshot then contains the change. */
  async #write(write: () => Promise<WriteOutcome>): Promise<Written | undefined> {
    // Do not try while the catalog belongs to another cluster. While Redis is unavailable, only the publish
    // loop tries again.
    if (this.#owner !== undefined || this.#unavailableReason !== undefined) {
      this.#snapshotNeeded = true
      return undefined
    }
    const outcome = await this.#attempt(write)
    if (outcome && this.#isWritten(outcome)) return outcome
    this.#snapshotNeeded = true
    // Redis has replied, so a snapshot can be written immediately. Otherwise the loop waits for Redis.
    if (outcome) this.#wake.abort()
    return undefined
  }

  #isWritten(outcome: WriteOutcome): outcome is Written {
    switch (outcome.kind) {
      case 'written':
      case 'unchanged':
        this.#setOwner(undefined)
        return true
      case 'foreign':
        this.#setOwner(outcome.owner)
        return false
      case 'fenced':
        this.#fenced = true
        return false
      case 'snapshotNeeded':
        return false
    }
  }

  #recordWritten(key: string, desired: DesiredTenant, { version }: Written): void {
    desired.version = version
    if (desired.policy) this.#rollout.track(key, desired.policy.revision, version)
  }

  /** Returns undefined when Redis is unavailable. Other errors reject. */
  async #attempt<Result>(attempt: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await attempt()
    } catch (error) {
      if (!isRedisUnavailable(error)) throw error
      this.#setUnavailable(error.message)
      return undefined
    }
  }

  /**
   * The callback `onChange` is not called here: the state of written tenants does not depend on Redis, and
   * the next snapshot reports the others.
   */
  #setUnavailable(reason: string | undefined): void {
    if (reason !== undefined && this.#unavailableReason === undefined)
      this.#options.log.warn({ reason }, 'cannot write the catalog to Redis: retrying')
    this.#unavailableReason = reason
  }

  #setOwner(owner: string | undefined): void {
    if (owner === this.#owner) return
    this.#owner = owner
    this.#ownerlessSinceMs = undefined
    if (owner !== undefined)
      this.#options.log.error(
        { owner },
        'the catalog belongs to another cluster, so this controller writes nothing: change --installation',
      )
    this.#options.onChange(this.#desired.keys())
  }
}

type Written = Extract<WriteOutcome, { version: CatalogVersion }>
