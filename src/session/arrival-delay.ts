// Measures how long the event loop was blocked. What clients send meanwhile waits in the kernel and then
// arrives all at once; a quota that counted it as one burst would refuse clients for a delay of the gateway.
import type { Clock } from '../time.js'

/** Milliseconds between two measurements. */
const intervalMs = 50
/** A shorter delay in milliseconds counts as none: every timer is a little late. */
const delayMsMin = 20
/** Arrivals of a longer time than this, in milliseconds, get no credit. */
const delayMsMax = 5_000

export class ArrivalDelay {
  readonly #clock: Clock
  /** When the last measurement ended. Undefined: nothing is measured. */
  #measuredMs: number | undefined
  /** The delay that was measured last, and how long arrivals may still be due to it. */
  #delayMs = 0
  #untilMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Measures until `signal` aborts. */
  run(signal: AbortSignal): void {
    this.measure()
    const interval = setInterval(() => this.measure(), intervalMs)
    signal.addEventListener('abort', () => clearInterval(interval), { once: true })
  }

  /** Ends one measurement and begins the next. `run` calls it periodically. */
  measure(): void {
    const nowMs = this.#clock.monotonicMs()
    const delayMs = this.#sinceDue(nowMs)
    this.#measuredMs = nowMs
    if (delayMs < this.#delayMs && nowMs < this.#untilMs) return
    this.#delayMs = delayMs
    // What waited in the kernel is read within one more turn of the event loop, which takes about as long.
    this.#untilMs = nowMs + delayMs + 2 * intervalMs
  }

  /** Returns the milliseconds by which input that is read at `nowMs` may be late, at most 5,000. */
  at(nowMs: number): number {
    const measured = nowMs < this.#untilMs ? this.#delayMs : 0
    return Math.min(Math.max(measured, this.#sinceDue(nowMs)), delayMsMax)
  }

  /** Returns how long the loop has been blocked, when the next measurement is overdue; otherwise 0. */
  #sinceDue(nowMs: number): number {
    const elapsedMs = nowMs - (this.#measuredMs ?? nowMs)
    return elapsedMs - intervalMs < delayMsMin ? 0 : elapsedMs
  }
}
