// A tenant's quota on this gateway: admits connections, charges rates, and counts what is used.
import { CommandError } from '../../errors.js'
import { LimitedLog, type Log } from '../../log.js'
import {
  type AdmissionRefusal,
  type ChannelRefusal,
  type ChannelSource,
  type ConnectionLimits,
  type LeaseListener,
  type QuotaLedger,
  type QuotaRate,
  type ReportedRate,
  type TenantLease,
} from '../../quota/ledger.js'
import { guestsMax, tenantKey, type TenantPolicy } from '../../tenant/policy.js'
import { isGuest } from '../../tenant/user.js'
import type { Clock } from '../../time.js'
import type { ArrivalDelay } from '../arrival-delay.js'
import type { ActiveChannels } from './active-channels.js'
import { TenantCounters } from './counters.js'
import { TenantRates, type Excess } from './rates.js'

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
  readonly rates: TenantRates
  readonly channels: ChannelSource
  readonly #log: LimitedLog
  #policy: TenantPolicy
  #connectionLimits: ConnectionLimits
  /** Holds one connection for each open session, and for each handshake or connect command in progress. */
  readonly #lease: TenantLease
  #closed = false

  constructor(policy: TenantPolicy, deps: TenantQuotaDeps) {
    this.#log = new LimitedLog(deps.log, deps.clock)
    this.#policy = policy
    this.#connectionLimits = connectionLimitsOf(policy)
    const { channels, ledger } = deps
    this.channels = {
      count: () => channels.count(),
      useOf: (channel) => channels.useOf(channel),
      channelLimits: () => {
        const { max, maxSubscribersPerChannel } = this.#policy.limits.channels
        return { max, subscribers: maxSubscribersPerChannel }
      },
    }
    this.#lease = ledger.open(policy.tenantId, this)
    channels.onChange = (channel) => this.#lease.channels.changed(channel)
    this.rates = new TenantRates(policy.limits, {
      clock: deps.clock,
      arrivalDelay: deps.arrivalDelay,
      lease: this.#lease,
      counters: this.counters,
      exceed: (excess) => this.#exceed(excess),
    })
  }

  /** The number of connections on this gateway. */
  get connections(): number {
    return this.#lease.held
  }

  /** The number of connections of guests on this gateway. */
  get guests(): number {
    return this.#lease.guests
  }

  /** The largest number of connections of guests, over all gateways. */
  get guestsMax(): number {
    return this.#connectionLimits.guests
  }

  /** The number of channels in use on all gateways, as last known. */
  get channelsByAll(): number {
    return this.#lease.channels.usedByAll
  }

  /** The number of distinct users among the connections on this gateway. */
  get users(): number {
    return this.#lease.users
  }

  /**
   * Applies the limits of a new policy immediately. Connections above a lowered limit stay; see `excessOf`
   * and `guestExcessOf`.
   */
  update(policy: TenantPolicy): void {
    this.#policy = policy
    this.#connectionLimits = connectionLimitsOf(policy)
    this.counters.keepRules(new Set(policy.channels.map(({ name }) => name)))
    this.sharesChanged()
  }

  /**
   * Throws CONNECTION_LIMIT when one more connection of `user` exceeds a limit in the cluster. Reserves
   * nothing.
   */
  async checkConnection(user: string): Promise<void> {
    const admission = await this.#lease.check(user, this.#connectionLimits)
    if (!admission.admitted) this.#exceedConnections(admission)
  }

  /**
   * Reserves one connection for `user`. Throws CONNECTION_LIMIT, QUOTA_EXCEEDED (connects per second), or
   * NOT_FOUND when the tenant was removed meanwhile. The caller calls `release` exactly once after it
   * succeeds, also when the client has left while the other gateways were asked.
   */
  async admit(user: string): Promise<void> {
    // A refused attempt is charged too, because each attempt asks the other gateways.
    this.rates.chargeConnect({ guest: isGuest(user) })
    for (;;) {
      const limits = this.#connectionLimits
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
      const { guests, max, perUser } = this.#connectionLimits
      if (max >= limits.max && perUser >= limits.perUser && guests >= limits.guests) return
      // The limit was lowered during the wait. The connection is not open yet, so it is checked again.
      this.#lease.release(user)
    }
  }

  /** Releases the connection that `admit` reserved for `user`. */
  release(user: string): void {
    this.#lease.release(user)
  }

  /**
   * Throws SUBSCRIPTION_LIMIT or CHANNEL_LIMIT when one more subscription to `channel` exceeds a limit.
   * `ofSession`: the subscriptions of the connection. When the other gateways must be asked, it returns a
   * promise, which rejects with the same errors. The caller adds the subscriber to the active channels in
   * this turn, and removes it when the promise rejects.
   */
  admitSubscriber(channel: string, { ofSession }: { ofSession: number }): Promise<void> | undefined {
    const { maxSubscriptionsPerConnection } = this.#policy.limits.channels
    if (ofSession >= maxSubscriptionsPerConnection) {
      this.#exceed({
        code: 'SUBSCRIPTION_LIMIT',
        limit: 'channels.maxSubscriptionsPerConnection',
        message: `Cannot subscribe to "${channel}": ${ofSession} of ${maxSubscriptionsPerConnection} subscriptions of this connection are used`,
      })
    }
    return this.#admitChannel(channel, { subscribe: true })
  }

  /**
   * Throws CHANNEL_LIMIT when a publication with history would exceed the tenant's number of channels. When
   * the other gateways must be asked, it returns a promise, which rejects with the same error.
   */
  admitHistory(channel: string): Promise<void> | undefined {
    return this.#admitChannel(channel, { subscribe: false })
  }

  /**
   * Throws STORAGE_LIMIT when the tenant's histories occupy as much as they may. `storedBytes`: what they
   * occupy, undefined when it is not known.
   */
  checkStored(channel: string, storedBytes: number | undefined): void {
    const max = this.#policy.limits.retention.storedBytes
    if (storedBytes === undefined || storedBytes < max) return
    this.#exceed({
      code: 'STORAGE_LIMIT',
      limit: 'retention.storedBytes',
      message: `Cannot publish to "${channel}": the tenant’s histories occupy ${storedBytes} of ${max} bytes. Wait until publications expire, remove the history of channels, or shorten it in the channel rules`,
      retryAfterMs: fullRetryAfterMs,
    })
  }

  /**
   * Returns how many of the `sessions` on this gateway exceed the tenant's connection limit. Each gateway
   * keeps its proportional part of the limit, so that all gateways together keep no more than the limit.
   */
  excessOf(sessions: number): number {
    return excessIn(sessions, this.#lease.heldByAll - this.#lease.held, this.#connectionLimits.max)
  }

  /** Does the same for the sessions of guests and the guests' share. */
  guestExcessOf(sessions: number): number {
    return excessIn(sessions, this.#lease.guestsByAll - this.#lease.guests, this.#connectionLimits.guests)
  }

  perSecond(rate: QuotaRate): number {
    return this.rates.perSecond(rate)
  }

  sharesChanged(): void {
    this.rates.configure(this.#policy.limits)
  }

  usedByOthers(rate: ReportedRate, amount: number): void {
    this.rates.usedByOthers(rate, amount)
  }

  /** Closes the tenant's lease. Connections can still be released afterwards. */
  close(): void {
    this.#closed = true
    this.#lease.close()
  }

  #admitChannel(channel: string, options: { subscribe: boolean }): Promise<void> | undefined {
    const answer = this.#lease.channels.admit(channel, options)
    if (answer instanceof Promise) return answer.then((refusal) => this.#settle(channel, refusal))
    this.#settle(channel, answer)
    return undefined
  }

  #settle(channel: string, refusal: ChannelRefusal | undefined): void {
    if (!refusal) return
    const { max, maxSubscribersPerChannel } = this.#policy.limits.channels
    this.#exceed(
      refusal.limit === 'max'
        ? {
            code: 'CHANNEL_LIMIT',
            limit: 'channels.max',
            message: `Cannot use "${channel}": ${refusal.used} of ${max} channels of the tenant are in use`,
            retryAfterMs: fullRetryAfterMs,
          }
        : {
            code: 'SUBSCRIPTION_LIMIT',
            limit: 'channels.maxSubscribersPerChannel',
            message: `Cannot subscribe to "${channel}": it has ${refusal.used} of ${maxSubscribersPerChannel} subscribers`,
          },
    )
    this.#lease.channels.count(channel)
  }

  #exceedConnections({ limit, share, used }: AdmissionRefusal): void {
    const { guests, max, perUser } = this.#connectionLimits
    const away = 'while the counts of the other gateways are unavailable'
    const [name, detail] = {
      user: ['perUser', `${used} of ${perUser} connections of this user are used`],
      guests: [
        'guests',
        share === undefined
          ? `guests use ${used} of their ${guests} connections`
          : `guests use ${used} of ${share} connections, this gateway’s share of their ${guests} ${away}`,
      ],
      tenant: [
        'max',
        share === undefined
          ? `${used} of ${max} connections of the tenant are used`
          : `${used} of ${share} connections are used, this gateway’s share of the tenant’s ${max} ${away}`,
      ],
    }[limit]
    this.#exceed({
      code: 'CONNECTION_LIMIT',
      limit: `connections.${name}`,
      message: `Cannot connect: ${detail}`,
      retryAfterMs: fullRetryAfterMs,
    })
  }

  /**
   * Throws where the policy enforces its quota. Otherwise counts a refusal: platform teams try a plan out
   * this way.
   */
  #exceed({ code, limit, message, retryAfterMs }: Excess): void {
    const { enforcement } = this.#policy
    this.counters.countExcess(limit)
    if (enforcement === 'Enforce') throw new CommandError(code, message, { retryAfterMs })
    this.counters.countRefusal(code)
    if (enforcement === 'Warn')
      this.#log.warn(code, { tenant: tenantKey(this.#policy), code }, `over quota, not enforced: ${message}`)
  }
}

function connectionLimitsOf({ limits: { connections } }: TenantPolicy): ConnectionLimits {
  const { max, perUser } = connections
  return { max, perUser, guests: guestsMax(connections) }
}

/** Returns how many of `here` exceed this gateway's proportional part of a limit on all gateways. */
function excessIn(here: number, others: number, limit: number): number {
  return here - Math.floor((limit * here) / Math.max(1, here + others))
}
