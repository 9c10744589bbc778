// A value that is read from files at the start and again when they change. An invalid edit is logged, and the
// last good value stays in force.
import { ConfigError } from '../errors.js'
import type { Log } from '../log.js'
import { pause } from '../deadline.js'

export interface ReloadingFilesOptions<Value> {
  /**
   * Reads the files synchronously. Throws ConfigError when they cannot be used. Values are compared by their
   * JSON.
   */
  readonly read: () => Value
  /** The name of the files in log messages. */
  readonly what: string
  readonly log: Log
  /**
   * Milliseconds between two polls; a change is accepted when two polls in a row have seen it. Default 2,000.
   */
  readonly pollMs?: number
}

/**
 * Polls the files themselves instead of watching for events: they are small, and this works on every file
 * system, and with Kubernetes volumes, whose files are symbolic links that all change their target together.
 */
export class ReloadingFiles<Value> {
  readonly #options: ReloadingFilesOptions<Value>
  readonly #listeners: ((value: Value) => void)[] = []
  #current: Value
  /**
   * The JSON of the value or problems that were last accepted or reported, and of those that the last poll
   * saw.
   */
  #decided: string
  #seen: string

  /** @throws whatever `read` throws. */
  constructor(options: ReloadingFilesOptions<Value>) {
    this.#options = options
    this.#current = options.read()
    this.#decided = JSON.stringify(this.#current)
    this.#seen = this.#decided
  }

  /** The last good value. */
  get current(): Value {
    return this.#current
  }

  /** Calls `listener` with each new good value. */
  onChange(listener: (value: Value) => void): void {
    this.#listeners.push(listener)
  }

  /** Polls until `signal` is aborted, and then resolves. */
  async run(signal: AbortSignal): Promise<void> {
    const { pollMs = 2_000 } = this.#options
    while (!signal.aborted) {
      await pause(pollMs, signal)
      if (!signal.aborted) this.#poll()
    }
  }

  /**
   * Accepts only a state that two polls have seen: a certificate and its key may be written one after the
   * other, and the state between the two writes is not an error.
   */
  #poll(): void {
    const { log, read, what } = this.#options
    let renewed: Value | undefined
    let problems: readonly string[] = []
    try {
      renewed = read()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems = error.problems
    }
    const seen = JSON.stringify(renewed ?? problems)
    const settled = seen === this.#seen
    this.#seen = seen
    if (!settled || seen === this.#decided) return
    this.#decided = seen
    if (renewed === undefined) {
      log.error({ problems }, `${what} changed and cannot be used: the previous value stays in force`)
      return
    }
    this.#current = renewed
    log.info(`${what} changed: new connections use the new value`)
    for (const listener of this.#listeners) listener(renewed)
  }
}
