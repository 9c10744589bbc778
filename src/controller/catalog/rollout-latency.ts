// How long new revisions take to be enforced by every gateway: a promise of ours, hence measured.
import type { Clock } from '../../time.js'

export interface ProgrammingOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>
  /** Takes what reads the age of the oldest; gives what a finished revision's seconds are told to. */
  readonly meter: (oldestSeconds: () => number) => (seconds: number) => void
}

/** Holds one entry per tenant at most: a newer revision goes on with its own time. */
export class Programming {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #tell: (seconds: number) => void
  readonly #waiting = new Map<string, { revision: string; sinceMs: number }>()

  constructor({ clock, meter }: ProgrammingOptions) {
    this.#clock = clock
    this.#tell = meter(() => this.#oldestSeconds())
  }

  /** The gateways are to enforce `revision` from now on. Said again, it changes nothing. */
  begun(tenant: string, revision: string): void {
    if (this.#waiting.get(tenant)?.revision === revision) return
    this.#waiting.set(tenant, { revision, sinceMs: this.#clock.monotonicMs() })
  }

  /** All live gateways enforce it. */
  done(tenant: string, revision: string): void {
    const waiting = this.#waiting.get(tenant)
    if (waiting?.revision !== revision) return
    this.#waiting.delete(tenant)
    this.#tell((this.#clock.monotonicMs() - waiting.sinceMs) / 1000)
  }

  /** The tenant is gone, or nobody can say any more when it will be. */
  forget(tenant: string): void {
    this.#waiting.delete(tenant)
  }

  #oldestSeconds(): number {
    const nowMs = this.#clock.monotonicMs()
    return Math.max(0, ...[...this.#waiting.values()].map(({ sinceMs }) => (nowMs - sinceMs) / 1000))
  }
}
