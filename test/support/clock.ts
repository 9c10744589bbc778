// The system's clock with a hand on it: time runs as it does, and jumps when a test says so.
import { systemClock, type Clock } from '../../src/time.js'
import type { TestGateway } from './gateway.js'

export class MovableClock implements Clock {
  #aheadMs = 0

  epochMs(): number {
    return systemClock.epochMs() + this.#aheadMs
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#aheadMs
  }

  /** What is due by then on the gateway's wheel fires before this returns. */
  move(ms: number, { gateway }: TestGateway): void {
    this.#aheadMs += ms
    gateway.context.wheel.advance()
  }
}
