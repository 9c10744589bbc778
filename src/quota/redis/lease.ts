// One tenant's quota on one gateway, as the ledger on Redis keeps it: the places here, what Redis has yet to be told of them, and who waits.
import { Places } from '../connection-counts.js'
import { quietPerSecond, RateWishes } from './rate-shares.js'
import type {
  Admission,
  ConnectionLimits,
  LeaseListener,
  QuotaRate,
  Refusal,
  SharedRate,
  TenantLease,
} from '../ledger.js'

/** What a lease needs of its ledger. */
export interface LeaseDesk {
  /** Gateways of the installation, as last known; at least 1. */
  gateways(): number
  nowMs(): number
  submit(ask: Ask): void
  /** It has something to write. */
  toWrite(lease: RedisLease): void
  /** Its rates are to be told. */
  toExchange(lease: RedisLease): void
}

/** A question for a place that waits for Redis. */
export interface Ask {
  readonly lease: RedisLease
  readonly user: string
  readonly limits: ConnectionLimits
  /** False: only looking. */
  readonly take: boolean
  readonly sinceMs: number
  readonly answer: (admission: Admission) => void
}

/** A part of how things are, to be written; lost, it is written again. */
export interface PlacesPart {
  readonly held: number
  /** What Redis has of this gateway's users is to be forgotten first. */
  readonly afresh: boolean
  /** Users and their places. */
  readonly users: readonly (readonly [user: string, places: number])[]
}

/** Users who went while Redis was away are forgotten above so many, and Redis with them: it is told all anew. */
const changedMax = 50_000

export class RedisLease implements TenantLease {
  readonly tenantId: string
  readonly rates = new RateWishes()
  listener: LeaseListener | undefined
  /** When all was last begun to be written. */
  refreshedMs: number
  readonly #desk: LeaseDesk
  readonly #places = new Places()
  /** Users of whom Redis may have another number. */
  readonly #changed = new Set<string>()
  /** Users that are still to be written although nothing is known to have changed. */
  #repeated: IterableIterator<string> | undefined
  #countChanged = false
  #afresh = false
  /** Redis may know this gateway as one that holds places. */
  #known = false
  #elsewhere = 0
  #asking = 0

  constructor(tenantId: string, options: { desk: LeaseDesk; listener: LeaseListener }) {
    this.tenantId = tenantId
    this.listener = options.listener
    this.#desk = options.desk
    this.refreshedMs = options.desk.nowMs()
  }

  // ——— What tenants see ———

  get held(): number {
    return this.#places.held
  }

  get users(): number {
    return this.#places.users
  }

  get heldByAll(): number {
    return this.#places.held + this.#elsewhere
  }

  acquire(user: string, limits: ConnectionLimits): Promise<Admission> {
    return this.#ask(user, { limits, take: true })
  }

  look(user: string, limits: ConnectionLimits): Promise<Admission> {
    return this.#ask(user, { limits, take: false })
  }

  take(user: string): void {
    this.#places.take(user)
    this.#differs(user)
  }

  release(user: string): void {
    this.#places.release(user)
    this.#differs(user)
  }

  share(rate: SharedRate): number {
    return this.rates.share(rate) ?? 1 / this.#desk.gateways()
  }

  spend(rate: SharedRate, n: number): void {
    const nowMs = this.#desk.nowMs()
    if (this.rates.spend(rate, n, { nowMs, quiet: this.#quiet(rate) })) this.#desk.toExchange(this)
  }

  delivered(n: number): void {
    this.rates.delivered(n)
  }

  close(): void {
    this.listener = undefined
  }

  // ——— What the ledger sees ———

  /** Nobody has any use for it. */
  get done(): boolean {
    return this.listener === undefined && this.held === 0 && !this.unwritten && this.#asking === 0
  }

  get unwritten(): boolean {
    return this.#countChanged || this.#repeated !== undefined || this.#changed.size > 0
  }

  /** The end of a second. True: its rates are to be told. */
  turnRates(nowMs: number): boolean {
    return this.rates.turn(nowMs, (rate) => this.#quiet(rate))
  }

  /** All is to be written again. `afresh`: what Redis has may be of another time. */
  repeat({ afresh }: { afresh: boolean }): void {
    if (!this.#known && !this.unwritten) return
    this.refreshedMs = this.#desk.nowMs()
    this.#countChanged = true
    this.#afresh ||= afresh
    this.#repeated = this.#places.names()
    this.#desk.toWrite(this)
  }

  /** At most `usersMax` users; `first` are among them, if they have changed. */
  takePart(usersMax: number, first: Iterable<string> = []): PlacesPart {
    const users = new Map<string, number>()
    const add = (user: string): void => void users.set(user, this.#places.of(user))
    for (const source of [first, this.#changed]) {
      for (const user of source) {
        if (users.size === usersMax) break
        if (this.#changed.delete(user)) add(user)
      }
    }
    while (this.#repeated && users.size < usersMax) {
      const next = this.#repeated.next()
      if (next.done === true) this.#repeated = undefined
      else add(next.value)
    }
    const part = { held: this.held, afresh: this.#afresh, users: [...users] }
    this.#countChanged = false
    this.#afresh = false
    return part
  }

  lost({ afresh, users }: PlacesPart): void {
    for (const [user] of users) this.#changed.add(user)
    this.#afresh ||= afresh
    this.#countChanged = true
  }

  heardOf({ elsewhere }: { elsewhere: number }): void {
    this.#elsewhere = elsewhere
  }

  /** Redis is asked for a place. */
  asked(): void {
    this.#known = true
  }

  /** Redis has given a place. */
  given(user: string): void {
    this.#places.take(user)
  }

  /** Redis may have given a place that nobody has any use for. */
  givenInVain(user: string): void {
    this.#differs(user)
  }

  /** Undefined: this gateway's equal part of the tenant's places has room for one more, if `before` others get theirs. */
  refusalAlone({ limits }: Ask, before = 0): Refusal | undefined {
    const part = Math.ceil(limits.max / this.#desk.gateways())
    const used = this.held + before
    if (used < part) return undefined
    const refusal: Refusal = { admitted: false, limit: 'tenant', used }
    return part === limits.max ? refusal : { ...refusal, share: part }
  }

  /** Of the tenant's places an equal part is this gateway's, and of a user's what is free as far as is known here. */
  decideAlone(ask: Ask): Admission {
    const { limits, take, user } = ask
    const refusal = this.refusalAlone(ask)
    if (refusal) return refusal
    const admission = this.#places.look(user, { max: Infinity, perUser: limits.perUser })
    if (admission.admitted && take) this.take(user)
    return admission
  }

  #ask(user: string, { limits, take }: { limits: ConnectionLimits; take: boolean }): Promise<Admission> {
    this.#asking += 1
    return new Promise((resolve) => {
      const answer = (admission: Admission): void => {
        this.#asking -= 1
        resolve(admission)
      }
      this.#desk.submit({ lease: this, user, limits, take, sinceMs: this.#desk.nowMs(), answer })
    })
  }

  #quiet(rate: QuotaRate): number {
    return quietPerSecond(this.listener?.perSecond(rate) ?? 0, this.#desk.gateways())
  }

  #differs(user: string): void {
    this.#known = true
    this.#changed.add(user)
    this.#countChanged = true
    if (this.#changed.size > changedMax) {
      this.#changed.clear()
      this.repeat({ afresh: true })
    }
    this.#desk.toWrite(this)
  }
}
