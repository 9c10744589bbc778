// One tenant as a gateway lives it: the policy in force, its rules and keys made ready, what is used of its quota, and who is connected.
import {
  TokenMismatchError,
  TokenVerifier,
  type SubscriptionBearer,
  type VerifiedSubscription,
  type VerifiedToken,
} from '../../auth/token.js'
import { CommandError, type ErrorCode } from '../../errors.js'
import type { Log } from '../../log.js'
import { ChannelRules } from '../../tenant/acl.js'
import { TokenBucket, type BucketLimits } from '../../quota/token-bucket.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import type { LeaseListener, QuotaLedger, QuotaRate, Refusal, TenantLease } from '../../quota/ledger.js'
import type { Clock } from '../../time.js'
import { ChannelCensus } from './active-channels.js'
import { FormerKeys } from './retired-keys.js'
import type { Session } from '../session.js'

/** When to ask again for a place that somebody else must give up first: nobody can know, and asking costs little. */
const fullRetryAfterMs = 5_000

export interface TenantStateDeps {
  readonly clock: Clock
  readonly log: Log
  /** JWKS URLs may lead to private addresses: for development. */
  readonly allowPrivateJwks: boolean
  /** Counts the connections, and divides the rates among gateways. */
  readonly ledger: QuotaLedger
}

export class TenantState implements LeaseListener {
  /** `<namespace>/<name>`: a tenant of another name is another tenant. */
  readonly key: string
  readonly #deps: TenantStateDeps
  #policy: TenantPolicy
  #rules: ChannelRules
  readonly #verifier: TokenVerifier
  readonly #formerKeys: FormerKeys
  #allowsGuests: boolean
  readonly #connects: TokenBucket
  readonly #publishes: TokenBucket
  readonly #deliveries: TokenBucket
  /** Its places: open sessions, and handshakes on their way to one. */
  readonly #lease: TenantLease
  #closed = false
  /** In order of arrival. */
  readonly sessions = new Set<Session>()
  readonly channels: ChannelCensus
  subscriptionsTotal = 0
  publicationsTotal = 0
  /** By the rule that the channel has its settings from; those of rules that the policy has. */
  readonly publicationsByRule = new Map<string, number>()
  deliveriesTotal = 0
  readonly refusals = new Map<string, number>()

