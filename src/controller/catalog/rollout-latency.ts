// Measures how long a new revision takes until every live gateway enforces it. Parley promises a bound for
// this time.
import type { Clock } from '../../time.js'

export interface RolloutLatencyOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>
  /**
   * Registers a function that reads the age of the oldest unfinished rollout, and returns one that records a
   * finished rollout.
   */
  readonly meter: (oldestSeconds: () => number) => (seconds: number) => void
}

/** Tracks at most one rollout per tenant. A newer revision restarts the time. */
export class RolloutLatency {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #record: (seconds: number) => void
  readonly #rollouts = new Map<string, { revision: string; sinceMs: number }>()

  constructor({ clock, meter }: RolloutLatencyOptions) {
    this.#clock = clock
    this.#record = meter(() => this.#oldestSeconds())
  }

  /** Starts the time of `revision`. Has no effect when the same revision was started before. */
  start(tenant: string, revision: string): void {
    if (this.#rollouts.get(tenant)?.revision === revision) return
    this.#rollouts.set(tenant, { revision, sinceMs: this.#clock.monotonicMs() })
  }

  /**
   * Records the latency of `revision`, which all live gateways enforce now. Ignores a revision that was not
   * started.
   */
  finish(tenant: string, revision: string): void {
    const rollout = this.#rollouts.get(tenant)
    if (rollout?.revision !== revision) return
    this.#rollouts.delete(tenant)
    this.#record((this.#clock.monotonicMs() - rollout.sinceMs) / 1000)
  }

  /** Drops the tenant's rollout without a record, because the tenant or its revision is gone. */
  forget(tenant: string): void {
    this.#rollouts.delete(tenant)
  }

  #oldestSeconds(): number {
    const nowMs = this.#clock.monotonicMs()
    return Math.max(0, ...[...this.#rollouts.values()].map(({ sinceMs }) => (nowMs - sinceMs) / 1000))
  }
}
