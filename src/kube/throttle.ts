// How much one controller may ask of an API server that others need too: so many calls a second, so many at a time, so many waiting.
import type { After, Clock } from '../time.js'
import { ApiUnreachableError } from './api-error.js'

export interface ThrottleOptions {
  readonly clock: Clock
  readonly after: After
  readonly perSecond: number
  readonly burst: number
  readonly atOnceMax: number
  readonly waitingMax: number
}

interface Waiter {
  readonly admit: () => void
  readonly signal: AbortSignal
}

/** A token bucket and a number of places, in the order of asking. */
export class Throttle {
  readonly #options: ThrottleOptions
  readonly #waiting = new Set<Waiter>()
  #tokens: number
  #filledMs: number
  #busy = 0
  #timer: (() => void) | undefined

  constructor(options: ThrottleOptions) {
    this.#options = options
    this.#tokens = options.burst
    this.#filledMs = options.clock.monotonicMs()
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Resolves when it is one's turn; the call then ends with `release`. Rejects with the signal's reason, or with ApiUnreachableError when
   * too many wait already.
   */
  enter(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(reasonOf(signal))
    if (this.#waiting.size >= this.#options.waitingMax) {
      return Promise.reject(
        new ApiUnreachableError(`${this.#waiting.size} calls wait for their turn already`),
      )
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(waiter)
        reject(reasonOf(signal))
      }
      const waiter: Waiter = {
        signal,
        admit: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.add(waiter)
      this.#admit()
    })
  }

  release(): void {
    this.#busy -= 1
    this.#admit()
  }

  #admit(): void {
    this.#refill()
    for (const waiter of this.#waiting) {
      if (this.#busy >= this.#options.atOnceMax) return
      if (this.#tokens < 1) return this.#wakeWhenFull()
      this.#tokens -= 1
      this.#busy += 1
      this.#waiting.delete(waiter)
      waiter.admit()
    }
  }

  #refill(): void {
    const nowMs = this.#options.clock.monotonicMs()
    const gained = ((nowMs - this.#filledMs) / 1000) * this.#options.perSecond
    this.#tokens = Math.min(this.#options.burst, this.#tokens + gained)
    this.#filledMs = nowMs
  }

  #wakeWhenFull(): void {
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
