// Bytes waiting for one client. Many frames, one write: the write call is most of what a delivery costs.
import type { Clock } from '../../time.js'
import type { Flushable, Flusher } from './flusher.js'
import type { Frame, Transport } from '../transport.js'

export interface OutboxBounds {
  /** Waiting bytes (ours and the transport's) above which a client is too slow. */
  readonly bytesMax: number
  /** How long bytes may wait. */
  readonly ageMaxMs: number
}

export interface OutboxOwner {
  /** A bound was met. */
  onSlow(): void
  /** Bytes of payload went to the transport. */
  onSent(bytes: number): void
}

/** A bounded queue of frames in front of a transport. At a bound it says so once, through `onSlow`, and takes no more. */
export class Outbox implements Flushable {
  beat = -1
  readonly #transport: Transport
  readonly #flusher: Flusher
  readonly #bounds: OutboxBounds
  readonly #clock: Clock
  readonly #owner: OutboxOwner
  #frames: Frame[] = []
  #bytes = 0
  /** Set from a write that the kernel did not take whole until it has: meanwhile frames wait here, where they can be counted and merged. */
  #blockedSinceMs: number | undefined
  /** From `hold` to `release`. */
  #held = false
  #closed = false

  constructor(
    transport: Transport,
    options: { flusher: Flusher; bounds: OutboxBounds; clock: Clock; owner: OutboxOwner },
  ) {
    this.#transport = transport
    this.#flusher = options.flusher
    this.#bounds = options.bounds
    this.#clock = options.clock
    this.#owner = options.owner
  }

  push(frame: Frame): void {
    if (this.#closed) return
    if (this.#isOver()) return this.#tooSlow()
    if (this.#frames.length === 0 && !this.#waits) this.#flusher.add(this)
    this.#frames.push(frame)
    this.#bytes += frame.payload.length
    // A burst within one turn is no sign of a slow client: only the kernel's refusal is.
    if (!this.#waits && this.#bytes > this.#bounds.bytesMax / 4) this.flush()
  }

  /** What is pushed from here on waits for a frame that has to be read before it, and is bounded in bytes like what waits for the kernel. */
  hold(): void {
    this.flush()
    this.#held = true
  }

  /** Here it is: it goes out first, and all that waited behind it. */
  release(first: Frame): void {
    if (this.#closed) return
    this.#held = false
    this.#frames.unshift(first)
    this.#bytes += first.payload.length
    if (!this.#waits) this.#flusher.add(this)
  }

  /** Called by the flusher, and by the session before it says goodbye. */
  flush(): number {
    if (this.#closed || this.#frames.length === 0 || this.#waits) return 0
    const frames = this.#frames
    this.#owner.onSent(this.#bytes)
    this.#frames = []
    this.#bytes = 0
    if (!this.#transport.send(frames)) this.#blockedSinceMs = this.#clock.monotonicMs()
    return frames.length
  }

  /** The transport took everything: what waited here goes out now. */
  drained(): void {
    this.#blockedSinceMs = undefined
    this.flush()
  }

  /** Age also counts when nothing new comes; the session's heartbeat asks. */
  checkAge(): void {
    if (this.#isOver()) this.#tooSlow()
  }

  close(): void {
    this.#closed = true
    this.#frames = []
    this.#bytes = 0
  }

  get #waits(): boolean {
    return this.#held || this.#blockedSinceMs !== undefined
  }

  #isOver(): boolean {
    if (!this.#waits) return false
    if (this.#bytes + this.#transport.bufferedBytes > this.#bounds.bytesMax) return true
    // Held frames have no age: it is not the client who keeps them waiting.
    return (
      this.#blockedSinceMs !== undefined &&
      this.#clock.monotonicMs() - this.#blockedSinceMs > this.#bounds.ageMaxMs
    )
  }

  #tooSlow(): void {
    if (this.#closed) return
    this.close()
    this.#owner.onSlow()
  }
}
