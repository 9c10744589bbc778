// Divides the time of the event loop among the tenants. A gateway has one event loop, so without a division
// the client that sends most would get most of it, and every other client would wait.
//
// This folder (`sharing/`) holds what all sessions of a gateway share, whatever their tenant: time
// (fair-scheduler.ts) and memory (memory-ceiling.ts). It imports leaves only.
//
// The scheduler uses deficit round robin, with measured time as the cost. Each tenant has a credit for one
// turn of the event loop. Work runs immediately while its tenant has credit and no earlier work waits, so a
// gateway that is not saturated never queues. The other work waits, and each turn serves the tenants that
// wait one after the other, for at most `turnMs`; then sockets are read again.
//
// Steps are measured. What follows from them is not: replies of Redis, promises, sockets that are read and
// written. That time is several times as long, so it is divided among the tenants in proportion to their
// recent steps. A turn is then short on average, which matters because libuv accepts one connection per turn
// of the event loop.
import type { Clock } from '../../time.js'
import type { Work, WorkQueue } from './work-queue.js'

export interface FairSchedulerOptions {
  readonly clock: Clock
  /** Called with the error of a step that throws. The rest of its work is dropped. */
  readonly onError: (error: unknown) => void
  /** Calls the function after the event loop has read its sockets. Default: `setImmediate`. */
  readonly defer?: (run: () => void) => void
}

/**
 * The time that one tenant may use in one turn before it waits for the others, and the time that waiting work
 * may use in one turn, in milliseconds. A delivery passes the event loop about five times, so a tenant waits
 * about five times as long for another tenant that uses all the time that it can get. Each turn costs about
 * 10 µs.
 */
export const [quantumMs, turnMs] = [0.5, 0.5]

/**
 * The most that a tenant is charged for one step, and in one turn for what was not measured, in milliseconds.
 * What took longer was interrupted, by the garbage collector or because another process had the processor.
 */
const chargeMsMax = 5
/** The weight of the turns before: about as much as of the last twenty. */
const recentWeight = 0.95
/** A tenant with less is forgotten. */
const recentMsMin = 0.001

export class FairScheduler {
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #defer: (run: () => void) => void
  /** The tenants that wait, in the order of their turns. */
  readonly #waiting: WorkQueue[] = []
  /** The tenants with recent charges. */
  readonly #active = new Set<WorkQueue>()
  #turn = 0
  /** When the turn began, while turns follow each other without a pause; monotonic milliseconds. */
  #turnStartedMs: number | undefined
  /** What was charged in this turn. */
  #chargedMs = 0
  #scheduled = false
  /** True while a step runs. */
  #measuring = false

  constructor({ clock, defer = setImmediate, onError }: FairSchedulerOptions) {
    this.#clock = clock
    this.#onError = onError
    this.#defer = defer
  }

  /** Runs the work now, or when the tenant has its turn. */
  run(queue: WorkQueue, work: Work): void {
    if (!this.hasTime(queue)) return this.enqueue(queue, work)
    // The next turn refills the credit.
    this.#schedule()
    // A step runs: the time of work that it starts is part of its own.
    if (this.#measuring) {
      if (this.#step(work)) this.#putBack(queue, work)
      return
    }
    this.#measuring = true
    let isUnfinished = true
    let sinceMs = this.#clock.monotonicMs()
    while (isUnfinished && queue.creditMs > 0) {
      isUnfinished = this.#step(work)
      sinceMs = this.#charge(queue, sinceMs)
    }
    this.#measuring = false
    if (isUnfinished) this.#putBack(queue, work)
  }

  /** Runs the work after all work of the tenant that waits, at the end of this turn at the earliest. */
  enqueue(queue: WorkQueue, work: Work): void {
    queue.push(work)
    this.#wait(queue)
  }

  /** Work that was given by a step of this work comes after it. */
  #putBack(queue: WorkQueue, work: Work): void {
    queue.putBack(work)
    this.#wait(queue)
  }

