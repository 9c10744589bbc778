// The bytes of a tenant's publishes that wait for their acknowledgement. They are bounded, so that a tenant
// cannot fill the memory of a gateway while Redis does not answer.

/** Something that waits for the budget. */
export interface BudgetWaiter {
  proceed(): void
}

export class PublishBudget {
  readonly #bytesMax: number
  #bytes = 0
  readonly #waiters = new Set<BudgetWaiter>()

  /** `bytesMax` is the limit of the bytes in flight. A single larger publish is allowed. Default: 8 MiB. */
  constructor(bytesMax = 8_388_608) {
    this.#bytesMax = bytesMax
  }

  /** Returns whether a publish may begin. If not, `waiter.proceed` is called when it may. */
  allows(bytes: number, waiter: BudgetWaiter): boolean {
    if (this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax) return true
    this.#waiters.add(waiter)
    return false
  }

  begin(bytes: number): void {
    this.#bytes += bytes
  }

  end(bytes: number): void {
    this.#bytes -= bytes
    if (this.#waiters.size === 0) return
    // A waiter that may still not begin adds itself again, behind the others.
    for (const waiter of [...this.#waiters]) {
      if (this.#bytes >= this.#bytesMax) return
      this.#waiters.delete(waiter)
      waiter.proceed()
    }
  }

  /** Forgets a waiter that no longer waits. */
  forget(waiter: BudgetWaiter): void {
    this.#waiters.delete(waiter)
  }
}
