// The frames that wait for one client. Many frames are sent in one write, because the write call is most of
// the cost of a delivery.
import type { Clock } from '../../time.js'
import type { WorkQueue } from '../sharing/work-queue.js'
import type { Frame, Transport } from '../transport.js'
import type { Flushable, Flusher, TenantWrites } from './flusher.js'

export interface OutboxBounds {
  /** Waiting bytes, of the outbox and the transport together, above which a client is too slow. */
  readonly bytesMax: number
  /** How long bytes may wait for the client. */
  readonly ageMaxMs: number
}

export interface OutboxOwner {
  /** Called once when a bound is exceeded. */
  onSlow(): void
  /** Called when `bytes` bytes of payload were sent to the transport. */
  onSent(bytes: number): void
  /** Called with the change of the bytes that wait because the client does not read. */
  onHeld(bytes: number): void
  /** The kernel did not take a write completely. `drained` follows, or the client is too slow. */
  onBlocked(): void
}

/** What a waiting frame costs besides its payload. */
const frameOverheadBytes = 128

/** A client is congested when more than this waits for it. */
const congestedBytes = 65_536

/**
 * A bounded queue of frames in front of a transport. Above a bound it calls `onSlow` once and accepts no more
 * frames.
 */
export class Outbox implements Flushable {
  lastFlushInterval = -1
  readonly writes: TenantWrites
  readonly #transport: Transport
  readonly #flusher: Flusher
  readonly #bounds: OutboxBounds
  readonly #clock: Clock
  readonly #owner: OutboxOwner
  #frames: Frame[] = []
  #bytes = 0
  /**
   * Set while the kernel has not taken a write completely. Frames wait here during that time, so that they
   * can be counted and merged.
   */
  #blockedSinceMs: number | undefined
  /**
   * The frames that are counted as held: those of the write that the kernel has not taken, and those that
   * wait for it. Empty for a client that reads, so that a delivery is not counted.
   */
  #counted: Frame[] = []
  /** True from `hold` to `release`. */
  #held = false
  #closed = false

  constructor(
    transport: Transport,
    options: {
      flusher: Flusher
      bounds: OutboxBounds
      clock: Clock
      owner: OutboxOwner
      /** The tenant's work. */
      work: WorkQueue
    },
  ) {
    this.writes = options.flusher.writesOf(options.work)
    this.#transport = transport
    this.#flusher = options.flusher
    this.#bounds = options.bounds
    this.#clock = options.clock
    this.#owner = options.owner
  }

  get waitingFrames(): number {
    return this.#frames.length
  }

  /** The bytes that wait for the client, in the transport too. */
  get heldBytes(): number {
    return this.#bytes + this.#transport.bufferedBytes
  }

  /** The client has not read what was sent, so that nothing more should be made for it. */
  get isCongested(): boolean {
    return this.#blockedSinceMs !== undefined && this.heldBytes > congestedBytes
  }

  push(frame: Frame): void {
    if (this.#closed) return
    if (this.#isOverBound()) return this.#reportSlow()
    if (this.#blockedSinceMs !== undefined) this.#count(frame)
    else if (this.#frames.length === 0 && !this.#held) this.#flusher.add(this)
    this.#frames.push(frame)
    this.#bytes += frame.payload.length
    // A large burst within one turn does not make a client slow: only a write that the kernel does not take
    // completely does.
    if (!this.#waits && this.#bytes > this.#bounds.bytesMax / 4) this.flush()
  }

  /**
   * Keeps frames back until `release`, because the client has to read another frame before them. They are
   * bounded in bytes, like frames that wait for the kernel.
   */
  hold(): void {
    this.flush()
    this.#held = true
  }

  /** Sends `first`, and after it the frames that were held back. */
  release(first: Frame): void {
    if (this.#closed) return
    this.#held = false
    this.#frames.unshift(first)
    this.#bytes += first.payload.length
    if (!this.#waits) this.#flusher.add(this)
  }

  /**
   * Writes the waiting frames and returns their number. The flusher calls it, and the session before it
   * closes.
   */
  flush(): number {
    if (this.#closed || this.#frames.length === 0 || this.#waits) return 0
    const frames = this.#frames
    this.#owner.onSent(this.#bytes)
    this.#frames = []
    this.#bytes = 0
    if (this.#transport.send(frames)) return frames.length
    this.#blockedSinceMs = this.#clock.monotonicMs()
    for (const frame of frames) this.#count(frame)
    this.#owner.onBlocked()
    return frames.length
  }

  /** Records that the kernel has taken everything, and writes the frames that waited here. */
  drained(): void {
    this.#blockedSinceMs = undefined
    this.#uncountAll()
    this.flush()
  }

  /** Checks the bounds when no new frame comes. The session's heartbeat calls it. */
  checkAge(): void {
    if (this.#isOverBound()) this.#reportSlow()
  }

  close(): void {
    this.#closed = true
    this.#frames = []
    this.#bytes = 0
    this.#uncountAll()
  }

  /** A frame that waits in several outboxes is in memory once, and is counted once. */
  #count(frame: Frame): void {
    this.#counted.push(frame)
    const outboxes = frame.heldBy ?? 0
    frame.heldBy = outboxes + 1
    if (outboxes === 0) this.#owner.onHeld(frame.payload.byteLength + frameOverheadBytes)
  }

  #uncountAll(): void {
    if (this.#counted.length === 0) return
    let bytes = 0
    for (const frame of this.#counted) {
      frame.heldBy = (frame.heldBy ?? 1) - 1
      if (frame.heldBy === 0) bytes += frame.payload.byteLength + frameOverheadBytes
    }
    this.#counted = []
    this.#owner.onHeld(-bytes)
  }

  get #waits(): boolean {
    return this.#held || this.#blockedSinceMs !== undefined
  }

  #isOverBound(): boolean {
    if (!this.#waits) return false
    if (this.heldBytes > this.#bounds.bytesMax) return true
    // The age does not count for held frames: the client is not the one that keeps them waiting.
    return (
      this.#blockedSinceMs !== undefined &&
      this.#clock.monotonicMs() - this.#blockedSinceMs > this.#bounds.ageMaxMs
    )
  }

  #reportSlow(): void {
    if (this.#closed) return
    this.close()
    this.#owner.onSlow()
  }
}
