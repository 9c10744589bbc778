// A clock that advances only when a test moves it, so that rates do not refill and tokens do not expire on a
// busy machine.
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

  /** Advances both clocks by `ms`. Timers of the gateway that become due fire before this returns. */
  move(ms: number, { gateway }: TestGateway): void {
    this.#epochMs += ms
    this.#monotonicMs += ms
    gateway.context.wheel.advance()
  }
}
