// The ledger of a gateway that is alone: all that is used is used here, and all of every rate is its own.
import { Places } from './connection-counts.js'
import type { Admission, ConnectionLimits, QuotaLedger, TenantLease } from './ledger.js'

export class LocalLedger implements QuotaLedger {
  open(): TenantLease {
    return new LocalLease()
  }
}

class LocalLease implements TenantLease {
  readonly #places = new Places()

  get held(): number {
    return this.#places.held
  }

  get users(): number {
    return this.#places.users
  }

  get heldByAll(): number {
    return this.#places.held
  }

  acquire(user: string, limits: ConnectionLimits): Promise<Admission> {
    const admission = this.#places.look(user, limits)
    if (admission.admitted) this.#places.take(user)
    return Promise.resolve(admission)
  }

  look(user: string, limits: ConnectionLimits): Promise<Admission> {
    return Promise.resolve(this.#places.look(user, limits))
  }

  take(user: string): void {
    this.#places.take(user)
  }

  release(user: string): void {
    this.#places.release(user)
  }

  share(): number {
    return 1
  }

  spend(): void {}

  delivered(): void {}

  close(): void {}
}
