// The ledger of a single gateway. It counts all connections itself, and its share of every rate is the whole
// limit.
import { ConnectionCounts } from './connection-counts.js'
import type { Admission, ConnectionLimits, LeaseListener, QuotaLedger, TenantLease } from './ledger.js'
import { LocalChannels } from './local-channels.js'

export class LocalLedger implements QuotaLedger {
  open(_tenantId: string, { channels }: LeaseListener): TenantLease {
    return new LocalLease(new LocalChannels(channels))
  }
}

class LocalLease implements TenantLease {
  readonly channels: LocalChannels
  readonly #counts = new ConnectionCounts()

  constructor(channels: LocalChannels) {
    this.channels = channels
  }

  get held(): number {
    return this.#counts.held
  }

  get users(): number {
    return this.#counts.users
  }

  get heldByAll(): number {
    return this.#counts.held
  }

  get guests(): number {
    return this.#counts.guests
  }

  get guestsByAll(): number {
    return this.#counts.guests
  }

  acquire(user: string, limits: ConnectionLimits): Promise<Admission> {
    const admission = this.#counts.check(user, limits)
    if (admission.admitted) this.#counts.add(user)
    return Promise.resolve(admission)
  }

  check(user: string, limits: ConnectionLimits): Promise<Admission> {
    return Promise.resolve(this.#counts.check(user, limits))
  }

  reserve(user: string): void {
    this.#counts.add(user)
  }

  release(user: string): void {
    this.#counts.remove(user)
  }

  share(): number {
    return 1
  }

  spend(): void {}

  report(): void {}

  close(): void {}
}
