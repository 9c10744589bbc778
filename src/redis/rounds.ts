// One pipeline at a time, and everything that one turn of the event loop brings in the same.

export interface RoundsOptions {
  /** Whether something waits. */
  readonly pending: () => boolean
  /** Takes some of what waits and is done with it. */
  readonly round: () => Promise<void>
  /** What to do with those that wait when a round throws: none may be left without an answer. */
  readonly failed: (error: unknown) => void
}

/** Runs round after round while something waits, never two at once. */
export class Rounds {
  readonly #options: RoundsOptions
  #running = false

  constructor(options: RoundsOptions) {
    this.#options = options
  }

  /** Call it whenever something begins to wait. The first round begins when this turn of the event loop is over. */
  begin(): void {
    if (this.#running) return
    this.#running = true
    setImmediate(() => this.#run())
  }

  #run(): void {
    this.#all()
      .catch((error: unknown) => this.#options.failed(error))
      .finally(() => {
        this.#running = false
        // It came while the last round ended.
        if (this.#options.pending()) this.begin()
      })
  }

  async #all(): Promise<void> {
    while (this.#options.pending()) await this.#options.round()
  }
}