  constructor(policy: TenantPolicy, deps: TenantStateDeps) {
    this.key = tenantKey(policy)
    this.#deps = deps
    this.#policy = policy
    this.#rules = new ChannelRules(policy.channels)
    this.#verifier = new TokenVerifier(policy.issuers, {
      clock: deps.clock,
      allowPrivateJwks: deps.allowPrivateJwks,
      onProblem: (sentence) => deps.log.warn({ tenant: this.key }, sentence),
      onKeysChanged: () => this.#recheckSessions(),
    })
    this.#formerKeys = new FormerKeys(deps.clock)
    this.#allowsGuests = allowsGuests(policy)
    this.#lease = deps.ledger.open(policy.tenantId, this)
    const nowMs = deps.clock.monotonicMs()
    const { connects, deliveries, publishes } = this.#bucketLimits()
    this.#connects = new TokenBucket(connects, nowMs)
    this.#publishes = new TokenBucket(publishes, nowMs)
    this.#deliveries = new TokenBucket(deliveries, nowMs)
    this.channels = new ChannelCensus(deps.clock)
  }

  get policy(): TenantPolicy {
    return this.#policy
  }

  get rules(): ChannelRules {
    return this.#rules
  }

  /** As TokenVerifier's; a token whose key was removed of late is TOKEN_EXPIRED. */
  verify(token: string): Promise<VerifiedToken> {
    return this.#verified((verifier) => verifier.verify(token))
  }

  /** As `verify`; throws TokenMismatchError too. */
  verifySubscription(token: string, bearer: SubscriptionBearer): Promise<VerifiedSubscription> {
    return this.#verified((verifier) => verifier.verifySubscription(token, bearer))
  }

  /** Whether connections that came in by this key may stay. */
  acceptsKey(keyId: string): boolean {
    return this.#verifier.accepts(keyId)
  }

  /** Some rule grants something to clients without a token. */
  get allowsGuests(): boolean {
    return this.#allowsGuests
  }

  /** On this gateway. */
  get connections(): number {
    return this.#lease.held
  }

  /** Different users among the connections. */
  get users(): number {
    return this.#lease.users
  }

  /** A new revision holds at once, for live sessions too: each looks at its token and subscriptions again. */
  update(policy: TenantPolicy): void {
    this.#formerKeys.replaced(this.#policy.issuers, policy.issuers)
    this.#policy = policy
    this.#rules = new ChannelRules(policy.channels)
    const rules = new Set(policy.channels.map(({ name }) => name))
    for (const rule of this.publicationsByRule.keys())
      if (!rules.has(rule)) this.publicationsByRule.delete(rule)
    this.#verifier.update(policy.issuers)
    this.#allowsGuests = allowsGuests(policy)
    this.sharesChanged()
    this.#recheckSessions()
    this.#shed()
  }

  /** Throws CONNECTION_LIMIT when one more connection of `user` is one too many in the cluster. Takes nothing. */
  async checkRoom(user: string): Promise<void> {
    const admission = await this.#lease.look(user, this.#policy.limits.connections)
    if (!admission.admitted) this.#noRoom(admission)
  }

  /**
   * Takes a place for one connection of `user`, or throws. Every admission is followed by one `release`: also when whoever asked has gone
   * meanwhile, since other gateways may have to be asked.
   */
  async admit(user: string): Promise<void> {
    // An attempt that finds no place counts as well: other gateways are asked for each.
    this.#chargeConnect()
    for (;;) {
      const limits = this.#policy.limits.connections
      const admission = await this.#lease.acquire(user, limits)
      if (!admission.admitted) {
        this.#noRoom(admission)
        this.#lease.take(user)
        return
      }
      if (this.#closed) {
        this.#lease.release(user)
        throw new CommandError('NOT_FOUND', `The tenant ${this.key} was removed`)
      }
      const { max, perUser } = this.#policy.limits.connections
      if (max >= limits.max && perUser >= limits.perUser) return
      // Lowered while others were asked: nothing was open yet that could stay.
      this.#lease.release(user)
    }
  }

  release(user: string): void {
    this.#lease.release(user)
  }

  /** Charges one publish of `channel` to the tenant's rates, or throws. */
  chargePublish(channel: string): void {
    const nowMs = this.#deps.clock.monotonicMs()
    const { publishPerSecond, publishBurst, fanoutPerSecond } = this.#policy.limits.messages
    this.#lease.spend('publish', 1)
    const fanoutWaitMs = this.#deliveries.take(0, nowMs)
    if (fanoutWaitMs > 0) {
      this.#over(
        'QUOTA_EXCEEDED',
        `Cannot publish to "${channel}": the tenant’s ${fanoutPerSecond} deliveries per second are used`,
        fanoutWaitMs,
      )
    }
    const publishWaitMs = this.#publishes.take(1, nowMs)
    if (publishWaitMs > 0) {
      this.#over(
        'QUOTA_EXCEEDED',
        `Cannot publish to "${channel}": ${publishPerSecond} of ${publishPerSecond} publications per second (burst ${publishBurst}) are used`,
        publishWaitMs,
      )
    }
  }

  /**
   * Deliveries cannot be refused half-way: they are counted, and a publish that comes while the count is in debt is refused. `besides`: work
   * like so many more of them, that reached nobody.
   */
  chargeDeliveries(deliveries: number, besides = 0): void {
    const charged = deliveries + besides
    if (charged === 0) return
    this.deliveriesTotal += deliveries
    this.#deliveries.charge(charged, this.#deps.clock.monotonicMs())
    this.#lease.delivered(charged)
  }

  /** Gateways that publish and gateways that deliver are different ones: each counts the deliveries of all. */
  deliveredElsewhere(deliveries: number): void {
    this.#deliveries.charge(deliveries, this.#deps.clock.monotonicMs())
  }

  perSecond(rate: QuotaRate): number {
    const { connections, messages } = this.#policy.limits
    switch (rate) {
      case 'publish':
        return messages.publishPerSecond
      case 'connect':
        return connections.connectsPerSecond
      case 'delivery':
        return messages.fanoutPerSecond
    }
  }

  /** The limits of the policy, as far as they are this gateway's, hold at once. What is used stays used. */
  sharesChanged(): void {
    const nowMs = this.#deps.clock.monotonicMs()
    const { connects, deliveries, publishes } = this.#bucketLimits()
    this.#connects.configure(connects, nowMs)
    this.#publishes.configure(publishes, nowMs)
    this.#deliveries.configure(deliveries, nowMs)
  }

  /** Throws SUBSCRIPTION_LIMIT or CHANNEL_LIMIT when one more subscriber of `channel` is one too many. */
  checkSubscribe(channel: string, used: { ofSession: number; ofChannel: number }): void {
    const limits = this.#policy.limits.channels
    if (used.ofSession >= limits.maxSubscriptionsPerConnection) {
      this.#over(
        'SUBSCRIPTION_LIMIT',
        `Cannot subscribe to "${channel}": ${used.ofSession} of ${limits.maxSubscriptionsPerConnection} subscriptions of this connection are used`,
      )
    }
    if (used.ofChannel >= limits.maxSubscribersPerChannel) {
      this.#over(
        'SUBSCRIPTION_LIMIT',
        `Cannot subscribe to "${channel}": it has ${used.ofChannel} of ${limits.maxSubscribersPerChannel} subscribers`,
      )
    }
    this.checkChannel(channel)
  }

  /** Throws CHANNEL_LIMIT when `channel` is not in use and no other may come into use. */
  checkChannel(channel: string): void {
    const { max } = this.#policy.limits.channels
    if (this.channels.has(channel)) return
    const used = this.channels.count()
    if (used >= max)
      this.#over(
        'CHANNEL_LIMIT',
        `Cannot use "${channel}": ${used} of ${max} channels of the tenant are in use`,
        fullRetryAfterMs,
      )
  }

  countPublication(rule: string): void {
    this.publicationsTotal += 1
    this.publicationsByRule.set(rule, (this.publicationsByRule.get(rule) ?? 0) + 1)
  }

  countRefusal(code: ErrorCode): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1)
  }

  /** Fetched key sets age: asking after a session's key has them fetched again. Called now and then. */
  recheckKeys(): void {
    if (this.#policy.issuers.some(({ key }) => key.type === 'JWKSURI')) this.#recheckSessions()
  }

  close(): void {
    this.#closed = true
    this.#lease.close()
    this.#verifier.close()
  }

  async #verified<Facts>(check: (verifier: TokenVerifier) => Promise<Facts>): Promise<Facts> {
    try {
      return await check(this.#verifier)
    } catch (error) {
      const refused = error instanceof CommandError && error.code === 'TOKEN_INVALID'
      if (!refused || error instanceof TokenMismatchError || !(await this.#formerKeys.accepted(check)))
        throw error
      const problem = 'The token was signed by a key that this tenant has removed: get a new one'
      throw new CommandError('TOKEN_EXPIRED', problem, { cause: error })
    }
  }

  #recheckSessions(): void {
    for (const session of this.sessions) session.policyChanged()
  }

  #chargeConnect(): void {
    const { connectsPerSecond } = this.#policy.limits.connections
    this.#lease.spend('connect', 1)
    const retryAfterMs = this.#connects.take(1, this.#deps.clock.monotonicMs())
    if (retryAfterMs > 0) {
      this.#over(
        'QUOTA_EXCEEDED',
        `Cannot connect: the tenant’s ${connectsPerSecond} connects per second are used`,
        retryAfterMs,
      )
    }
  }

  #noRoom({ limit, share, used }: Refusal): void {
    const { max, perUser } = this.#policy.limits.connections
    const sentence =
      limit === 'user'
        ? `${used} of ${perUser} connections of this user are used`
        : share === undefined
          ? `${used} of ${max} connections of the tenant are used`
          : `${used} of ${share} connections are used, this gateway’s share of the tenant’s ${max} while the others cannot be asked`
    this.#over('CONNECTION_LIMIT', `Cannot connect: ${sentence}`, fullRetryAfterMs)
  }

  #bucketLimits(): Record<'connects' | 'publishes' | 'deliveries', BucketLimits> {
    const { connections, messages } = this.#policy.limits
    const { connectsPerSecond } = connections
    const { fanoutPerSecond, publishBurst, publishPerSecond } = messages
    return {
      connects: shareOf({ rate: connectsPerSecond, burst: connectsPerSecond }, this.#lease.share('connect')),
      publishes: shareOf({ rate: publishPerSecond, burst: publishBurst }, this.#lease.share('publish')),
      deliveries: { rate: fanoutPerSecond, burst: fanoutPerSecond },
    }
  }

  /** Over quota: refused, or (while a platform team tries a plan out) only counted. */
  #over(code: ErrorCode, message: string, retryAfterMs?: number): void {
    if (this.#policy.enforcement === 'Enforce') throw new CommandError(code, message, { retryAfterMs })
    this.countRefusal(code)
    if (this.#policy.enforcement === 'Warn')
      this.#deps.log.warn({ tenant: this.key, code }, `over quota, let pass: ${message}`)
  }

  /** A lowered limit leaves the connections above it alone unless the plan says otherwise. */
  #shed(): void {
    const { limits, preemption, enforcement } = this.#policy
    // Every gateway keeps its part of what may stay, so that together they keep no more.
    const elsewhere = this.#lease.heldByAll - this.#lease.held
    const part = this.sessions.size / Math.max(1, this.sessions.size + elsewhere)
    const tooMany = this.sessions.size - Math.floor(limits.connections.max * part)
    if (tooMany <= 0 || preemption === 'Never' || enforcement !== 'Enforce') return
    const newestFirst = [...this.sessions].toReversed()
    const order =
      preemption === 'ShedNewest'
        ? newestFirst
        : newestFirst.toSorted((a, b) => a.lastCommandMs - b.lastCommandMs)
    for (const session of order.slice(0, tooMany)) session.shed()
  }
}

/** At least one whole token a second, or a small share would be none at all. */
function shareOf({ burst, rate }: BucketLimits, share: number): BucketLimits {
  return {
    rate: Math.max(Math.min(rate, 1), rate * share),
    burst: Math.max(Math.min(burst, 1), Math.floor(burst * share)),
  }
}

function allowsGuests(policy: TenantPolicy): boolean {
  return policy.channels.some((rule) =>
    rule.grants.some(
      (grant) => grant.effect === 'Allow' && grant.subjects.some((subject) => subject.anonymous === true),
    ),
  )
}
