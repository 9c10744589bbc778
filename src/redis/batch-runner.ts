// One pipeline at a time, and everything that one turn of the event loop brings in the same; while much comes, that of some turns.
import { pause } from '../deadline.js'

export interface RoundsOptions {
  /** How much waits. */
  readonly waiting: () => number
  /** Takes some of what waits and is done with it. */
  readonly round: () => Promise<void>
  /** What to do with those that wait when a round throws: none may be left without an answer. */
  readonly failed: (error: unknown) => void
  /** Time passes between two rounds. Default: 3 ms. */
  readonly space?: () => Promise<void>
}

/**
 * From one round to the next, when the first found several waiting: a pipeline costs ten times what another command in it costs. Who comes
 * alone, one after the other too, never waits.
 */
const spacingMs = 3

/** Runs round after round while something waits, never two at once. */
export class Rounds {
  readonly #options: RoundsOptions
  #running = false
  #idle: (() => void)[] = []
  /** Until it has ended no round begins. */
  #spacing: Promise<void> | undefined

  constructor(options: RoundsOptions) {
    this.#options = options
  }

  /** Call it whenever something begins to wait. The first round begins when this turn of the event loop is over. */
  begin(): void {
    if (this.#running) return
    this.#running = true
    setImmediate(() => this.#run())
  }

  /** Resolves when no round runs and none is to begin. */
  idle(): Promise<void> {
    if (!this.#running) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #run(): void {
    this.#all()
      .catch((error: unknown) => this.#options.failed(error))
      .finally(() => {
        this.#running = false
        // It came while the last round ended.
        if (this.#options.waiting() > 0) return this.begin()
        for (const resolve of this.#idle.splice(0)) resolve()
      })
  }

  async #all(): Promise<void> {
    const { round, space = () => pause(spacingMs), waiting } = this.#options
    while (waiting() > 0) {
      await this.#spacing
      this.#spacing = waiting() > 1 ? space() : undefined
      await round()
    }
  }
}
