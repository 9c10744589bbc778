// One tenant on one gateway: the policy in force, the rules compiled from it, and the connected sessions.
// Owns the tenant's quota and tokens.
import { GuestTokens } from '../../auth/guest-token.js'
import type { FetchSlots } from '../../auth/fetch-slots.js'
import type { Log } from '../../log.js'
import type { QuotaLedger } from '../../quota/ledger.js'
import type { RevocationStore } from '../../revocation/store.js'
import { ChannelRules } from '../../tenant/acl.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import type { Clock } from '../../time.js'
import type { ArrivalDelay } from '../arrival-delay.js'
import { TenantMemory } from '../sharing/memory-ceiling.js'
import { PublishBudget } from '../sharing/publish-budget.js'
import { WorkQueue } from '../sharing/work-queue.js'
import type { LatestEachSecond } from '../latest-each-second.js'
import { ActiveChannels } from './active-channels.js'
import { TenantQuota } from './quota.js'
import { TenantRevocations, type TokenHolder } from './revocations.js'
import { TenantTokens } from './tokens.js'

export interface TenantRuntimeDeps {
  readonly clock: Clock
  readonly log: Log
  /** JWKS URLs may lead to private addresses; for development. */
  readonly allowPrivateJwks: boolean
  /** Bounds the fetches of key sets by all tenants. Absent: only those of this tenant are bounded. */
  readonly jwksSlots?: FetchSlots | undefined
  /** Counts connections over all gateways, and divides the rates among them. */
  readonly ledger: QuotaLedger
  readonly arrivalDelay: Pick<ArrivalDelay, 'at'>
  /** Sign guest tokens: see `GuestTokensOptions`. */
  readonly guestSecrets: readonly Uint8Array[]
  /** See `TenantRuntime.followCommands`. Absent: no other gateway sends commands about its users. */
  readonly followCommands?: () => Promise<void> | undefined
  /** The revocations that are made by the server API. */
  readonly revocations: RevocationStore
}

/** What a tenant needs of a connected session. */
export interface TenantSession extends TokenHolder {
  /** The monotonic time of the last command in milliseconds; pongs do not count. */
  readonly lastCommandMs: number
  /** `anonymous`: the session is that of a guest, which uses the guests' share of the connections. */
  readonly identity: { readonly anonymous: boolean }
  /** The policy or a key changed: the session rechecks its token and subscriptions, and may close. */
  policyChanged(): void
  /** Closes the session because the tenant exceeds its connection limit. */
  evict(): void
}

/** `Session` is the type of session that the owner connects; the tenant itself uses only `TenantSession`. */
export class TenantRuntime<Session extends TenantSession = TenantSession> {
  /** `<namespace>/<name>`. A tenant that is deleted and created again under its name is another tenant. */
  readonly key: string
  readonly quota: TenantQuota
  readonly tokens: TenantTokens
  readonly guests: GuestTokens
  readonly revocations: TenantRevocations
  readonly channels: ActiveChannels
  /** The work that waits for the tenant's turn on the event loop. */
  readonly work = new WorkQueue()
  readonly memory = new TenantMemory()
  /** The deliveries that wait for the tenant's turn. Only the hub writes it. */
  readonly backlog = { events: 0, bytes: 0 }
  readonly publishBudget = new PublishBudget()
  /** The numbers of members that large channels announce instead of names, by channel. */
  readonly memberCounts = new Map<string, LatestEachSecond<() => void>>()
  /** Connected sessions, in order of arrival. */
  readonly sessions = new Set<Session>()
  /**
   * Called before a client is admitted. Returns undefined when the commands that other gateways send about
   * the tenant's users reach this gateway; otherwise a promise that resolves when they do, or about a second
   * later, when they are applied afterwards. Never rejects.
   */
  readonly followCommands: () => Promise<void> | undefined
  #policy: TenantPolicy
  #rules: ChannelRules

  constructor(policy: TenantPolicy, deps: TenantRuntimeDeps) {
    const { allowPrivateJwks, arrivalDelay, clock, guestSecrets, ledger, log, revocations } = deps
    this.key = tenantKey(policy)
    this.followCommands = deps.followCommands ?? (() => undefined)
    this.#policy = policy
    this.#rules = new ChannelRules(policy.channels)
    this.guests = new GuestTokens(policy.tenantId, { secrets: guestSecrets, clock })
    this.channels = new ActiveChannels(clock)
    this.quota = new TenantQuota(policy, { clock, log, ledger, arrivalDelay, channels: this.channels })
    this.tokens = new TenantTokens(policy, {
      clock,
      allowPrivateJwks,
      jwksSlots: deps.jwksSlots,
      onProblem: (sentence) => log.warn({ tenant: this.key }, sentence),
      onKeysChanged: () => this.#recheckSessions(),
    })
    this.revocations = new TenantRevocations(policy, {
      store: revocations,
      clock,
      log,
      sessions: this.sessions,
    })
  }

  get policy(): TenantPolicy {
    return this.#policy
  }

  get rules(): ChannelRules {
    return this.#rules
  }

  /**
   * Applies a new revision of the policy immediately, also to live sessions: each rechecks its token and
   * subscriptions.
   */
  update(policy: TenantPolicy): void {
    this.#policy = policy
    this.#rules = new ChannelRules(policy.channels)
    this.tokens.update(policy)
    this.revocations.update(policy)
    this.quota.update(policy)
    this.#recheckSessions()
    this.#evictExcess()
  }

  /**
   * Rechecks the sessions where keys are fetched from a URL: a check of a key also refreshes an old key set.
   * Called periodically.
   */
  recheckKeys(): void {
    if (this.tokens.hasRemoteKeys) this.#recheckSessions()
  }

  close(): void {
    this.quota.close()
    this.tokens.close()
    this.revocations.close()
  }

  #recheckSessions(): void {
    for (const session of this.sessions) session.policyChanged()
  }

  /** Connections above a lowered limit stay, unless the plan allows preemption. */
  #evictExcess(): void {
    const { preemption, enforcement } = this.#policy
    if (preemption === 'Never' || enforcement !== 'Enforce') return
    const guests = [...this.sessions].filter(({ identity }) => identity.anonymous)
    this.#evict(guests, this.quota.guestExcessOf(guests.length))
    this.#evict([...this.sessions], this.quota.excessOf(this.sessions.size))
  }

  /** Evicts `count` of the sessions, which are in order of arrival, in the order that the plan sets. */
  #evict(sessions: readonly Session[], count: number): void {
    if (count <= 0) return
    const newestFirst = sessions.toReversed()
    const order =
      this.#policy.preemption === 'ShedNewest'
        ? newestFirst
        : newestFirst.toSorted((a, b) => a.lastCommandMs - b.lastCommandMs)
    for (const session of order.slice(0, count)) session.evict()
  }
}
