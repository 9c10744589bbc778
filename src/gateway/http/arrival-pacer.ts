// Starts handshakes and plain requests a few at a time, so that thousands of simultaneous ones do not delay
// the clients that are already connected. Those that wait take turns by tenant and by address, and an arrival
// uses the time of its tenant, like all its work.
import type { FairScheduler } from '../../session/sharing/fair-scheduler.js'
import { WorkQueue } from '../../session/sharing/work-queue.js'
import { ArrivalQueue, type ArrivalSource } from './arrival-queue.js'

/**
 * With the first commands of their clients, these take about 1 ms of a core. Other work runs between two
 * ticks: each message and each new connection waits for several of them.
 */
export const perTickMax = 4
/** What an arrival takes, in milliseconds. Most of it are promises, so it cannot be measured. */
const arrivalMs = 0.25

export interface ArrivalPacerOptions {
  readonly scheduler: Pick<FairScheduler, 'hasCredit' | 'charge'>
  /** Returns the work of a tenant; undefined when there is none. */
  readonly workOf: (tenant: string) => WorkQueue | undefined
}

export class ArrivalPacer {
  readonly #options: ArrivalPacerOptions
  readonly #waiting = new ArrivalQueue<() => void>()
  /** The time of those that belong to no tenant. */
  readonly #strangers = new WorkQueue()
  #startedThisTick = 0
  #scheduled = false

  constructor(options: ArrivalPacerOptions) {
    this.#options = options
  }

  /** The number of arrivals that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Returns undefined when the arrival may continue immediately, or a promise that resolves when its turn
   * comes.
   */
  waitForTurn(source: ArrivalSource): Promise<void> | undefined {
    this.#schedule()
    if (this.#mayStart(source.tenant)) {
      this.#start(source)
      return undefined
    }
    return new Promise((resolve) => {
      this.#waiting.push(source, () => {
        this.#start(source)
        resolve()
      })
    })
  }

  #start({ tenant }: ArrivalSource): void {
    this.#startedThisTick += 1
    this.#options.scheduler.charge(this.#workOf(tenant), arrivalMs)
  }

  /** Arrivals of a tenant come after those that wait. */
  #mayStart(tenant: string): boolean {
    return this.#startedThisTick < perTickMax && !this.#waiting.has(tenant) && this.#hasCredit(tenant)
  }

  readonly #hasCredit = (tenant: string): boolean => this.#options.scheduler.hasCredit(this.#workOf(tenant))

  #workOf(tenant: string): WorkQueue {
    return this.#options.workOf(tenant) ?? this.#strangers
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#onTick())
  }

  #onTick(): void {
    this.#scheduled = false
    this.#startedThisTick = 0
    if (this.#waiting.size > 0) this.#schedule()
    while (this.#startedThisTick < perTickMax) {
      const start = this.#waiting.shift(this.#hasCredit)
      if (!start) return
      start()
    }
  }
}
