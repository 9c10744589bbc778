// A clock that stands still until a test moves it: rates do not refill and tokens do not end because the machine is busy.
import { systemClock, type Clock } from '../../src/time.js'
import type { TestGateway } from './gateway.js'

export class MovableClock implements Clock {
  #epochMs = systemClock.epochMs()
  #monotonicMs = systemClock.monotonicMs()

  epochMs(): number {
    return this.#epochMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  /** What is due by then on the gateway's wheel fires before this returns. */
  move(ms: number, { gateway }: TestGateway): void {
    this.#epochMs += ms
    this.#monotonicMs += ms
    gateway.context.wheel.advance()
  }
}
