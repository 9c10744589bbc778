// Lets handshakes through a few at a time, so that thousands who come at once do not keep the gateway from those who are there.

/** With what their clients send next, about 10 ms of a core. Between two such parts all else has its turn. */
const perTurnMax = 32

export class Turnstile {
  #passed = 0
  #waiting: (() => void)[] = []
  #scheduled = false

  get waiting(): number {
    return this.#waiting.length
  }

  /** Undefined: go on at once. Else when it resolves, in the order in which they came. */
  pass(): Promise<void> | undefined {
    this.#schedule()
    if (this.#passed < perTurnMax) {
      this.#passed += 1
      return undefined
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#nextTurn())
  }

  #nextTurn(): void {
    this.#scheduled = false
    const next = this.#waiting.splice(0, perTurnMax)
    this.#passed = next.length
    if (next.length > 0) this.#schedule()
    for (const resolve of next) resolve()
  }
}
