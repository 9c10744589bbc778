// Lets handshakes through a few at a time, so that thousands who come at once do not keep the gateway from those who are there.

/** With what their clients send next, about 10 ms of a core. Between two such parts all else has its turn. */
const perTickMax = 32

export class HandshakePacer {
  #startedThisTick = 0
  #waiting: (() => void)[] = []
  #scheduled = false

  get waiting(): number {
    return this.#waiting.length
  }

  /** Undefined: go on at once. Else when it resolves, in the order in which they came. */
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
