// A clock and timers for tests. Time advances, and timers fire, only when the test calls `move`.
import type { After, Clock } from '../time.js'

export class ManualTime implements Clock {
  #epochMs = Date.UTC(2026, 0, 1)
  #monotonicMs = 1_000
  readonly #due = new Set<{ atMs: number; fire: () => void }>()

  epochMs(): number {
    return this.#epochMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  readonly after: After = (delayMs, fire) => {
    const timer = { atMs: this.#monotonicMs + delayMs, fire }
    this.#due.add(timer)
    return () => this.#due.delete(timer)
  }

  /** The number of timers that have not fired and were not cancelled. */
  get pending(): number {
    return this.#due.size
  }

  /** The remaining delay of each pending timer, the shortest first. */
  get delaysMs(): number[] {
    return [...this.#due].map(({ atMs }) => atMs - this.#monotonicMs).toSorted((a, b) => a - b)
  }

  /** Advances both clocks by `ms`, and fires the timers that become due, in order. */
  move(ms: number): void {
    const untilMs = this.#monotonicMs + ms
    for (;;) {
      const [next] = [...this.#due].filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs)
      if (!next) break
      this.#due.delete(next)
      this.#set(Math.max(next.atMs, this.#monotonicMs))
      next.fire()
    }
    this.#set(untilMs)
  }

  /**
   * Advances the clocks without firing timers, as when the process stalls. With `monotonic: false` only the
   * wall clock advances, as when the machine sleeps.
   */
  stall(ms: number, { monotonic = true } = {}): void {
    this.#epochMs += ms
    if (monotonic) this.#monotonicMs += ms
  }

  #set(monotonicMs: number): void {
    this.#epochMs += monotonicMs - this.#monotonicMs
    this.#monotonicMs = monotonicMs
  }
}
