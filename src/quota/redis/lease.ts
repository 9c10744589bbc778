// One tenant's quota on one gateway, as the ledger on Redis keeps it: the connections counted here, the
// changes that are not written to Redis yet, and the demand for the shared rates.
import { ConnectionCounts } from '../connection-counts.js'
import type {
  Admission,
  AdmissionRefusal,
  ConnectionLimits,
  LeaseListener,
  QuotaRate,
  SharedRate,
  TenantLease,
} from '../ledger.js'
import { idlePerSecond, RateShares } from './rate-shares.js'

/** What a lease needs of its ledger. */
export interface LedgerPort {
  /** Returns the number of gateways of the installation, as last known; at least 1. */
  gateways(): number
  nowMs(): number
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
  readonly sinceMs: number
  readonly answer: (admission: Admission) => void
}

/** One write of the current counts. A lost update is written again. */
export interface CountsUpdate {
  readonly held: number
  /** Redis first forgets all users that it counts for this gateway. */
  readonly reset: boolean
  /** Users and their numbers of connections. */
  readonly users: readonly (readonly [user: string, connections: number])[]
}

/**
 * The most changed users that a lease remembers while Redis is unavailable. With more it writes all its users
 * again.
 */
const changedMax = 50_000

export class RedisLease implements TenantLease {
  readonly tenantId: string
  readonly rates = new RateShares()
  listener: LeaseListener | undefined
  /** When the last rewrite of all users began. */
  refreshedMs: number
  readonly #port: LedgerPort
  readonly #counts = new ConnectionCounts()
  /** Users for whom Redis may have another number. */
  readonly #changed = new Set<string>()
  /** The users that a rewrite still has to write, although they are not known to have changed. */
  #rewriting: IterableIterator<string> | undefined
  #countChanged = false
  #resetDue = false
  /** Redis may count connections for this gateway. */
  #mayBeCounted = false
  #heldByOthers = 0
  #pendingRequests = 0

  constructor(tenantId: string, options: { port: LedgerPort; listener: LeaseListener }) {
    this.tenantId = tenantId
    this.listener = options.listener
    this.#port = options.port
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
    return this.#counts.held + this.#heldByOthers
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
    const nowMs = this.#port.nowMs()
    if (this.rates.spend(rate, n, { nowMs, idleBelow: this.#idleBelow(rate) }))
      this.#port.scheduleExchange(this)
  }

  delivered(n: number): void {
    this.rates.delivered(n)
  }

  close(): void {
    this.listener = undefined
  }

  // ——— For the ledger ———

  /** Whether the lease is closed and nothing of it is left to count, write or answer. */
  get done(): boolean {
    return this.listener === undefined && this.held === 0 && !this.unwritten && this.#pendingRequests === 0
  }

  get unwritten(): boolean {
    return this.#countChanged || this.#rewriting !== undefined || this.#changed.size > 0
  }

  /** Ends one window of the rates. Returns true when they should be exchanged. */
  endRateWindow(nowMs: number): boolean {
    return this.rates.endWindow(nowMs, (rate) => this.#idleBelow(rate))
  }

  /**
   * Schedules a write of all users. `reset`: what Redis has of this gateway may be stale and is removed
   * first.
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
   * Takes the next update, with at most `usersMax` users. Those of `first` come first, if they have changed.
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
    const update = { held: this.held, reset: this.#resetDue, users: [...users] }
    this.#countChanged = false
    this.#resetDue = false
    return update
  }

  /** Takes a lost update back, so that the next ones write it again. */
  updateLost({ reset, users }: CountsUpdate): void {
    for (const [user] of users) this.#changed.add(user)
    this.#resetDue ||= reset
    this.#countChanged = true
  }

  setHeldByOthers(connections: number): void {
    this.#heldByOthers = connections
  }

  /** Records that Redis is asked to reserve a connection. */
  markRequested(): void {
    this.#mayBeCounted = true
  }

  /** Counts a connection that Redis has reserved. */
  granted(user: string): void {
    this.#counts.add(user)
  }

  /** Corrects Redis, which may have reserved a connection that is not used. */
  releaseUnused(user: string): void {
    this.#markChanged(user)
  }

  /**
   * Compares with this gateway's equal part of the tenant's connections. Undefined: the part has room for one
   * more connection besides `before` others.
   */
  localRefusal({ limits }: AdmissionRequest, before = 0): AdmissionRefusal | undefined {
    const part = Math.ceil(limits.max / this.#port.gateways())
    const used = this.held + before
    if (used < part) return undefined
    const refusal: AdmissionRefusal = { admitted: false, limit: 'tenant', used }
    return part === limits.max ? refusal : { ...refusal, share: part }
  }

  /**
   * Decides without Redis: this gateway may use an equal part of the tenant's connections, and a user as many
   * as this gateway counts free.
   */
  decideLocally(request: AdmissionRequest): Admission {
    const { limits, reserve, user } = request
    const refusal = this.localRefusal(request)
    if (refusal) return refusal
    const admission = this.#counts.check(user, { max: Infinity, perUser: limits.perUser })
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
