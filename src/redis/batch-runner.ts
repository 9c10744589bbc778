// Sends one pipeline at a time, with all items of one turn of the event loop, or under load of a few turns.
// It is for work that needs no order between shards; routing/ordered-worker.ts batches jobs that keep their
// order.
import { pause } from '../deadline.js'

export interface BatchRunnerOptions {
  /** Returns the number of items that wait. */
  readonly waiting: () => number
  /** Takes some of the waiting items and completes them. */
  readonly runBatch: () => Promise<void>
  /** Called when a batch throws. It must answer every waiting item. */
  readonly onError: (error: unknown) => void
  /** The pause between two batches under load. Default: `batchSpacingMs`. */
  readonly spacing?: () => Promise<void>
}

/**
 * The time between the starts of two batches in milliseconds, when more than one item waited for the first. A
 * pipeline costs ten times as much as one more command in a pipeline. Items that arrive one at a time never
 * wait, even in quick succession.
 */
export const batchSpacingMs = 3

/** Runs batches one after the other while items wait. */
export class BatchRunner {
  readonly #options: BatchRunnerOptions
  #running = false
  #idle: (() => void)[] = []
  /** The next batch starts after this. */
  #spacing: Promise<void> | undefined

  constructor(options: BatchRunnerOptions) {
    this.#options = options
  }

  /**
   * Starts the runner. The caller calls it for every new item. The first batch starts at the end of this turn
   * of the event loop.
   */
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
