// Decides when outboxes are written: at the end of the turn of the event loop while the load is low, and at
// flush intervals where many frames go to the same sockets, so that frames share a write.
import type { After, Clock } from '../../time.js'

/** Something that waits to be written. */
export interface Flushable {
  /** The number of the flush interval in which it was written last; −1: never. Only the flusher sets it. */
  lastFlushInterval: number
  /** Writes what waits and returns the number of frames written. */
  flush(): number
}

/** About half of the rate at which one core can write single frames. Below this rate no frame waits. */
const busyFramesPerSecond = 50_000
/**
 * The shortest flush interval, at `busyFramesPerSecond`, and the longest. A socket that gets fewer than 10
 * frames a second never waits.
 */
const [intervalMinMs, intervalMaxMs] = [50, 100]
/**
 * Frames per second above `busyFramesPerSecond` that lengthen the interval by 1 ms: the more there is to
 * write, the more each write has to carry. The interval is longest at 300,000 frames per second.
 */
const framesPerIntervalMs = 5_000

export class Flusher {
  readonly #clock: Clock
  readonly #after: After
  /** Written when this turn of the event loop has read all input. */
  #soon: Flushable[] = []
  #scheduled = false
  /**
   * Written when the next interval begins. `#cancelTimer` cancels the timer for that: an interval may begin
   * before its timer fires, and must not be followed immediately by another.
   */
  #later: Flushable[] = []
  #cancelTimer: (() => void) | undefined
  #interval = 0
  #intervalMs = intervalMinMs
  #intervalStartedMs: number
  /** Frames written in this interval. */
  #frames = 0
  #busy = false

  constructor({ after, clock }: { clock: Clock; after: After }) {
    this.#after = after
    this.#clock = clock
    this.#intervalStartedMs = clock.monotonicMs()
  }

  add(outbox: Flushable): void {
    // An outbox that was not written in this interval is written immediately under any load, because waiting
    // would save nothing.
    if (this.#busy && outbox.lastFlushInterval === this.#interval) return this.#defer(outbox)
    this.#soon.push(outbox)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#flushSoon)
  }

  readonly #flushSoon = (): void => {
    const outboxes = this.#soon
    this.#soon = []
    this.#scheduled = false
    if (this.#clock.monotonicMs() - this.#intervalStartedMs >= this.#intervalMs) this.#beginInterval()
    this.#write(outboxes)
  }

  #defer(outbox: Flushable): void {
    this.#later.push(outbox)
    if (this.#later.length > 1) return
    const leftMs = Math.max(0, this.#intervalStartedMs + this.#intervalMs - this.#clock.monotonicMs())
    this.#cancelTimer = this.#after(leftMs, () => this.#beginInterval())
  }

  /**
   * Writes what waited, and sets the length of the new interval by the number of frames that came in the last
   * one.
   */
  #beginInterval(): void {
    this.#cancelTimer?.()
    const nowMs = this.#clock.monotonicMs()
    const elapsedMs = Math.max(1, nowMs - this.#intervalStartedMs)
    const outboxes = this.#later
    this.#later = []
    this.#interval += 1
    this.#intervalStartedMs = nowMs
    this.#write(outboxes)
    const framesPerSecond = (this.#frames * 1000) / elapsedMs
    this.#busy = framesPerSecond >= busyFramesPerSecond
    const grownMs = intervalMinMs + (framesPerSecond - busyFramesPerSecond) / framesPerIntervalMs
    this.#intervalMs = Math.min(Math.max(grownMs, intervalMinMs), intervalMaxMs)
    this.#frames = 0
  }

  #write(outboxes: readonly Flushable[]): void {
    for (const outbox of outboxes) {
      outbox.lastFlushInterval = this.#interval
      this.#frames += outbox.flush()
    }
  }
}
