// Time comes in from outside, so that tests move it instead of sleeping. Leaf: imports nothing of ours.

/** Milliseconds since the Unix epoch, and milliseconds of a clock that never jumps (for intervals). */
export interface Clock {
  epochMs(): number
  monotonicMs(): number
}

export const systemClock: Clock = {
  epochMs: () => Date.now(),
  monotonicMs: () => performance.now(),
}

/** Calls `fire` once after `delayMs`, unless the function it returns is called before. For few and short waits; thousands belong in a wheel. */
export type After = (delayMs: number, fire: () => void) => () => void

export const systemAfter: After = (delayMs, fire) => {
  const timeout = setTimeout(fire, delayMs)
  return () => clearTimeout(timeout)
}

/** Whole seconds from `nowMs` to an instant, rounded up, at least 1: an SDK takes 0 for "never". Undefined stays undefined. */
export function secondsUntil(instantMs: number | undefined, nowMs: number): number | undefined {
  return instantMs === undefined ? undefined : Math.max(1, Math.ceil((instantMs - nowMs) / 1000))
}

/** What a wheel calls when the time has come; the owner keeps it to cancel. */
export interface Timer {
  /** Tick in which it fires; the wheel's own. */
  tick: number
  readonly fire: () => void
}

/**
 * Thousands of coarse timers on one interval: pings, expiries, deadlines. A timer fires within one resolution after its delay,
 * never before it. Owns no clock of its own: `advance()` is called by an interval in production and by hand in tests.
 */
export class TimerWheel {
  readonly #resolutionMs: number
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #buckets = new Map<number, Set<Timer>>()
  readonly #startMs: number
  #tick = 0

  /** `onError` hears of a timer that throws, which is a bug of its owner and not of the others. Default: it is thrown. */
  constructor(options: { clock: Clock; resolutionMs?: number; onError?: (error: unknown) => void }) {
    this.#clock = options.clock
    this.#resolutionMs = options.resolutionMs ?? 250
    this.#onError = options.onError ?? rethrow
    this.#startMs = options.clock.monotonicMs()
  }

  get resolutionMs(): number {
    return this.#resolutionMs
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer: Timer = { tick: 0, fire }
    this.reschedule(timer, delayMs)
    return timer
  }

  /** Moves a timer, fired or not, to `delayMs` from now: a heartbeat makes one timer and keeps it. */
  reschedule(timer: Timer, delayMs: number): void {
    this.cancel(timer)
    const dueMs = this.#clock.monotonicMs() - this.#startMs + delayMs
    timer.tick = Math.max(this.#tick + 1, Math.ceil(dueMs / this.#resolutionMs))
    const bucket = this.#buckets.get(timer.tick)
    if (bucket) bucket.add(timer)
    else this.#buckets.set(timer.tick, new Set([timer]))
  }

  cancel(timer: Timer): void {
    const bucket = this.#buckets.get(timer.tick)
    if (bucket?.delete(timer) && bucket.size === 0) this.#buckets.delete(timer.tick)
  }

  /** Fires all that is due. */
  advance(): void {
    const now = Math.floor((this.#clock.monotonicMs() - this.#startMs) / this.#resolutionMs)
    while (this.#tick < now) {
      this.#tick += 1
      const bucket = this.#buckets.get(this.#tick)
      if (!bucket) continue
      // The bucket stays in place until all have fired: one of them may cancel another.
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

  /** Advances by itself until `signal` ends it. */
  run(signal: AbortSignal): void {
    const interval = setInterval(() => this.advance(), this.#resolutionMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }
}

function rethrow(error: unknown): never {
  throw error
}
