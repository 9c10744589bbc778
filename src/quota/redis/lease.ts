// The lease of one tenant's quota on one gateway, for the ledger on Redis: the connections of this gateway,
// the changes that are not written to Redis yet, and the demand for the shared rates.
import { isGuest } from '../../tenant/user.js'
import { ConnectionCounts } from '../connection-counts.js'
import {
  type Admission,
  type AdmissionRefusal,
  type ConnectionLimits,
  type LeaseListener,
  type QuotaRate,
  type ReportedRate,
  type SharedRate,
  type TenantLease,
} from '../ledger.js'
import type { RedisChannelLease } from './channel-lease.js'
import { idlePerSecond, RateShares, type SpendReadings } from './rate-shares.js'

/** The interface through which a lease uses its ledger. */
export interface LedgerPort {
  /** Returns the number of gateways of the installation, as last known; at least 1. */
  gateways(): number
  /** Returns the time in milliseconds of the monotonic clock. */
  nowMs(): number
  /** Requests an admission from Redis. */
  submit(request: AdmissionRequest): void
  /** Schedules a write of the connections that this lease counts. */
  scheduleWrite(lease: RedisLease): void
  /** Schedules an exchange of the rates of this lease. */
  scheduleExchange(lease: RedisLease): void
}

/** A request for a connection that waits for Redis. */
export interface AdmissionRequest {
  readonly lease: RedisLease
  readonly user: string
  readonly limits: ConnectionLimits
  /** False: the request only checks the limits. */
  readonly reserve: boolean
  /** When the request was created, in milliseconds of the monotonic clock. */
  readonly sinceMs: number
  readonly answer: (admission: Admission) => void
}

/** One write of the current counts. The lease writes a lost update again. */
export interface CountsUpdate {
  readonly held: number
  readonly guests: number
  /** True: Redis first removes all users that it counts for this gateway. */
  readonly reset: boolean
  /** Users and their numbers of connections. */
  readonly users: readonly (readonly [user: string, connections: number])[]
}

/** Connections of all users, and of the guests among them. */
export interface ConnectionTotals {
  readonly held: number
  readonly guests: number
}

const none: ConnectionTotals = { held: 0, guests: 0 }

/** Returns the totals with one more connection of the user. */
export function plusOne(user: string, { guests, held }: ConnectionTotals = none): ConnectionTotals {
  return { held: held + 1, guests: guests + (isGuest(user) ? 1 : 0) }
}

/**
 * The most changed users that a lease records while Redis is unavailable. With more changed users it writes
 * all users again.
 */
const changedMax = 50_000

export class RedisLease implements TenantLease {
  readonly tenantId: string
  readonly rates = new RateShares()
  readonly channels: RedisChannelLease
  listener: LeaseListener | undefined
  /** When the last rewrite of all users began, in milliseconds of the monotonic clock. */
  refreshedMs: number
  readonly #port: LedgerPort
  readonly #counts = new ConnectionCounts()
  /** The users for whom Redis may have another number. */
  readonly #changed = new Set<string>()
  /** The users that a rewrite still has to write, although they are not known to have changed. */
  #rewriting: IterableIterator<string> | undefined
  #countChanged = false
  #resetDue = false
  /** True when Redis may count connections for this gateway. */
  #mayBeCounted = false
  #others = none
  #pendingRequests = 0
  readonly #spending: SpendReadings

  constructor(
    tenantId: string,
    options: { port: LedgerPort; listener: LeaseListener; channels: RedisChannelLease },
  ) {
    this.tenantId = tenantId
    this.channels = options.channels
    this.listener = options.listener
    this.#port = options.port
    this.#spending = { nowMs: () => options.port.nowMs(), idleBelow: (rate) => this.#idleBelow(rate) }
    this.refreshedMs = options.port.nowMs()
  }

  // ——— For the tenant ———

  get held(): number {
    return this.#counts.held
  }

  get users(): number {
    return this.#counts.users
  }

  get heldByAll(): number {
    return this.#counts.held + this.#others.held
  }

  get guests(): number {
    return this.#counts.guests
  }

  get guestsByAll(): number {
    return this.#counts.guests + this.#others.guests
  }

  acquire(user: string, limits: ConnectionLimits): Promise<Admission> {
    return this.#request(user, { limits, reserve: true })
  }

  check(user: string, limits: ConnectionLimits): Promise<Admission> {
    return this.#request(user, { limits, reserve: false })
  }

  reserve(user: string): void {
    this.#counts.add(user)
    this.#markChanged(user)
  }

  release(user: string): void {
    this.#counts.remove(user)
    this.#markChanged(user)
  }

  share(rate: SharedRate): number {
    return this.rates.share(rate) ?? 1 / this.#port.gateways()
  }

