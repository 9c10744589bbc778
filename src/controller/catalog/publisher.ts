// Keeps the catalog in Redis as the cluster wants it, and knows how far the gateways are. Levels: what is wanted is held here, so that
// whatever happens to Redis is repaired by a complete snapshot.
import type { Log } from '../../log.js'
import { pause } from '../../deadline.js'
import { isRedisTrouble } from '../../catalog/redis/scripts.js'
import type { TenantRef } from '../../catalog/redis/staging.js'
import type { CatalogVersion } from '../../catalog/version.js'
import type { CatalogWriter, WriteOutcome } from '../../catalog/redis/writer.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import { GatewaysProof } from './rollout.js'
import type { Progress } from './gateway-acks.js'
import { together } from '../../kube/task-group.js'
import type { Usage } from '../tenants/usage.js'

/** What is known of a tenant's place in the catalog. */
export type Standing =
  | Progress
  /** Redis cannot be written. */
  | { readonly kind: 'unavailable'; readonly message: string }
  /** The catalog is another cluster's. */
  | { readonly kind: 'foreign'; readonly owner: string }

interface Wanted {
  readonly tenantId: string
  /** Undefined: the tenant is there, and what it had last is to stay. */
  policy: TenantPolicy | undefined
  /** Whoever has applied it enforces `policy`; undefined: it is not written yet. */
  version: CatalogVersion | undefined
}

export interface CatalogKeeperOptions {
  readonly writer: CatalogWriter
  readonly log: Log
  /** The standing of these tenants may be another now: look again. */
  readonly onChange: (keys: Iterable<string>) => void
  /** These use something else than before. */
  readonly onUsage: (keys: Iterable<string>) => void
  /** Default 2,000. */
  readonly confirmMs?: number
  /** How long another cluster's catalog must have been without owner before it is ours. Default 60,000. */
  readonly orphanedMs?: number
}

/** Another leader came after this one: this process must end. */
export class FencedError extends Error {
  override readonly name = 'FencedError'
}

const troubledMs = 500
const orphanedAfterMs = 60_000

export class CatalogKeeper {
  readonly #options: CatalogKeeperOptions
  readonly #wanted = new Map<string, Wanted>()
  readonly #proof: GatewaysProof
  #trouble: string | undefined = 'the catalog was not published yet'
  #owner: string | undefined
  #ownerlessSinceMs: number | undefined
  /** Something was not written: only a snapshot knows what. */
  #dirty = true
  #hurry = new AbortController()
  #fenced = false
  #begun: () => void = () => {}
  /** Resolves when the catalog was published, or could not be, for the first time. */
  readonly begun = new Promise<void>((resolve) => (this.#begun = resolve))

  constructor(options: CatalogKeeperOptions) {
    this.#options = options
    this.#proof = new GatewaysProof({
      read: async (asked) => options.writer.readGateways(asked),
      onChange: options.onChange,
      onUsage: options.onUsage,
    })
  }

  /** Before `run`: all tenants that there are, which keep what they have until it is known what they should have. */
  begin(tenants: Iterable<TenantRef>): void {
    for (const { key, tenantId } of tenants)
      this.#wanted.set(key, { tenantId, policy: undefined, version: undefined })
  }

