// The rates of one tenant on this gateway. A rate of `sharedRates` is refused above this gateway's share of
// it. A rate of `reportedRates` is work that is charged after it is done, on all gateways; while it is in
// debt, what would cause more of it is refused.
import type { ErrorCode } from '../../errors.js'
import {
  reportedRates,
  sharedRates,
  type QuotaRate,
  type ReportedRate,
  type SharedRate,
  type TenantLease,
} from '../../quota/ledger.js'
import { retryAfterMsMax, TokenBucket, type BucketLimits } from '../../quota/token-bucket.js'
import type { Limits } from '../../tenant/policy.js'
import type { Clock } from '../../time.js'
import type { ArrivalDelay } from '../arrival-delay.js'
import type { TenantCounters } from './counters.js'

/** After an idle time, a tenant may read as much at once as in this number of seconds. */
const readBurstSeconds = 5

/** A read of more entries or bytes than these counts as several. */
const entriesPerRead = 50
const bytesPerRead = 65_536

/** The limit in the policy that belongs to a rate, as `<group>.<name>`, for messages and metrics. */
const limitNames: Readonly<Record<QuotaRate, string>> = {
  publish: 'messages.publishPerSecond',
  connect: 'connections.connectsPerSecond',
  join: 'messages.joinsPerSecond',
  read: 'messages.readsPerSecond',
  api: 'api.requestsPerSecond',
  delivery: 'messages.fanoutPerSecond',
  bytesOut: 'messages.bytesOutPerSecond',
}

/** The limit that a request exceeds, and the answer to it. */
export interface Excess {
  readonly code: ErrorCode
  /** The name of the limit in the policy, such as `messages.readsPerSecond`. */
  readonly limit: string
  readonly message: string
  readonly retryAfterMs?: number | undefined
}

export interface TenantRatesDeps {
  readonly clock: Clock
  readonly arrivalDelay: Pick<ArrivalDelay, 'at'>
  readonly lease: TenantLease
  readonly counters: TenantCounters
  /** Throws where the policy enforces its quota, and counts the excess otherwise. */
  readonly exceed: (excess: Excess) => void
}

/**
 * Every charge that may refuse throws QUOTA_EXCEEDED, unless the policy does not enforce its quota.
 * `delayedMs` is how long the gateway has delayed the request; default: what the event loop has delayed.
 */
export class TenantRates {
  readonly #deps: TenantRatesDeps
  readonly #buckets: Readonly<Record<QuotaRate, TokenBucket>>
  readonly #guestConnects: TokenBucket
  #limits: Limits

  constructor(limits: Limits, deps: TenantRatesDeps) {
    this.#deps = deps
    this.#limits = limits
    const nowMs = deps.clock.monotonicMs()
    const bucket = (rate: QuotaRate): TokenBucket => new TokenBucket(this.#bucketLimits(rate), nowMs)
    this.#buckets = {
      publish: bucket('publish'),
      connect: bucket('connect'),
      join: bucket('join'),
      read: bucket('read'),
      api: bucket('api'),
      delivery: bucket('delivery'),
      bytesOut: bucket('bytesOut'),
    }
    this.#guestConnects = new TokenBucket(halfOf(this.#bucketLimits('connect')), nowMs)
  }

  /** Returns the tenant's limit per second, over all gateways. */
  perSecond(rate: QuotaRate): number {
    return limitsOf(this.#limits, rate).rate
  }

  /** Applies new limits, and this gateway's shares of them, immediately. Tokens that are used stay used. */
  configure(limits: Limits): void {
    this.#limits = limits
    const nowMs = this.#deps.clock.monotonicMs()
    for (const rate of [...sharedRates, ...reportedRates])
      this.#buckets[rate].configure(this.#bucketLimits(rate), nowMs)
    this.#guestConnects.configure(halfOf(this.#bucketLimits('connect')), nowMs)
  }

  /** Charges one attempt to connect. Guests may use half of the rate; the rest is for signed-in users. */
  chargeConnect({ guest }: { guest: boolean }): void {
    if (guest) {
      const nowMs = this.#deps.clock.monotonicMs()
      const waitMs = this.#guestConnects.take(1, nowMs, this.#deps.arrivalDelay.at(nowMs))
      // Such an attempt is no demand for the rate: it would move the share of signed-in users on other
      // gateways to this one.
      if (waitMs > 0)
        return this.#exceed(
          'connect',
          waitMs,
          'Cannot connect: guests may use half of the tenant’s {n} connects per second, which is used',
        )
    }
    this.#take('connect', 'Cannot connect', 'the tenant’s {n} connects per second are used')
  }