  spend(rate: SharedRate, n: number): void {
    if (this.rates.spend(rate, n, this.#spending)) this.#port.scheduleExchange(this)
  }

  report(rate: ReportedRate, n: number): void {
    this.rates.report(rate, n)
  }

  close(): void {
    this.listener = undefined
    this.channels.source = undefined
  }

  // ——— For the ledger ———

  /** Opens a lease again that was closed and still counts connections. */
  reopen(listener: LeaseListener): void {
    this.listener = listener
    this.channels.source = listener.channels
  }

  /** Whether the lease is closed, has no connection, and has nothing left to write or answer. */
  get done(): boolean {
    return this.listener === undefined && this.held === 0 && !this.unwritten && this.#pendingRequests === 0
  }

  /** Whether there are changes that are not written to Redis. */
  get unwritten(): boolean {
    return this.#countChanged || this.#rewriting !== undefined || this.#changed.size > 0
  }

  /** Ends one measurement window of the rates. Returns true when the rates should be exchanged. */
  endRateWindow(nowMs: number): boolean {
    return this.rates.endWindow(nowMs, (rate) => this.#idleBelow(rate))
  }

  /**
   * Schedules a write of all users. `reset`: removes the users that Redis has of this gateway first, because
   * they may be stale.
   */
  rewriteAll({ reset }: { reset: boolean }): void {
    if (!this.#mayBeCounted && !this.unwritten) return
    this.refreshedMs = this.#port.nowMs()
    this.#countChanged = true
    this.#resetDue ||= reset
    this.#rewriting = this.#counts.names()
    this.#port.scheduleWrite(this)
  }

  /**
   * Returns the next update, with at most `usersMax` users, and marks it as written. Changed users of `first`
   * come first.
   */
  takeUpdate(usersMax: number, first: Iterable<string> = []): CountsUpdate {
    const users = new Map<string, number>()
    const add = (user: string): void => void users.set(user, this.#counts.of(user))
    for (const source of [first, this.#changed]) {
      for (const user of source) {
        if (users.size === usersMax) break
        if (this.#changed.delete(user)) add(user)
      }
    }
    while (this.#rewriting && users.size < usersMax) {
      const next = this.#rewriting.next()
      if (next.done === true) this.#rewriting = undefined
      else add(next.value)
    }
    const update = { held: this.held, guests: this.guests, reset: this.#resetDue, users: [...users] }
    this.#countChanged = false
    this.#resetDue = false
    return update
  }

  /** Marks the content of a lost update as changed, so that the next updates write it again. */
  updateLost({ reset, users }: CountsUpdate): void {
    for (const [user] of users) this.#changed.add(user)
    this.#resetDue ||= reset
    this.#countChanged = true
  }

  /** Sets the connections on the other gateways. */
  setOthers(totals: ConnectionTotals): void {
    this.#others = totals
  }

  /** Records that a request to reserve a connection was sent to Redis. */
  markRequested(): void {
    this.#mayBeCounted = true
  }

  /** Counts a connection that Redis has reserved. */
  granted(user: string): void {
    this.#counts.add(user)
  }

  /** Schedules a correction of Redis, which may have reserved a connection that is not used. */
  releaseUnused(user: string): void {
    this.#markChanged(user)
  }

  /**
   * Checks this gateway's equal part of the tenant's connections, and for a guest its equal part of the
   * guests' connections. Returns undefined when there is room for one more connection in addition to `before`
   * others, otherwise the refusal.
   */
  localRefusal(
    { limits, user }: AdmissionRequest,
    before: ConnectionTotals = none,
  ): AdmissionRefusal | undefined {
    return (
      this.#refusalAbovePart('tenant', limits.max, this.held + before.held) ??
      (isGuest(user)
        ? this.#refusalAbovePart('guests', limits.guests, this.guests + before.guests)
        : undefined)
    )
  }

  #refusalAbovePart(
    limit: AdmissionRefusal['limit'],
    most: number,
    used: number,
  ): AdmissionRefusal | undefined {
    const part = Math.ceil(most / this.#port.gateways())
    if (used < part) return undefined
    const refusal: AdmissionRefusal = { admitted: false, limit, used }
    return part === most ? refusal : { ...refusal, share: part }
  }

  /**
   * Decides without Redis: this gateway may use its equal part of the tenant's connections, and a user may
   * use the connections that are free according to this gateway's own count.
   */
  decideLocally(request: AdmissionRequest): Admission {
    const { limits, reserve, user } = request
    const refusal = this.localRefusal(request)
    if (refusal) return refusal
    const admission = this.#counts.check(user, { ...limits, max: Infinity, guests: Infinity })
    if (admission.admitted && reserve) this.reserve(user)
    return admission
  }

  #request(
    user: string,
    { limits, reserve }: { limits: ConnectionLimits; reserve: boolean },
  ): Promise<Admission> {
    this.#pendingRequests += 1
    return new Promise((resolve) => {
      const answer = (admission: Admission): void => {
        this.#pendingRequests -= 1
        resolve(admission)
      }
      this.#port.submit({ lease: this, user, limits, reserve, sinceMs: this.#port.nowMs(), answer })
    })
  }

  #idleBelow(rate: QuotaRate): number {
    return idlePerSecond(this.listener?.perSecond(rate) ?? 0, this.#port.gateways())
  }

  #markChanged(user: string): void {
    this.#mayBeCounted = true
    this.#changed.add(user)
    this.#countChanged = true
    if (this.#changed.size > changedMax) {
      this.#changed.clear()
      this.rewriteAll({ reset: true })
    }
    this.#port.scheduleWrite(this)
  }
}
