// Takes keys from a queue and reconciles them, at most `concurrency` at a time, and a few urgent ones more.
// Failures are retried with back-off.
import { setImmediate } from 'node:timers/promises'
import type { Log } from '../log.js'
import type { After, Clock } from '../time.js'
import { ApiError, TerminalError } from './api-error.js'
import type { KeyQueue } from './key-queue.js'
import type { ReconcileOutcome, Reconcile } from './ports.js'

/** The values of controller-runtime's label `result`. */
export type ReconcileResult = 'success' | 'requeue_after' | 'error'

/** Receives the measurements of reconciles as they happen. */
export interface ReconcileMeter {
  started(): void
  ended(result: ReconcileResult, seconds: number): void
  /** Counts a TerminalError. */
  terminal(): void
  /** Counts an error that is a bug (see `isBug`). */
  panicked(): void
  /** Counts a reconcile that exceeded `timeoutMs`. */
  timedOut(): void
}

export interface WorkersOptions {
  readonly queue: KeyQueue
  readonly reconcile: Reconcile
  readonly log: Log
  readonly clock: Clock
  readonly after: After
  readonly meter?: ReconcileMeter | undefined
  /** The maximum number of reconciles in progress. Default 4. */
  readonly concurrency?: number
  /** How many urgent keys may be in progress in addition. Default 0. */
  readonly urgentExtra?: number
  /** The maximum number of reconciles of one group of keys (see `TakeOptions`). Default: no maximum. */
  readonly perGroupMax?: number
  /** The time limit of one reconcile, after which its signal aborts. Default 60,000. */
  readonly timeoutMs?: number
  /**
   * The time after `run`'s signal aborts at which the signals of running reconciles abort. Default 20,000.
   */
  readonly graceMs?: number
}

export class Workers {
  readonly #options: WorkersOptions
  readonly #running = new Set<Promise<void>>()
  readonly #graceOver = new AbortController()
  #open = false

  constructor(options: WorkersOptions) {
    this.#options = options
  }

  /** Reconciles until `signal` aborts, then closes the queue and waits for the running reconciles. */
  async run(signal: AbortSignal): Promise<void> {
    const { queue, after, graceMs = 20_000 } = this.#options
    this.#open = !signal.aborted
    const ended = new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    queue.onAvailable(() => this.#fill())
    this.#fill()
    await ended
    this.#open = false
    queue.close()
    const cancel = after(graceMs, () => this.#graceOver.abort(new Error('the process is ending')))
    await Promise.all(this.#running)
    cancel()
  }

  #fill(): void {
    const { queue, concurrency = 4, urgentExtra = 0, perGroupMax = Infinity } = this.#options
    while (this.#open && this.#running.size < concurrency + urgentExtra) {
      const urgentOnly = this.#running.size >= concurrency
      const key = queue.take({ urgentOnly, perGroupMax })
      if (key === undefined) return
      const work: Promise<void> = this.#work(key).then(async () => {
        // A reconcile without I/O never yields to the event loop: thousands in a row would let the lease
        // expire.
        await setImmediate()
        this.#running.delete(work)
        queue.done(key)
        this.#fill()
      })
      this.#running.add(work)
    }
  }

  /** Never rejects. */
  async #work(key: string): Promise<void> {
    const { reconcile, meter, clock, after, timeoutMs = 60_000 } = this.#options
    const startMs = clock.monotonicMs()
    const ending = new AbortController()
    const onGraceOver = () => ending.abort(this.#graceOver.signal.reason)
    this.#graceOver.signal.addEventListener('abort', onGraceOver, { once: true })
    const cancel = after(timeoutMs, () => {
      meter?.timedOut()
      ending.abort(new Error(`not reconciled within ${timeoutMs} ms`))
    })
    meter?.started()
    let result: ReconcileResult
    try {
      result = this.#succeeded(key, await reconcile(key, ending.signal))
    } catch (error) {
      result = this.#failed(key, error)
    }
    cancel()
    this.#graceOver.signal.removeEventListener('abort', onGraceOver)
    meter?.ended(result, (clock.monotonicMs() - startMs) / 1000)
  }

  #succeeded(key: string, outcome: ReconcileOutcome): ReconcileResult {
    const { queue } = this.#options
    queue.forget(key)
    if (!outcome) return 'success'
    queue.addAfter(key, outcome.requeueAfterMs)
    return 'requeue_after'
  }

  #failed(key: string, error: unknown): ReconcileResult {
    const { queue, log, meter } = this.#options
    if (error instanceof TerminalError) {
      meter?.terminal()
      queue.forget(key)
      log.warn({ err: error, key }, 'reconcile failed permanently: not retried until the object changes')
      return 'error'
    }
    if (isBug(error)) {
      meter?.panicked()
      log.error({ err: error, key }, 'reconcile failed because of a bug, retrying')
    } else log.warn({ err: error, key }, 'reconcile failed, retrying')
    if (error instanceof ApiError && error.retryAfterMs !== undefined)
      queue.addAfter(key, error.retryAfterMs, queue.priorityOf(key))
    else queue.addRateLimited(key)
    return 'error'
  }
}

/** Returns true for errors that the JavaScript engine throws, and for thrown values that are not errors. */
function isBug(error: unknown): boolean {
  return (
    !(error instanceof Error) ||
    [TypeError, RangeError, ReferenceError, SyntaxError, EvalError].some((bug) => error instanceof bug)
  )
}