  /** Most commands are publishes, so this reads the clock once, and builds a message for a refusal only. */
  chargePublish(channel: string, delayedMs?: number): void {
    const { arrivalDelay, clock, lease } = this.#deps
    lease.spend('publish', 1)
    const nowMs = clock.monotonicMs()
    const arrivalMs = arrivalDelay.at(nowMs)
    for (const rate of reportedRates) {
      const debtMs = this.#buckets[rate].charge(0, nowMs, arrivalMs)
      if (debtMs > 0) this.#exceedDebt(rate, debtMs, `Cannot publish to "${channel}"`)
    }
    const waitMs = this.#buckets.publish.take(1, nowMs, delayedMs ?? arrivalMs)
    if (waitMs > 0)
      this.#exceed(
        'publish',
        waitMs,
        `Cannot publish to "${channel}": {n} of {n} publications per second (burst ${this.#limits.messages.publishBurst}) are used`,
      )
  }

  /** Charges one subscription that begins. */
  chargeJoin(channel: string, delayedMs?: number): void {
    this.#deps.counters.joinsTotal += 1
    this.#take(
      'join',
      `Cannot subscribe to "${channel}"`,
      'the tenant’s {n} subscriptions per second are used',
      delayedMs,
    )
  }

  /**
   * Charges the subscriptions that a connection begins with, all or none: they go into debt, and are refused
   * while an earlier debt is not paid.
   */
  chargeJoins(subscriptions: number): void {
    if (subscriptions === 0) return
    this.#deps.lease.spend('join', subscriptions)
    this.#requireNoDebt('join', `Cannot connect with ${subscriptions} subscriptions`)
    this.#deps.counters.joinsTotal += subscriptions
    this.#charge('join', subscriptions)
  }

  /**
   * Charges one subscription that the server begins later, because the rate is used up. Returns the time to
   * wait in milliseconds. Each call returns the next turn, so that waiting subscriptions do not compete. With
   * a rate of 0 it charges nothing, and the caller asks again after the wait.
   */
  reserveJoin(): { readonly waitMs: number; readonly reserved: boolean } {
    if (this.perSecond('join') === 0) return { waitMs: retryAfterMsMax, reserved: false }
    return { waitMs: this.#charge('join', 1), reserved: true }
  }

  /** Charges one read of history or presence, before it is done. `action` is for the message. */
  chargeRead(action: string, delayedMs?: number): void {
    this.#deps.counters.readsTotal += 1
    this.#requireNoDebt('bytesOut', action)
    this.#take('read', action, 'the tenant’s {n} reads per second are used', delayedMs)
  }

  /**
   * Charges a read that is part of a connection's own subscriptions: it goes into debt. The caller has
   * checked `requireReads` when the connection began.
   */
  chargeReadLater(): void {
    this.#deps.counters.readsTotal += 1
    this.#deps.lease.spend('read', 1)
    this.#charge('read', 1)
  }

  /** Throws while reads are in debt. */
  requireReads(action: string): void {
    this.#requireNoDebt('read', action)
  }

  /** Charges what a read has found: each 50 entries, or 64 KiB, beyond the first count as one more read. */
  chargeReadSize(entries: number, bytes: number): void {
    const more = Math.max(Math.ceil(entries / entriesPerRead), Math.ceil(bytes / bytesPerRead)) - 1
    if (more <= 0) return
    this.#deps.lease.spend('read', more)
    this.#charge('read', more)
  }

  /** Charges one call of the server API that costs as much as `cost` calls. */
  chargeApi(method: string, cost = 1): void {
    this.#deps.counters.apiRequestsTotal += 1
    this.#take('api', `Cannot call ${method}`, 'the tenant’s {n} API requests per second are used')
    if (cost <= 1) return
    this.#deps.lease.spend('api', cost - 1)
    this.#charge('api', cost - 1)
  }

  /**
   * Charges the deliveries of one publication. They cannot be refused half-way, so they go into debt. `other`
   * is work that is charged like as many deliveries and not counted as such: evaluated nodes of filters, and
   * announced joins and leaves.
   */
  chargeDeliveries(deliveries: number, other = 0): void {
    const charged = deliveries + other
    if (charged === 0) return
    this.#deps.counters.deliveriesTotal += deliveries
    this.#charge('delivery', charged)
    this.#deps.lease.report('delivery', charged)
  }

  /** Charges bytes that were sent to a client of the tenant. */
  chargeBytesOut(bytes: number): void {
    this.#deps.counters.bytesOutTotal += bytes
    this.#charge('bytesOut', bytes)
    this.#deps.lease.report('bytesOut', bytes)
  }

  /** Whether more was delivered, or more bytes were sent, than the rates allow. */
  get inDebt(): boolean {
    return reportedRates.some((rate) => this.#charge(rate, 0) > 0)
  }

  /** The gateways that publish are often not those that deliver, so each gateway charges the work of all. */
  usedByOthers(rate: ReportedRate, amount: number): void {
    this.#charge(rate, amount)
  }

  #take(rate: SharedRate, action: string, detail: string, delayedMs?: number): void {
    this.#deps.lease.spend(rate, 1)
    const waitMs = this.#wait(rate, delayedMs)
    if (waitMs > 0) this.#exceed(rate, waitMs, `${action}: ${detail}`)
  }

  #wait(rate: SharedRate, delayedMs?: number): number {
    const nowMs = this.#deps.clock.monotonicMs()
    return this.#buckets[rate].take(1, nowMs, delayedMs ?? this.#deps.arrivalDelay.at(nowMs))
  }

  /** Goes into debt if necessary. Returns the time until the debt is paid; 0: there is none. */
  #charge(rate: QuotaRate, amount: number): number {
    const nowMs = this.#deps.clock.monotonicMs()
    return this.#buckets[rate].charge(amount, nowMs, this.#deps.arrivalDelay.at(nowMs))
  }

  #requireNoDebt(rate: QuotaRate, action: string): void {
    const waitMs = this.#charge(rate, 0)
    if (waitMs > 0) this.#exceedDebt(rate, waitMs, action)
  }

  #exceedDebt(rate: QuotaRate, waitMs: number, action: string): void {
    this.#exceed(rate, waitMs, `${action}: the tenant’s {n} ${debtNouns[rate]} per second are used`)
  }

  #exceed(rate: QuotaRate, retryAfterMs: number, message: string): void {
    this.#deps.exceed({
      code: 'QUOTA_EXCEEDED',
      limit: limitNames[rate],
      message: message.replaceAll('{n}', String(this.perSecond(rate))),
      retryAfterMs,
    })
  }

  #bucketLimits(rate: QuotaRate): BucketLimits {
    const limits = limitsOf(this.#limits, rate)
    return isShared(rate) ? shareOf(limits, this.#deps.lease.share(rate)) : limits
  }
}

