// A tenant's quota on this gateway: admits connections, charges rates, and counts what is used.
import { CommandError, type ErrorCode } from '../../errors.js'
import { LimitedLog, type Log } from '../../log.js'
import { TokenBucket, type BucketLimits } from '../../quota/token-bucket.js'
import type {
  LeaseListener,
  QuotaLedger,
  QuotaRate,
  AdmissionRefusal,
  TenantLease,
} from '../../quota/ledger.js'
import { tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import type { Clock } from '../../time.js'
import type { ArrivalDelay } from '../arrival-delay.js'
import type { ActiveChannels } from './active-channels.js'
import { TenantCounters } from './counters.js'

/**
 * The retry time for a quota that is free again only when another client leaves. That time is unknown, and a
 * retry is cheap.
 */
const fullRetryAfterMs = 5_000

export interface TenantQuotaDeps {
  readonly clock: Clock
  readonly log: Log
  /** Counts connections over all gateways, and divides the rates among them. */
  readonly ledger: QuotaLedger
  readonly channels: ActiveChannels
  /** How late input may be that is charged now. */
  readonly arrivalDelay: Pick<ArrivalDelay, 'at'>
}

/**
 * Every check throws a CommandError above a limit. Where the policy does not enforce its quota (`Warn`,
 * `DryRun`), the check counts a refusal and lets the request pass.
 */
export class TenantQuota implements LeaseListener {
  readonly counters = new TenantCounters()
  readonly #deps: TenantQuotaDeps
  readonly #log: LimitedLog
  #policy: TenantPolicy
  readonly #connects: TokenBucket
  readonly #publishes: TokenBucket
  readonly #deliveries: TokenBucket
  /** Holds one connection for each open session, and for each handshake or connect command in progress. */
  readonly #lease: TenantLease
  #closed = false

  constructor(policy: TenantPolicy, deps: TenantQuotaDeps) {
    this.#deps = deps
    this.#log = new LimitedLog(deps.log, deps.clock)
    this.#policy = policy
    this.#lease = deps.ledger.open(policy.tenantId, this)
    const nowMs = deps.clock.monotonicMs()
    const { connects, deliveries, publishes } = this.#bucketLimits()
    this.#connects = new TokenBucket(connects, nowMs)
    this.#publishes = new TokenBucket(publishes, nowMs)
    this.#deliveries = new TokenBucket(deliveries, nowMs)
  }

  /** The number of connections on this gateway. */
  get connections(): number {
    return this.#lease.held
  }

  /** The number of distinct users among the connections on this gateway. */
  get users(): number {
    return this.#lease.users
  }

  /**
   * Applies the limits of a new policy immediately. Connections above a lowered limit stay; see `excessOf`.
   */
  update(policy: TenantPolicy): void {
    this.#policy = policy
    this.counters.keepRules(new Set(policy.channels.map(({ name }) => name)))
    this.sharesChanged()
  }

  /**
   * Throws CONNECTION_LIMIT when one more connection of `user` exceeds a limit in the cluster. Reserves
   * nothing.
   */
  async checkConnection(user: string): Promise<void> {
    const admission = await this.#lease.check(user, this.#policy.limits.connections)
    if (!admission.admitted) this.#exceedConnections(admission)
  }

  /**
   * Reserves one connection for `user`. Throws CONNECTION_LIMIT, QUOTA_EXCEEDED (connects per second), or
   * NOT_FOUND when the tenant was removed meanwhile. The caller calls `release` exactly once after it
   * succeeds, also when the client has left while the other gateways were asked.
   */
  async admit(user: string): Promise<void> {
    // A refused attempt is charged too, because each attempt asks the other gateways.
    this.#chargeConnect()
    for (;;) {
      const limits = this.#policy.limits.connections
      const admission = await this.#lease.acquire(user, limits)
      if (!admission.admitted) {
        this.#exceedConnections(admission)
        this.#lease.reserve(user)
        return
      }
      if (this.#closed) {
        this.#lease.release(user)
        throw new CommandError('NOT_FOUND', `The tenant ${tenantKey(this.#policy)} was removed`)
      }
      const { max, perUser } = this.#policy.limits.connections
      if (max >= limits.max && perUser >= limits.perUser) return
      // The limit was lowered during the wait. The connection is not open yet, so it is checked again.
      this.#lease.release(user)
    }
  }

  /** Releases the connection that `admit` reserved for `user`. */
  release(user: string): void {
    this.#lease.release(user)
  }

  /**
   * Charges one publish to the tenant's rates. Throws QUOTA_EXCEEDED; `channel` is for the message.
   * `delayedMs`: how long the gateway has delayed the publish before this call. Default: what the event loop
   * has delayed.
   */
  chargePublish(channel: string, delayedMs?: number): void {
    const nowMs = this.#deps.clock.monotonicMs()
    const { publishPerSecond, publishBurst, fanoutPerSecond } = this.#policy.limits.messages
    this.#lease.spend('publish', 1)
    const fanoutWaitMs = this.#deliveries.take(0, nowMs)
    if (fanoutWaitMs > 0) {
      this.#exceed(
        'QUOTA_EXCEEDED',
        `Cannot publish to "${channel}": the tenant’s ${fanoutPerSecond} deliveries per second are used`,
        fanoutWaitMs,
      )
    }
    const publishWaitMs = this.#publishes.take(1, nowMs, delayedMs ?? this.#deps.arrivalDelay.at(nowMs))
    if (publishWaitMs > 0) {
      this.#exceed(
        'QUOTA_EXCEEDED',
        `Cannot publish to "${channel}": ${publishPerSecond} of ${publishPerSecond} publications per second (burst ${publishBurst}) are used`,
        publishWaitMs,
      )
    }
  }

  /**
   * Charges the deliveries of one publication. A publication cannot be refused half-way through its delivery:
   * the deliveries go into debt, and publishes are refused until the debt is paid. `filterNodes` is work that
   * delivered nothing, charged like as many deliveries.
   */
  chargeDeliveries(deliveries: number, filterNodes = 0): void {
    const charged = deliveries + filterNodes
    if (charged === 0) return
    this.counters.deliveriesTotal += deliveries
    const nowMs = this.#deps.clock.monotonicMs()
    this.#deliveries.charge(charged, nowMs, this.#deps.arrivalDelay.at(nowMs))
    this.#lease.delivered(charged)
  }

  /** Throws SUBSCRIPTION_LIMIT or CHANNEL_LIMIT when one more subscriber of `channel` exceeds a limit. */
  checkSubscribe(channel: string, used: { ofSession: number; ofChannel: number }): void {
    const limits = this.#policy.limits.channels
    if (used.ofSession >= limits.maxSubscriptionsPerConnection) {
      this.#exceed(
        'SUBSCRIPTION_LIMIT',
        `Cannot subscribe to "${channel}": ${used.ofSession} of ${limits.maxSubscriptionsPerConnection} subscriptions of this connection are used`,
      )
    }
    if (used.ofChannel >= limits.maxSubscribersPerChannel) {
      this.#exceed(
        'SUBSCRIPTION_LIMIT',
        `Cannot subscribe to "${channel}": it has ${used.ofChannel} of ${limits.maxSubscribersPerChannel} subscribers`,
      )
    }
    this.checkChannel(channel)
  }

  /**
   * Throws CHANNEL_LIMIT when `channel` is not active and the tenant has as many active channels as it may
   * have.
   */
  checkChannel(channel: string): void {
    const { channels } = this.#deps
    const { max } = this.#policy.limits.channels
    if (channels.has(channel)) return
    const used = channels.count()
    if (used >= max)
      this.#exceed(
        'CHANNEL_LIMIT',
        `Cannot use "${channel}": ${used} of ${max} channels of the tenant are in use`,
        fullRetryAfterMs,
      )
  }

  /**
   * Returns how many of the `sessions` on this gateway exceed the tenant's connection limit. Each gateway
   * keeps its proportional part of the limit, so that all gateways together keep no more than the limit.
   */
  excessOf(sessions: number): number {
    const onOtherGateways = this.#lease.heldByAll - this.#lease.held
    const part = sessions / Math.max(1, sessions + onOtherGateways)
    return sessions - Math.floor(this.#policy.limits.connections.max * part)
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

  /** Applies this gateway's share of the policy's rates immediately. Tokens that are used stay used. */
  sharesChanged(): void {
    const nowMs = this.#deps.clock.monotonicMs()
    const { connects, deliveries, publishes } = this.#bucketLimits()
    this.#connects.configure(connects, nowMs)
    this.#publishes.configure(publishes, nowMs)
    this.#deliveries.configure(deliveries, nowMs)
  }

  /**
   * The gateways that publish are often not those that deliver, so each gateway counts the deliveries of all.
   */
  deliveredByOthers(deliveries: number): void {
    this.#deliveries.charge(deliveries, this.#deps.clock.monotonicMs())
  }

  /** Closes the tenant's lease. Connections can still be released afterwards. */
  close(): void {
    this.#closed = true
    this.#lease.close()
  }

  #chargeConnect(): void {
    const { connectsPerSecond } = this.#policy.limits.connections
    this.#lease.spend('connect', 1)
    const nowMs = this.#deps.clock.monotonicMs()
    const retryAfterMs = this.#connects.take(1, nowMs, this.#deps.arrivalDelay.at(nowMs))
    if (retryAfterMs > 0) {
      this.#exceed(
        'QUOTA_EXCEEDED',
        `Cannot connect: the tenant’s ${connectsPerSecond} connects per second are used`,
        retryAfterMs,
      )
    }
  }

  #exceedConnections({ limit, share, used }: AdmissionRefusal): void {
    const { max, perUser } = this.#policy.limits.connections
    const detail =
      limit === 'user'
        ? `${used} of ${perUser} connections of this user are used`
        : share === undefined
          ? `${used} of ${max} connections of the tenant are used`
          : `${used} of ${share} connections are used, this gateway’s share of the tenant’s ${max} while the counts of the other gateways are unavailable`
    this.#exceed('CONNECTION_LIMIT', `Cannot connect: ${detail}`, fullRetryAfterMs)
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

  /**
   * Throws where the policy enforces its quota. Otherwise counts a refusal: platform teams try a plan out
   * this way.
   */
  #exceed(code: ErrorCode, message: string, retryAfterMs?: number): void {
    const { enforcement } = this.#policy
    if (enforcement === 'Enforce') throw new CommandError(code, message, { retryAfterMs })
    this.counters.countRefusal(code)
    if (enforcement === 'Warn')
      this.#log.warn(code, { tenant: tenantKey(this.#policy), code }, `over quota, not enforced: ${message}`)
  }
}

/** Leaves at least one whole token a second: a smaller share could never be spent. */
function shareOf({ burst, rate }: BucketLimits, share: number): BucketLimits {
  return {
    rate: Math.max(Math.min(rate, 1), rate * share),
    burst: Math.max(Math.min(burst, 1), Math.floor(burst * share)),
  }
}
