// Places for connections that are taken, by user. Pure counting.
import type { Admission, ConnectionLimits } from './ledger.js'

export class Places {
  #held = 0
  readonly #byUser = new Map<string, number>()

  get held(): number {
    return this.#held
  }

  get users(): number {
    return this.#byUser.size
  }

  /** In order of their first place. Users may come and go meanwhile, as in a Map. */
  names(): IterableIterator<string> {
    return this.#byUser.keys()
  }

  of(user: string): number {
    return this.#byUser.get(user) ?? 0
  }

  take(user: string): void {
    this.#held += 1
    this.#byUser.set(user, this.of(user) + 1)
  }

  /** Throws when `user` holds none: somebody released twice. */
  release(user: string): void {
    const left = this.of(user) - 1
    if (left < 0) throw new Error('a place was released that nobody holds')
    this.#held -= 1
    if (left > 0) this.#byUser.set(user, left)
    else this.#byUser.delete(user)
  }

  /** Whether these places alone leave room for one more. */
  look(user: string, { max, perUser }: ConnectionLimits): Admission {
    if (this.#held >= max) return { admitted: false, limit: 'tenant', used: this.#held }
    if (this.of(user) >= perUser) return { admitted: false, limit: 'user', used: this.of(user) }
    return { admitted: true }
  }
}
