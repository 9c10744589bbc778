// Passes on the latest of several values that arrive in quick succession: the first at once, and then at most
// one each second.
import type { TimerWheel } from '../time.js'

const intervalMs = 1_000

/** One value that changes often. It holds a timer only while values arrive. */
export class LatestEachSecond<Value> {
  readonly #wheel: TimerWheel
  readonly #deliver: (value: Value) => void
  readonly #onIdle: () => void
  #next: { readonly value: Value } | undefined
  #isWaiting = false

  /** `onIdle`: called when no value has arrived for a second, so that the owner can forget the object. */
  constructor(wheel: TimerWheel, options: { deliver: (value: Value) => void; onIdle?: () => void }) {
    this.#wheel = wheel
    this.#deliver = options.deliver
    this.#onIdle = options.onIdle ?? (() => {})
  }

  offer(value: Value): void {
    if (this.#isWaiting) {
      this.#next = { value }
      return
    }
    this.#isWaiting = true
    this.#wheel.after(intervalMs, () => {
      this.#isWaiting = false
      const next = this.#next
      this.#next = undefined
      if (next) this.offer(next.value)
      else this.#onIdle()
    })
    this.#deliver(value)
  }
}
