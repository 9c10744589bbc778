// Takes keys off a queue and reconciles them, so many at a time; what fails is tried again, what ends in a bug is counted as one.
import { setImmediate } from 'node:timers/promises'
import type { Log } from '../log.js'
import type { After, Clock } from '../time.js'
import { ApiError, TerminalError } from './api-error.js'
import type { KeyQueue } from './key-queue.js'
import type { Outcome, Reconcile } from './ports.js'

/** In controller-runtime's words. */
export type ReconcileResult = 'success' | 'requeue_after' | 'error'

export interface ReconcileMeter {
  started(): void
  ended(result: ReconcileResult, seconds: number): void
  terminal(): void
  /** A bug: it had no business to be thrown. */
  panicked(): void
  timedOut(): void
}

export interface WorkersOptions {
  readonly queue: KeyQueue
  readonly reconcile: Reconcile
  readonly log: Log
  readonly clock: Clock
  readonly after: After
  readonly meter?: ReconcileMeter | undefined
  /** Default 4. */
  readonly concurrency?: number
  /** One reconcile hears of the end of its time through its signal. Default 60,000. */
  readonly timeoutMs?: number
  /** After the end, running work has this long before its signal ends as well. Default 20,000. */
  readonly graceMs?: number
}

export class Workers {
  readonly #options: WorkersOptions
  readonly #running = new Set<Promise<void>>()
  readonly #giveUp = new AbortController()
  #open = false

  constructor(options: WorkersOptions) {
    this.#options = options
  }

  /** Works until `signal` ends, then lets what is running end, and closes the queue. */
  async run(signal: AbortSignal): Promise<void> {
    const { queue, after, graceMs = 20_000 } = this.#options
    this.#open = !signal.aborted
    const ended = new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    queue.onWork(() => this.#fill())
    this.#fill()
    await ended
    this.#open = false
    queue.close()
    const cancel = after(graceMs, () => this.#giveUp.abort(new Error('the process is ending')))
    await Promise.all(this.#running)
    cancel()
  }

  #fill(): void {
    const { queue, concurrency = 4 } = this.#options
    while (this.#open && this.#running.size < concurrency) {
      const key = queue.take()
      if (key === undefined) return
      const work: Promise<void> = this.#work(key).then(async () => {
        // What needs no call never leaves this turn of the event loop: thousands in a row would let the lease run out.
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
    const end = new AbortController()
    const giveUp = () => end.abort(this.#giveUp.signal.reason)
    this.#giveUp.signal.addEventListener('abort', giveUp, { once: true })
    const cancel = after(timeoutMs, () => {
      meter?.timedOut()
      end.abort(new Error(`not reconciled within ${timeoutMs} ms`))
    })
    meter?.started()
    let result: ReconcileResult
    try {
      result = this.#succeeded(key, await reconcile(key, end.signal))
    } catch (error) {
      result = this.#failed(key, error)
    }
    cancel()
    this.#giveUp.signal.removeEventListener('abort', giveUp)
    meter?.ended(result, (clock.monotonicMs() - startMs) / 1000)
  }

  #succeeded(key: string, outcome: Outcome): ReconcileResult {
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
      log.warn({ err: error, key }, 'cannot be reconciled until something changes')
      return 'error'
    }
    if (isBug(error)) {
      meter?.panicked()
      log.error({ err: error, key }, 'a bug ended a reconcile')
    } else log.warn({ err: error, key }, 'not reconciled, will be tried again')
    if (error instanceof ApiError && error.retryAfterMs !== undefined) queue.addAfter(key, error.retryAfterMs)
    else queue.addRateLimited(key)
    return 'error'
  }
}

/** What JavaScript itself throws, and what is no error at all. */
function isBug(error: unknown): boolean {
  return (
    !(error instanceof Error) ||
    [TypeError, RangeError, ReferenceError, SyntaxError, EvalError].some((bug) => error instanceof bug)
  )
}
