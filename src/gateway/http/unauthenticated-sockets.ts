// Counts the connections of strangers: from their acceptance until their client is authenticated. Every host
// that reaches the port can open them, so their number is limited, in all and by address.
import type { Clock } from '../../time.js'

export interface UnauthenticatedLimits {
  /** Default: 10,000. */
  readonly max: number
  /** By client address. Default: 1,000. */
  readonly perAddress: number
}

export const defaultUnauthenticatedLimits: UnauthenticatedLimits = { max: 10_000, perAddress: 1_000 }

/** The share of the limit of one address below which a majority is not worth a warning. */
const warnedShare = 0.1
const warningIntervalMs = 60_000

export class UnauthenticatedSockets {
  readonly limits: UnauthenticatedLimits
  readonly #clock: Clock
  readonly #onMajority: (holding: { address: string; sockets: number; total: number }) => void
  readonly #byAddress = new Map<string, number>()
  #total = 0
  #warnedMs = -Infinity

  /** `onMajority` is called at most once per minute, while one address has more than half of the sockets. */
  constructor(
    limits: Partial<UnauthenticatedLimits>,
    options: {
      clock: Clock
      onMajority: (holding: { address: string; sockets: number; total: number }) => void
    },
  ) {
    this.limits = { ...defaultUnauthenticatedLimits, ...limits }
    this.#clock = options.clock
    this.#onMajority = options.onMajority
  }

  get total(): number {
    return this.#total
  }

  /** The number of sockets of the address that has the most. */
  get largest(): number {
    let largest = 0
    // As arguments of Math.max, very many addresses would exceed the stack.
    for (const sockets of this.#byAddress.values()) largest = Math.max(largest, sockets)
    return largest
  }

  /** Counts a socket. Returns false, and counts nothing, when there are as many as allowed. */
  add(): boolean {
    if (this.#total >= this.limits.max) return false
    this.#total += 1
    return true
  }

  remove(): void {
    this.#total -= 1
  }

  /**
   * Attributes a counted socket to an address. Returns false, and attributes nothing, when the address has as
   * many as allowed.
   */
  attribute(address: string): boolean {
    const sockets = (this.#byAddress.get(address) ?? 0) + 1
    if (sockets > this.limits.perAddress) return false
    this.#byAddress.set(address, sockets)
    if (sockets * 2 > this.#total && sockets >= this.limits.perAddress * warnedShare)
      this.#warn(address, sockets)
    return true
  }

  unattribute(address: string): void {
    const sockets = (this.#byAddress.get(address) ?? 0) - 1
    if (sockets > 0) this.#byAddress.set(address, sockets)
    else this.#byAddress.delete(address)
  }

  #warn(address: string, sockets: number): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#warnedMs < warningIntervalMs) return
    this.#warnedMs = nowMs
    this.#onMajority({ address, sockets, total: this.#total })
  }
}
