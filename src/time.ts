// Clocks and timers. Every part that reads the time receives a clock, so that tests can move the time instead
// of sleeping. This file is a leaf (see errors.ts).

/** Source of the current time. */
export interface Clock {
  /** Milliseconds since the Unix epoch. May jump when the system clock is set. */
  epochMs(): number
  /** Milliseconds since an arbitrary start; never jumps. Use it to measure intervals. */
  monotonicMs(): number
}

export const systemClock: Clock = {
  epochMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/**
 * Calls `fire` once after `delayMs` milliseconds. Returns a function that cancels the call. Intended for a
 * few short delays: thousands of timers belong in a `TimerWheel`.
 */
export type After = (delayMs: number, fire: () => void) => () => void

export const systemAfter: After = (delayMs, fire) => {
  const timeout = setTimeout(fire, delayMs)
  return () => clearTimeout(timeout)
}

/**
 * Returns the seconds from `nowMs` to `instantMs`, rounded up and at least 1, because SDKs read 0 as "never".
 * Returns undefined when `instantMs` is undefined.
 */
export function secondsUntil(instantMs: number | undefined, nowMs: number): number | undefined {
  return instantMs === undefined ? undefined : Math.max(1, Math.ceil((instantMs - nowMs) / 1000))
}

/** A scheduled callback of a `TimerWheel`. The owner keeps it to cancel or to reschedule it. */
export interface Timer {
  /** Tick at which the timer fires. Written by the wheel only. */
  tick: number
  readonly fire: () => void
}

/**
 * Runs thousands of coarse timers (pings, expiries, deadlines) on one interval. A timer never fires before
 * its delay has passed, and fires at most one resolution after it. The wheel does not start by itself:
 * `run()` advances it in production, tests call `advance()`.
 */
export class TimerWheel {
  readonly #resolutionMs: number
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #buckets = new Map<number, Set<Timer>>()
  readonly #startMs: number
  #tick = 0

  /**
   * `resolutionMs` is the length of one tick; default 250. `onError` receives the error of a callback that
   * throws, so that the other timers still fire; by default the error is thrown.
   */
  constructor(options: { clock: Clock; resolutionMs?: number; onError?: (error: unknown) => void }) {
    this.#clock = options.clock
    this.#resolutionMs = options.resolutionMs ?? 250
    this.#onError = options.onError ?? rethrow
    this.#startMs = options.clock.monotonicMs()
  }

  get resolutionMs(): number {
    return this.#resolutionMs
  }

  /** Schedules `fire` to run once after `delayMs` milliseconds, at the next tick at the earliest. */
  after(delayMs: number, fire: () => void): Timer {
    const timer: Timer = { tick: 0, fire }
    this.reschedule(timer, delayMs)
    return timer
  }

  /**
   * Moves a timer to `delayMs` milliseconds from now, whether or not it has fired, so that a heartbeat can
   * reuse one timer.
   */
  reschedule(timer: Timer, delayMs: number): void {
    this.cancel(timer)
    const dueMs = this.#clock.monotonicMs() - this.#startMs + delayMs
    timer.tick = Math.max(this.#tick + 1, Math.ceil(dueMs / this.#resolutionMs))
    const bucket = this.#buckets.get(timer.tick)
    if (bucket) bucket.add(timer)
    else this.#buckets.set(timer.tick, new Set([timer]))
  }

  /** Removes a timer. Does nothing when it has already fired. */
  cancel(timer: Timer): void {
    const bucket = this.#buckets.get(timer.tick)
    if (bucket?.delete(timer) && bucket.size === 0) this.#buckets.delete(timer.tick)
  }

  /** Fires every timer that is due, in order of time. */
  advance(): void {
    const now = Math.floor((this.#clock.monotonicMs() - this.#startMs) / this.#resolutionMs)
    while (this.#tick < now) {
      this.#tick += 1
      const bucket = this.#buckets.get(this.#tick)
      if (!bucket) continue
      // The bucket stays in the map until all its timers have fired, because one of them may cancel another.
      for (const timer of bucket) this.#fire(timer)
      this.#buckets.delete(this.#tick)
    }
  }

  #fire(timer: Timer): void {
    try {
      timer.fire()
    } catch (error) {
      this.#onError(error)
    }
  }

  /** Advances the wheel once per tick until `signal` is aborted. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => this.advance(), this.#resolutionMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }
}

function rethrow(error: unknown): never {
  throw error
}
