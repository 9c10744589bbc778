// Decides when outboxes are written: at the end of the turn of the event loop while the load is low, and at
// flush intervals where many frames go to the same sockets, so that frames share a write. The writes of each
// tenant are work of the tenant: a large fan-out of one does not delay the writes of the others.
import type { After, Clock } from '../../time.js'
import type { FairScheduler } from '../sharing/fair-scheduler.js'
import type { Work, WorkQueue } from '../sharing/work-queue.js'

/** Something that waits to be written. */
export interface Flushable {
  /** The number of the flush interval in which it was written last; −1: never. Only the flusher sets it. */
  lastFlushInterval: number
  /** The writes of its tenant, from `Flusher.writesOf`. */
  readonly writes: TenantWrites
  /** The number of frames that wait. */
  readonly waitingFrames: number
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

/** Writes in one step of a tenant's work. */
const writesPerStep = 8

/** The outboxes of one tenant that are written next. Only the flusher uses its fields. */
export class TenantWrites implements Work {
  readonly queue: WorkQueue
  /** Frames written in this interval. */
  frames = 0
  /** The tenant had its share of a high load in the last interval, so its frames may wait. */
  isBusy = false
  readonly #flusher: Flusher
  #outboxes: Flushable[] = []
  #written = 0

  constructor(queue: WorkQueue, flusher: Flusher) {
    this.queue = queue
    this.#flusher = flusher
  }

  /** Returns true when the writes must be scheduled. */
  add(outbox: Flushable): boolean {
    return this.#outboxes.push(outbox) === 1
  }

  step(): boolean {
    const interval = this.#flusher.currentInterval(this)
    const outboxes = this.#outboxes
    const end = Math.min(outboxes.length, this.#written + writesPerStep)
    while (this.#written < end) {
      const outbox = outboxes[this.#written]
      this.#written += 1
      if (!outbox) continue
      outbox.lastFlushInterval = interval
      this.frames += outbox.flush()
    }
    if (this.#written < outboxes.length) return true
    this.#outboxes = []
    this.#written = 0
    return false
  }
}

export class Flusher {
  readonly #clock: Clock
  readonly #after: After
  readonly #scheduler: FairScheduler
  readonly #tenants = new WeakMap<WorkQueue, TenantWrites>()
  /** The tenants that wrote in this interval, and those that wrote in the last one. */
  #active = new Set<TenantWrites>()
  #lastActive = new Set<TenantWrites>()
  /**
   * Written when the next interval begins. `#cancelTimer` cancels the timer for that: an interval may begin
   * before its timer fires, and must not be followed immediately by another.
   */
  #later: Flushable[] = []
  #cancelTimer: (() => void) | undefined
  #interval = 0
  #intervalMs = intervalMinMs
  #intervalStartedMs: number

  constructor({ after, clock, scheduler }: { clock: Clock; after: After; scheduler: FairScheduler }) {
    this.#scheduler = scheduler
    this.#after = after
    this.#clock = clock
    this.#intervalStartedMs = clock.monotonicMs()
  }

  /** Returns the writes of the tenant with this work. */
  writesOf(queue: WorkQueue): TenantWrites {
    let writes = this.#tenants.get(queue)
    if (!writes) this.#tenants.set(queue, (writes = new TenantWrites(queue, this)))
    return writes
  }

  add(outbox: Flushable): void {
    // An outbox that was not written in this interval is written immediately under any load, because waiting
    // would save nothing.
    if (outbox.writes.isBusy && outbox.lastFlushInterval === this.#interval) return this.#defer(outbox)
    this.#writeSoon(outbox)
  }

  /** Returns the number of the interval in which a tenant writes. Called before its writes. */
  currentInterval(writes: TenantWrites): number {
    if (this.#clock.monotonicMs() - this.#intervalStartedMs >= this.#intervalMs) this.#beginInterval()
    this.#active.add(writes)
    return this.#interval
  }

  #writeSoon(outbox: Flushable): void {
    const { writes } = outbox
    if (writes.add(outbox)) this.#scheduler.enqueue(writes.queue, writes)
  }

  #defer(outbox: Flushable): void {
    this.#later.push(outbox)
    if (this.#later.length > 1) return
    const leftMs = Math.max(0, this.#intervalStartedMs + this.#intervalMs - this.#clock.monotonicMs())
    this.#cancelTimer = this.#after(leftMs, () => this.#beginInterval())
  }

  /**
   * Schedules what waited, and sets the length of the new interval by the number of frames that were written
   * in the last one.
   */
  #beginInterval(): void {
    this.#cancelTimer?.()
    const nowMs = this.#clock.monotonicMs()
    const elapsedMs = Math.max(1, nowMs - this.#intervalStartedMs)
    this.#interval += 1
    this.#intervalStartedMs = nowMs
    const outboxes = this.#later
    this.#later = []
    // The frames that waited for the new interval count in the old one, in which they came.
    for (const { waitingFrames, writes } of outboxes) {
      this.#active.add(writes)
      writes.frames += waitingFrames
    }
    let frames = 0
    for (const writes of this.#active) frames += writes.frames
    const framesPerSecond = (frames * 1000) / elapsedMs
    this.#setBusy(framesPerSecond >= busyFramesPerSecond, elapsedMs)
    const grownMs = intervalMinMs + (framesPerSecond - busyFramesPerSecond) / framesPerIntervalMs
    this.#intervalMs = Math.min(Math.max(grownMs, intervalMinMs), intervalMaxMs)
    for (const outbox of outboxes) {
      outbox.writes.frames -= outbox.waitingFrames
      this.#writeSoon(outbox)
    }
  }

  /**
   * Under high load the frames of a tenant wait if it wrote its share of the load. The frames of a tenant
   * that writes little never wait because of another tenant.
   */
  #setBusy(isBusy: boolean, elapsedMs: number): void {
    for (const writes of this.#lastActive) writes.isBusy = false
    const share = (busyFramesPerSecond * elapsedMs) / 1000 / Math.max(1, this.#active.size)
    for (const writes of this.#active) {
      writes.isBusy = isBusy && writes.frames >= share
      writes.frames = 0
    }
    const free = this.#lastActive
    this.#lastActive = this.#active
    free.clear()
    this.#active = free
  }
}
