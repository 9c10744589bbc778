// What some files say, read at the start and again when they change. A mistake in an edit costs nobody anything: it is logged, and what was good
// stays in force.
import { ConfigError } from '../errors.js'
import type { Log } from '../log.js'
import { pause } from '../deadline.js'

export interface RenewalOptions<Value> {
  /** Reads the files, in one turn. Throws ConfigError for what cannot be used. The value is compared by its JSON. */
  readonly read: () => Value
  /** In the log. */
  readonly what: string
  readonly log: Log
  /** How often the files are looked at; an edit counts from the second look on. Default 2,000. */
  readonly pollMs?: number
}

/**
 * Reads the files themselves at each look: they are small, and that works on every file system and with Kubernetes' volumes, whose files
 * are symbolic links that change their target all at once.
 */
export class Renewal<Value> {
  readonly #options: RenewalOptions<Value>
  readonly #listeners: ((value: Value) => void)[] = []
  #current: Value
  /** What was decided on last, and what the last look saw, as text. */
  #judged: string
  #seen: string

  /** Throws what `read` throws. */
  constructor(options: RenewalOptions<Value>) {
    this.#options = options
    this.#current = options.read()
    this.#judged = JSON.stringify(this.#current)
    this.#seen = this.#judged
  }

  /** The last that was good. */
  get current(): Value {
    return this.#current
  }

  onRenewed(listener: (value: Value) => void): void {
    this.#listeners.push(listener)
  }

  /** Looks for changes until `signal` ends it; resolves then. */
  async run(signal: AbortSignal): Promise<void> {
    const { pollMs = 2_000 } = this.#options
    while (!signal.aborted) {
      await pause(pollMs, signal)
      if (!signal.aborted) this.#look()
    }
  }

  /** Two looks must see the same: of a certificate and a key that are written one after the other the first alone is no mistake. */
  #look(): void {
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
    if (!settled || seen === this.#judged) return
    this.#judged = seen
    if (renewed === undefined) {
      log.error({ problems }, `${what} changed and cannot be used: what was read before stays in force`)
      return
    }
    this.#current = renewed
    log.info(`${what} changed: new connections use what is new`)
    for (const listener of this.#listeners) listener(renewed)
  }
}
