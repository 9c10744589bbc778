// A ledger that holds its answers until the test releases them, so that a client can change meanwhile.
import { LocalLedger } from '../../src/quota/local.js'
import type { LeaseListener, QuotaLedger, TenantLease } from '../../src/quota/ledger.js'

export class HeldLedger implements QuotaLedger {
  readonly leases: TenantLease[] = []
  #waiting: (() => void)[] = []

  open(tenantId: string, listener: LeaseListener): TenantLease {
    const lease = new LocalLedger().open(tenantId, listener)
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

  /** The number of requests without an answer. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** Answers all waiting requests. */
  answer(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
