// A ledger that answers when it is told to: between question and answer anything may happen to whoever asks.
import { LocalLedger } from '../../src/quota/local.js'
import type { QuotaLedger, TenantLease } from '../../src/quota/ledger.js'

export class HeldLedger implements QuotaLedger {
  readonly leases: TenantLease[] = []
  #waiting: (() => void)[] = []

  open(): TenantLease {
    const lease = new LocalLedger().open()
    const acquire = lease.acquire.bind(lease)
    lease.acquire = async (user, limits) => {
      const answer = acquire(user, limits)
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
      return answer
    }
    this.leases.push(lease)
    return lease
  }

  /** Questions without an answer. */
  get waiting(): number {
    return this.#waiting.length
  }

  answer(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
