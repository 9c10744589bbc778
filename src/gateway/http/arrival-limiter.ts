// Limits how many handshakes, or plain requests, a gateway accepts per second. When another gateway dies, its
// clients would otherwise all wait for one gateway whose core they keep busy.
//
// Each address has a budget of its own. While the gateway receives more than its rate, each tenant has a
// guaranteed share of the rate, and so has each address of a tenant: the flood of one of them does not refuse
// the others.
import { CommandError } from '../../errors.js'
import { TokenBucket } from '../../quota/token-bucket.js'
import type { Clock } from '../../time.js'
import { AddressBudgets } from './address-budgets.js'
import type { ArrivalSource } from './arrival-queue.js'

export interface ArrivalRates {
  readonly perSecond: number
  /** By client address. Absent: an address may use the whole rate. */
  readonly perAddress?: number | undefined
}

/**
 * Arrivals accepted at once, in seconds of the rate. The last of a burst waits about as long in the pacer.
 */
const burstS = 3
/** The longest wait that a client is asked for, without the jitter. */
const backlogMsMax = 30_000
/** Retry-After has a resolution of one second. Clients that are refused together must not return together. */
const jitterMs = 2_000
/** Shares are counted anew after this time. */
const windowMs = 1_000

/** What arrived for one tenant in one window. */
interface Shares {
  /** The number of arrivals that were accepted as the tenant's share. */
  accepted: number
  /** The same by address. Every address that sent something has an entry. */
  readonly byAddress: Map<string, number>
}

export class ArrivalLimiter {
  readonly #what: string
  readonly #perSecond: number
  readonly #clock: Clock
  readonly #random: () => number
  readonly #burst: number
  /** In debt after arrivals that were accepted as someone's share. */
  readonly #bucket: TokenBucket
  /** Its debt is the refused clients whose turn has not come yet. */
  readonly #backlog: TokenBucket
  readonly #addresses: AddressBudgets | undefined
  #windowEndMs = 0
  #shares = new Map<string, Shares>()
  #lastShares = new Map<string, Shares>()

  /** `what` names the arrivals in messages to clients, in the plural. */
  constructor(
    { perAddress, perSecond }: ArrivalRates,
    { clock, random, what }: { clock: Clock; random: () => number; what: string },
  ) {
    const nowMs = clock.monotonicMs()
    this.#what = what
    this.#perSecond = perSecond
    this.#clock = clock
    this.#random = random
    this.#burst = perSecond * burstS
    this.#bucket = new TokenBucket({ rate: perSecond, burst: this.#burst }, nowMs)
    this.#backlog = new TokenBucket({ rate: perSecond, burst: 0 }, nowMs)
    this.#addresses = perAddress === undefined ? undefined : new AddressBudgets({ rate: perAddress, burstS })
  }

  /**
   * Accepts one arrival, while `waiting` accepted ones still wait in the pacer. More than a burst of them
   * means that the core handles fewer than the rate. Throws ADDRESS_LIMIT when the address has used its
   * budget. Throws OVERLOADED; `retryAfterMs` is then the time until all clients refused before have had
   * their turn, plus a random part.
   */
  admit(source: ArrivalSource, waiting: number): void {
    const nowMs = this.#clock.monotonicMs()
    this.#takeBudget(source.address, nowMs)
    const shares = this.#note(source, nowMs)
    if (waiting < this.#burst && this.#bucket.take(1, nowMs) === 0) return
    if (waiting < 2 * this.#burst && this.#takeShare(shares, source, nowMs)) return
    const backlogMs =
      this.#backlog.charge(0, nowMs) < backlogMsMax ? this.#backlog.charge(1, nowMs) : backlogMsMax
    throw new CommandError(
      'OVERLOADED',
      `This gateway accepts ${this.#perSecond} ${this.#what} per second and received more`,
      { retryAfterMs: backlogMs + this.#random() * jitterMs },
    )
  }

  #takeBudget(address: string, nowMs: number): void {
    const waitMs = this.#addresses?.take(address, nowMs) ?? 0
    if (waitMs === 0) return
    throw new CommandError(
      'ADDRESS_LIMIT',
      `This gateway accepts ${this.#addresses?.perSecond} ${this.#what} per second from one address and received more`,
      { retryAfterMs: waitMs + this.#random() * jitterMs },
    )
  }

  /** Notes that the tenant and the address are active. Returns what arrived for the tenant. */
  #note({ address, tenant }: ArrivalSource, nowMs: number): Shares {
    if (nowMs >= this.#windowEndMs) {
      this.#lastShares = nowMs < this.#windowEndMs + windowMs ? this.#shares : new Map<string, Shares>()
      this.#shares = new Map<string, Shares>()
      this.#windowEndMs = nowMs + windowMs
    }
    let shares = this.#shares.get(tenant)
    if (!shares) this.#shares.set(tenant, (shares = { accepted: 0, byAddress: new Map<string, number>() }))
    if (!shares.byAddress.has(address)) shares.byAddress.set(address, 0)
    return shares
  }

  /**
   * Takes one arrival of the guaranteed share, which is equal for all tenants that were active in this window
   * or the last one. All shares together are the rate, so the debt of the bucket stays small. An address
   * never takes the whole share of its tenant, because another address may follow.
   */
  #takeShare(shares: Shares, { address, tenant }: ArrivalSource, nowMs: number): boolean {
    const tenants = Math.max(this.#shares.size, this.#lastShares.size)
    const last = this.#lastShares.get(tenant)
    const addresses = Math.max(shares.byAddress.size, last?.byAddress.size ?? 0)
    // The only client has nobody to share with.
    if (tenants === 1 && addresses === 1) return false
    const share = this.#perSecond / tenants
    const ofAddress = shares.byAddress.get(address) ?? 0
    if (shares.accepted >= share || ofAddress >= share / (addresses + 1)) return false
    if (this.#bucket.charge(0, nowMs) >= burstS * 1000) return false
    this.#bucket.charge(1, nowMs)
    shares.accepted += 1
    shares.byAddress.set(address, ofAddress + 1)
    return true
  }
}