const debtNouns: Readonly<Record<QuotaRate, string>> = {
  publish: 'publications',
  connect: 'connects',
  join: 'subscriptions',
  read: 'reads',
  api: 'API requests',
  delivery: 'deliveries',
  bytesOut: 'bytes to clients',
}

function limitsOf({ api, connections, messages }: Limits, rate: QuotaRate): BucketLimits {
  switch (rate) {
    case 'publish':
      return { rate: messages.publishPerSecond, burst: messages.publishBurst }
    case 'connect':
      return evenly(connections.connectsPerSecond)
    case 'join':
      return evenly(messages.joinsPerSecond)
    case 'read':
      return { rate: messages.readsPerSecond, burst: messages.readsPerSecond * readBurstSeconds }
    case 'api':
      return evenly(api.requestsPerSecond)
    case 'delivery':
      return evenly(messages.fanoutPerSecond)
    case 'bytesOut':
      return evenly(messages.bytesOutPerSecond)
  }
}

function evenly(perSecond: number): BucketLimits {
  return { rate: perSecond, burst: perSecond }
}

function isShared(rate: QuotaRate): rate is SharedRate {
  return sharedRates.some((shared) => shared === rate)
}

/** The burst stays one whole token where it was one: half a token could never be spent. */
function halfOf({ burst, rate }: BucketLimits): BucketLimits {
  return { rate: rate / 2, burst: Math.max(Math.min(burst, 1), Math.floor(burst / 2)) }
}

/** Leaves at least one whole token a second: a smaller share could never be spent. */
function shareOf({ burst, rate }: BucketLimits, share: number): BucketLimits {
  return {
    rate: Math.max(Math.min(rate, 1), rate * share),
    burst: Math.max(Math.min(burst, 1), Math.floor(burst * share)),
  }
}
