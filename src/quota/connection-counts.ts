// Counts connections by user. It has no side effects.
import { isGuest } from '../tenant/user.js'
import type { Admission, ConnectionLimits } from './ledger.js'

export class ConnectionCounts {
  #held = 0
  #guests = 0
  readonly #byUser = new Map<string, number>()

  /** The number of all connections. */
  get held(): number {
    return this.#held
  }

  /** The number of connections of guests. */
  get guests(): number {
    return this.#guests
  }

  /** The number of users with a connection. */
  get users(): number {
    return this.#byUser.size
  }

  /**
   * The users in the order of their first connection. Users may be added and removed during the iteration, as
   * in a Map.
   */
  names(): IterableIterator<string> {
    return this.#byUser.keys()
  }

  /** Returns the number of connections of `user`. */
  of(user: string): number {
    return this.#byUser.get(user) ?? 0
  }

  add(user: string): void {
    this.#held += 1
    if (isGuest(user)) this.#guests += 1
    this.#byUser.set(user, this.of(user) + 1)
  }

  /**
   * Uncounts one connection. Throws when `user` has none, because a caller has then released a connection
   * twice.
   */
  remove(user: string): void {
    const left = this.of(user) - 1
    if (left < 0) throw new Error('cannot release a connection that is not counted')
    this.#held -= 1
    if (isGuest(user)) this.#guests -= 1
    if (left > 0) this.#byUser.set(user, left)
    else this.#byUser.delete(user)
  }

  /** Returns whether these connections leave room for one more, and otherwise the limit that is used up. */
  check(user: string, { guests, max, perUser }: ConnectionLimits): Admission {
    if (this.#held >= max) return { admitted: false, limit: 'tenant', used: this.#held }
    if (isGuest(user) && this.#guests >= guests)
      return { admitted: false, limit: 'guests', used: this.#guests }
    if (this.of(user) >= perUser) return { admitted: false, limit: 'user', used: this.of(user) }
    return { admitted: true }
  }
}
