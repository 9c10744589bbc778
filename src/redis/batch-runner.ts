// Sends one pipeline at a time, with everything that one turn of the event loop brings; under load, that of a
// few turns. For work that needs no order between shards. routing/ordered-worker.ts batches jobs that keep
// their order.
import { pause } from '../deadline.js'

export interface BatchRunnerOptions {
  /** How many items wait. */
  readonly waiting: () => number
  /** Takes some of the waiting items and completes them. */
  readonly runBatch: () => Promise<void>
  /** Called when a batch throws. It must answer every waiting item. */
  readonly onError: (error: unknown) => void
  /** The pause between two batches under load. Default: `batchSpacingMs`. */
  readonly spacing?: () => Promise<void>
}

/**
 * The time between the starts of two batches, when more than one item waited for the first: a pipeline costs
 * ten times as much as one more command in it. Items that arrive alone, even one right after the other, never
 * wait.
 */
export const batchSpacingMs = 3

/** Runs batch after batch while items wait, never two at once. */
export class BatchRunner {
  readonly #options: BatchRunnerOptions
  #running = false
  #idle: (() => void)[] = []
  /** The next batch starts after this. */
  #spacing: Promise<void> | undefined

  constructor(options: BatchRunnerOptions) {
    this.#options = options
  }

  /** Call it for every new item. The first batch starts at the end of this turn of the event loop. */
  start(): void {
    if (this.#running) return
    this.#running = true
    setImmediate(() => {
      this.#run()
        .catch((error: unknown) => this.#options.onError(error))
        .finally(() => {
          this.#running = false
          // An item may have arrived while the last batch ended.
          if (this.#options.waiting() > 0) return this.start()
          for (const resolve of this.#idle.splice(0)) resolve()
        })
    })
  }

  /** Resolves when no batch runs and none is about to start. */
  idle(): Promise<void> {
    if (!this.#running) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  async #run(): Promise<void> {
    const { runBatch, spacing = () => pause(batchSpacingMs), waiting } = this.#options
    while (waiting() > 0) {
      await this.#spacing
      this.#spacing = waiting() > 1 ? spacing() : undefined
      await runBatch()
    }
  }
}
