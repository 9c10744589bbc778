// Starts handshakes a few at a time, so that thousands of simultaneous ones do not delay the clients that are
// already connected.

/**
 * With the first commands of their clients, these take about 10 ms of a core. Other work runs between two
 * ticks.
 */
const perTickMax = 32

export class HandshakePacer {
  #startedThisTick = 0
  #waiting: (() => void)[] = []
  #scheduled = false

  /** The number of handshakes that wait for their turn. */
  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Returns undefined when the handshake may continue immediately, or a promise that resolves when its turn
   * comes, in order of arrival.
   */
  waitForTurn(): Promise<void> | undefined {
    this.#schedule()
    if (this.#startedThisTick < perTickMax) {
      this.#startedThisTick += 1
      return undefined
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#onTick())
  }

  #onTick(): void {
    this.#scheduled = false
    const next = this.#waiting.splice(0, perTickMax)
    this.#startedThisTick = next.length
    if (next.length > 0) this.#schedule()
    for (const resolve of next) resolve()
  }
}
