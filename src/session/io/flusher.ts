// When outboxes are written. At once while there is little to do; on a beat where much goes to the same sockets, so that frames share a write.
import type { After, Clock } from '../../time.js'

/** What waits to be written. */
export interface Flushable {
  /** In which beat it was written last: the flusher's own. */
  beat: number
  /** Gives how many frames were written. */
  flush(): number
}

/** About half of what a core can write one by one; below it nobody waits. */
const busyFramesPerSecond = 50_000
/** How long a frame waits for others, at that many and at most. A socket that gets fewer than 10 frames a second is never made to wait. */
const [beatMinMs, beatMaxMs] = [50, 100]
/** What lets a beat grow by a millisecond: the more there is to write, the more a write must carry. At 300,000 it is at its longest. */
const framesPerBeatMs = 5_000

export class Flusher {
  readonly #clock: Clock
  readonly #after: After
  /** Written when this turn of the event loop has read what there was to read. */
  #soon: Flushable[] = []
  #scheduled = false
  /** Written at the next beat, which `#cancelBeat` calls off: one that began late, by itself, is not followed by another at once. */
  #later: Flushable[] = []
  #cancelBeat: (() => void) | undefined
  #beat = 0
  #beatMs = beatMinMs
  #beatStartedMs: number
  /** Written since then. */
  #frames = 0
  #busy = false

  constructor({ after, clock }: { clock: Clock; after: After }) {
    this.#after = after
    this.#clock = clock
    this.#beatStartedMs = clock.monotonicMs()
  }

  add(outbox: Flushable): void {
    // One that was not written in this beat goes at once, however busy we are: it would gain nothing.
    if (this.#busy && outbox.beat === this.#beat) return this.#defer(outbox)
    this.#soon.push(outbox)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(this.#flushSoon)
  }

  readonly #flushSoon = (): void => {
    const outboxes = this.#soon
    this.#soon = []
    this.#scheduled = false
    if (this.#clock.monotonicMs() - this.#beatStartedMs >= this.#beatMs) this.#begin()
    this.#write(outboxes)
  }

  #defer(outbox: Flushable): void {
    this.#later.push(outbox)
    if (this.#later.length > 1) return
    const leftMs = Math.max(0, this.#beatStartedMs + this.#beatMs - this.#clock.monotonicMs())
    this.#cancelBeat = this.#after(leftMs, () => this.#begin())
  }

  /** A beat: it is busy when much came in the last one, written already or not. */
  #begin(): void {
    this.#cancelBeat?.()
    const nowMs = this.#clock.monotonicMs()
    const elapsedMs = Math.max(1, nowMs - this.#beatStartedMs)
    const outboxes = this.#later
    this.#later = []
    this.#beat += 1
    this.#beatStartedMs = nowMs
    this.#write(outboxes)
    const framesPerSecond = (this.#frames * 1000) / elapsedMs
    this.#busy = framesPerSecond >= busyFramesPerSecond
    const grownMs = beatMinMs + (framesPerSecond - busyFramesPerSecond) / framesPerBeatMs
    this.#beatMs = Math.min(Math.max(grownMs, beatMinMs), beatMaxMs)
    this.#frames = 0
  }

  #write(outboxes: readonly Flushable[]): void {
    for (const outbox of outboxes) {
      outbox.beat = this.#beat
      this.#frames += outbox.flush()
    }
  }
}
