// Starts handshakes and plain requests a few at a time, so that thousands of simultaneous ones do not delay
// the clients that are already connected. Those that wait take turns by tenant and by address.
import { ArrivalQueue, type ArrivalSource } from './arrival-queue.js'

/**
 * With the first commands of their clients, these take about 10 ms of a core. Other work runs between two
 * ticks.
 */
const perTickMax = 32

export class ArrivalPacer {
  readonly #waiting = new ArrivalQueue<() => void>()
  #startedThisTick = 0
  #scheduled = false

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
    if (this.#startedThisTick < perTickMax) {
      this.#startedThisTick += 1
      return undefined
    }
    return new Promise((resolve) => this.#waiting.push(source, resolve))
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#onTick())
  }

  #onTick(): void {
    this.#scheduled = false
    this.#startedThisTick = Math.min(perTickMax, this.#waiting.size)
    if (this.#startedThisTick > 0) this.#schedule()
    for (let started = 0; started < this.#startedThisTick; started += 1) this.#waiting.shift()?.()
  }
}