  #wait(queue: WorkQueue): void {
    if (!queue.waits) this.#waiting.push(queue)
    queue.waits = true
    this.#schedule()
  }

  /** Returns whether work of this tenant would run immediately. */
  hasTime(queue: WorkQueue): boolean {
    this.#refill(queue)
    return queue.creditMs > 0 && queue.length === 0
  }

  /** Returns whether the tenant has credit. When it has none, a turn follows in which to ask again. */
  hasCredit(queue: WorkQueue): boolean {
    this.#refill(queue)
    if (queue.creditMs > 0) return true
    this.#schedule()
    return false
  }

  /** Charges work that the scheduler does not run. `ms`: about what it takes. */
  charge(queue: WorkQueue, ms: number): void {
    this.#refill(queue)
    this.#schedule()
    this.#pay(queue, ms)
  }

  /**
   * Gives a tenant the credit of the turns that have passed. A tenant that waits gets its credit when it is
   * served. Who used more than its credit pays for it with its next turns.
   */
  #refill(queue: WorkQueue): void {
    if (queue.waits || queue.turn === this.#turn) return
    this.#credit(queue, (this.#turn - queue.turn) * quantumMs)
  }

  #credit(queue: WorkQueue, ms: number): void {
    queue.turn = this.#turn
    queue.creditMs = Math.min(queue.creditMs + ms, quantumMs)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#turnStartedMs ??= this.#clock.monotonicMs()
    this.#defer(this.#runTurn)
  }

  readonly #runTurn = (): void => {
    this.#scheduled = false
    let nowMs = this.#clock.monotonicMs()
    this.#divideRest(nowMs)
    this.#turn += 1
    if (this.#waiting.length === 0) return
    this.#turnStartedMs = nowMs
    this.#measuring = true
    const endMs = nowMs + turnMs
    // Each tenant once: who is in debt waits for later turns, between which sockets are read.
    for (let left = this.#waiting.length; left > 0 && nowMs < endMs; left -= 1) {
      const queue = this.#waiting.shift()
      if (!queue) break
      this.#credit(queue, quantumMs)
      nowMs = this.#serve(queue, nowMs)
      queue.waits = queue.length > 0
      if (queue.waits) this.#waiting.push(queue)
    }
    this.#measuring = false
    if (this.#waiting.length > 0) this.#schedule()
    if (this.#scheduled) return
    // No turn follows immediately: the time until the next one is idle.
    this.#turnStartedMs = undefined
    this.#chargedMs = 0
  }

  /** Runs waiting work until the credit is used. Returns the time. */
  #serve(queue: WorkQueue, startMs: number): number {
    let nowMs = startMs
    while (queue.creditMs > 0) {
      const work = queue.take()
      if (!work) break
      if (this.#step(work)) queue.putBack(work)
      nowMs = this.#charge(queue, nowMs)
    }
    queue.compact()
    return nowMs
  }

  /** Ends a turn: charges the tenants for the part of it that was not measured. */
  #divideRest(nowMs: number): void {
    const restMs = nowMs - (this.#turnStartedMs ?? nowMs) - this.#chargedMs
    this.#turnStartedMs = undefined
    this.#chargedMs = 0
    let recentMs = 0
    for (const queue of this.#active) recentMs += queue.recentMs
    for (const queue of this.#active) {
      const shareMs = Math.max(0, restMs) * (queue.recentMs / recentMs)
      queue.creditMs -= Math.min(shareMs, this.#restMaxOf(queue))
      queue.recentMs *= recentWeight
      if (queue.recentMs >= recentMsMin) continue
      queue.recentMs = 0
      this.#active.delete(queue)
    }
  }

  #restMaxOf(queue: WorkQueue): number {
    // A tenant that is alone delays nobody.
    if (this.#active.size === 1) return 0
    // A tenant in debt is charged less than each turn gives it: long turns would keep it in debt forever.
    return queue.creditMs > 0 ? chargeMsMax : quantumMs / 2
  }

  #step(work: Work): boolean {
    try {
      return work.step()
    } catch (error) {
      this.#onError(error)
      return false
    }
  }

  #charge(queue: WorkQueue, sinceMs: number): number {
    const nowMs = this.#clock.monotonicMs()
    this.#pay(queue, Math.min(nowMs - sinceMs, chargeMsMax))
    return nowMs
  }

  #pay(queue: WorkQueue, ms: number): void {
    if (ms <= 0) return
    if (queue.recentMs === 0) this.#active.add(queue)
    queue.recentMs += ms
    queue.creditMs -= ms
    this.#chargedMs += ms
  }
}