  /** `believed`: a revision that was seen in force at all gateways by whoever led before. */
  async put(policy: TenantPolicy, believed?: string): Promise<void> {
    const key = tenantKey(policy)
    const known = this.#wanted.get(key)
    const isSame = known?.policy?.revision === policy.revision && known.tenantId === policy.tenantId
    if (isSame && known.version) return
    const wanted: Wanted = { tenantId: policy.tenantId, policy, version: undefined }
    this.#wanted.set(key, wanted)
    if (believed === policy.revision && known?.policy === undefined) this.#proof.believe(key, policy.revision)
    const outcome = await this.#write(async () => this.#options.writer.put(policy))
    // Meanwhile it may be another, or gone.
    if (outcome && this.#wanted.get(key) === wanted) this.#written(key, wanted, outcome)
  }

  /**
   * The tenant is there and has no policy that can be enforced: it goes on with its last, which is returned when it is known. Another's of
   * its name is none of its own.
   */
  async keep(tenant: TenantRef): Promise<TenantPolicy | undefined> {
    const { key, tenantId } = tenant
    const known = this.#wanted.get(key)
    if (known?.tenantId !== tenantId) {
      if (known) await this.remove(key)
      this.#wanted.set(key, { tenantId, policy: undefined, version: undefined })
      return undefined
    }
    if (known.policy || this.trouble !== undefined) return known.policy
    // Accepted while another led.
    return this.#attempt(async () => this.#options.writer.readPolicy(tenant))
  }

  /** A tombstone. Only for who is known to be gone. */
  async remove(key: string): Promise<void> {
    const wanted = this.#wanted.get(key)
    this.#wanted.delete(key)
    this.#proof.forget(key)
    if (wanted) await this.#write(async () => this.#options.writer.remove({ key, tenantId: wanted.tenantId }))
  }

  /** What is enforced, or would be. */
  policyOf(key: string): TenantPolicy | undefined {
    return this.#wanted.get(key)?.policy
  }

  usageOf(key: string): Usage {
    return this.#proof.usageOf(key)
  }

  standingOf(key: string): Standing {
    if (this.#owner !== undefined) return { kind: 'foreign', owner: this.#owner }
    const wanted = this.#wanted.get(key)
    if (wanted?.policy) {
      const proven = this.#proof.standingOf(key, wanted.policy.revision)
      if (proven) return proven
      if (wanted.version) return this.#proof.progressOf(key, wanted.version)
    }
    return { kind: 'unavailable', message: this.#trouble ?? 'the catalog is being written' }
  }

  /** Why the catalog is not as it should be; undefined: it is. For `/readyz` of a leader. */
  get trouble(): string | undefined {
    return this.#owner === undefined ? this.#trouble : `the catalog belongs to cluster ${this.#owner}`
  }

  /** Until `signal` ends it. Rejects with FencedError when another leads. */
  run(signal: AbortSignal): Promise<void> {
    return together(signal, [async (ending) => this.#keep(ending), async (ending) => this.#proof.run(ending)])
  }

  async #keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#hurry = new AbortController()
      await this.#confirm()
      this.#begun()
      if (this.#fenced) throw new FencedError('another leader writes the catalog')
      const { confirmMs = 2_000, orphanedMs = orphanedAfterMs } = this.#options
      const waitMs = this.#owner === undefined ? confirmMs : orphanedMs / 4
      await pause(this.#trouble === undefined ? waitMs : troubledMs, signal, this.#hurry.signal)
    }
  }

  async #confirm(): Promise<void> {
    if (this.#owner !== undefined && !(await this.#isOrphaned())) return
    const { writer } = this.#options
    const reply = this.#dirty ? 'snapshotNeeded' : await this.#attempt(async () => writer.confirm())
    if (reply === 'fenced') this.#fenced = true
    else if (reply === 'confirmed') this.#setTrouble(undefined)
    else if (reply) await this.#snapshot()
  }

  /**
   * Only what has had no owner for a while may be taken: Redis was emptied under another cluster's hands a moment ago, and they will
   * publish again.
   */
  async #isOrphaned(): Promise<boolean> {
    const { orphanedMs = orphanedAfterMs, writer } = this.#options
    const nowMs = performance.now()
    const owner = await this.#attempt(async () => ({ owner: await writer.readOwner() }))
    if (!owner) return false
    this.#ownerlessSinceMs = owner.owner === undefined ? (this.#ownerlessSinceMs ?? nowMs) : undefined
    return this.#ownerlessSinceMs !== undefined && nowMs - this.#ownerlessSinceMs >= orphanedMs
  }

  async #snapshot(): Promise<void> {
    const before = new Map(this.#wanted)
    this.#dirty = false
    const policies = [...before.values()].flatMap(({ policy }) => policy ?? [])
    const kept = [...before].flatMap(([key, { policy, tenantId }]) => (policy ? [] : { key, tenantId }))
    const outcome = await this.#attempt(async () => this.#options.writer.snapshot(policies, kept))
    if (!outcome || !this.#isDone(outcome)) {
      this.#dirty = true
      return
    }
    const waited: string[] = []
    for (const [key, wanted] of before) {
      if (!wanted.policy || this.#wanted.get(key) !== wanted) continue
      if (!wanted.version) waited.push(key)
      // What was written in this life of the catalog still stands.
      if (wanted.version?.epoch !== outcome.version.epoch) this.#written(key, wanted, outcome)
    }
    this.#setTrouble(undefined)
    this.#options.onChange(waited)
  }

  /** Undefined: it was not written, and will be by the next snapshot. */
  async #write(write: () => Promise<WriteOutcome>): Promise<Done | undefined> {
    // Another's catalog is not even tried; and when Redis is away, one is enough to find out when it is back.
    if (this.#owner !== undefined || this.#trouble !== undefined) {
      this.#dirty = true
      return undefined
    }
    const outcome = await this.#attempt(write)
    if (outcome && this.#isDone(outcome)) return outcome
    this.#dirty = true
    // Not when Redis is away: then its return is waited for.
    if (outcome) this.#hurry.abort()
    return undefined
  }

  #isDone(outcome: WriteOutcome): outcome is Done {
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

  #written(key: string, wanted: Wanted, { version }: Done): void {
    wanted.version = version
    if (wanted.policy) this.#proof.expect(key, wanted.policy.revision, version)
  }

  /** Undefined: Redis is in trouble. */
  async #attempt<Result>(attempt: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await attempt()
    } catch (error) {
      if (!isRedisTrouble(error)) throw error
      this.#setTrouble(error.message)
      return undefined
    }
  }

  /** Those that are written do not depend on Redis; those that are not hear of it when it is back. */
  #setTrouble(trouble: string | undefined): void {
    if (trouble !== undefined && this.#trouble === undefined)
      this.#options.log.warn({ reason: trouble }, 'the catalog cannot be written')
    this.#trouble = trouble
  }

  #setOwner(owner: string | undefined): void {
    if (owner === this.#owner) return
    this.#owner = owner
    this.#ownerlessSinceMs = undefined
    if (owner !== undefined)
      this.#options.log.error({ owner }, 'the catalog belongs to another cluster: nothing is written')
    this.#options.onChange(this.#wanted.keys())
  }
}

type Done = Extract<WriteOutcome, { version: CatalogVersion }>
