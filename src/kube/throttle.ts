// Limits the load that one client puts on the shared API server: calls per second, concurrent calls and
// queued calls. Queued calls of different groups take turns, and urgent ones come first.
import type { After, Clock } from '../time.js'
import { ApiUnreachableError } from './api-error.js'
import { FairQueue, type Place } from './fair-queue.js'

export interface ThrottleOptions {
  readonly clock: Clock
  readonly after: After
  /** The sustained rate, in calls per second. */
  readonly perSecond: number
  /** The number of calls that may start immediately after an idle time. */
  readonly burst: number
  /** The maximum number of calls in flight. */
  readonly concurrencyMax: number
  /** The maximum number of queued calls. Further calls are rejected. */
  readonly waitingMax: number
}

interface Waiter {
  readonly admit: () => void
}

/** The place of a call whose caller names none. */
const anyPlace: Place = { priority: 'normal', group: '' }

/**
 * A token bucket with a limit on concurrency. Calls of one priority and group are admitted in the order in
 * which they queued.
 */
export class Throttle {
  readonly #options: ThrottleOptions
  readonly #waiting = new FairQueue<Waiter>()
  #tokens: number
  #refilledMs: number
  #inFlight = 0
  #timer: (() => void) | undefined

  constructor(options: ThrottleOptions) {
    this.#options = options
    this.#tokens = options.burst
    this.#refilledMs = options.clock.monotonicMs()
  }

  /** The number of queued calls. */
  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Resolves when the call may start. The caller must call `release` when it has ended. Rejects with the
   * signal's reason, or with ApiUnreachableError when `waitingMax` calls are queued already. Default place:
   * the priority `normal` and the group ''.
   */
  acquire(signal: AbortSignal, place: Place = anyPlace): Promise<void> {
    if (signal.aborted) return Promise.reject(reasonOf(signal))
    if (this.#waiting.size >= this.#options.waitingMax) {
      return Promise.reject(
        new ApiUnreachableError(`${this.#waiting.size} calls to the API server are queued already`),
      )
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.#waiting.remove(waiter, place)
        reject(reasonOf(signal))
      }
      const waiter: Waiter = {
        admit: () => {
          signal.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiter, place)
      this.#admit()
    })
  }

  release(): void {
    this.#inFlight -= 1
    this.#admit()
  }

  #admit(): void {
    this.#refill()
    while (this.#waiting.size > 0 && this.#inFlight < this.#options.concurrencyMax) {
      if (this.#tokens < 1) return this.#admitLater()
      this.#tokens -= 1
      this.#inFlight += 1
      this.#waiting.take()?.admit()
    }
  }

  #refill(): void {
    const nowMs = this.#options.clock.monotonicMs()
    const gained = ((nowMs - this.#refilledMs) / 1000) * this.#options.perSecond
    this.#tokens = Math.min(this.#options.burst, this.#tokens + gained)
    this.#refilledMs = nowMs
  }

  #admitLater(): void {
    if (this.#timer) return
    const waitMs = ((1 - this.#tokens) / this.#options.perSecond) * 1000
    this.#timer = this.#options.after(Math.ceil(waitMs), () => {
      this.#timer = undefined
      this.#admit()
    })
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason))
}
