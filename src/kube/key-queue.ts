// The work queue: each key is waiting, in progress (and perhaps due once more after that), or delayed.
import type { After, Clock } from '../time.js'
import type { WorkQueue } from './ports.js'

/** Receives the queue's measurements as they happen. */
export interface QueueMeter {
  added(): void
  /** Counts a key that was added again after a failure. */
  retried(): void
  /** Records the time that a key waited in the queue. */
  waited(seconds: number): void
  /** Records the time that a worker spent on a key. */
  worked(seconds: number): void
}

export interface KeyQueueOptions {
  readonly clock: Clock
  readonly after: After
  readonly meter?: QueueMeter | undefined
}

const backoffMs = { first: 5, max: 1_000_000 } as const

export class KeyQueue implements WorkQueue {
  readonly #options: KeyQueueOptions
  /** Keys in order of addition, with the time at which each was added. */
  readonly #waiting = new Map<string, number>()
  /** Keys that a worker has, with the time at which it took each. */
  readonly #inProgress = new Map<string, number>()
  /** Keys that were added while in progress. */
  readonly #dueAgain = new Set<string>()
  readonly #delayed = new Map<string, { dueMs: number; cancel: () => void }>()
  readonly #failures = new Map<string, number>()
  #onAvailable: () => void = () => {}
  #closed = false

  constructor(options: KeyQueueOptions) {
    this.#options = options
  }

  get depth(): number {
    return this.#waiting.size
  }

  /** The number of keys that the queue holds any state for. It is 0 when all keys are done and forgotten. */
  get size(): number {
    return new Set([
      ...this.#waiting.keys(),
      ...this.#inProgress.keys(),
      ...this.#delayed.keys(),
      ...this.#failures.keys(),
    ]).size
  }

  add(key: string): void {
    if (this.#closed || this.#waiting.has(key)) return
    if (this.#inProgress.has(key)) {
      if (this.#dueAgain.has(key)) return
      this.#dueAgain.add(key)
    } else this.#waiting.set(key, this.#nowMs())
    this.#options.meter?.added()
    if (this.#waiting.has(key)) this.#onAvailable()
  }

  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return
    if (delayMs <= 0) return this.add(key)
    const dueMs = this.#nowMs() + delayMs
    const pending = this.#delayed.get(key)
    if (pending && pending.dueMs <= dueMs) return
    pending?.cancel()
    const cancel = this.#options.after(delayMs, () => {
      this.#delayed.delete(key)
      this.add(key)
    })
    this.#delayed.set(key, { dueMs, cancel })
  }

  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0
    this.#failures.set(key, failures + 1)
    this.#options.meter?.retried()
    this.addAfter(key, Math.min(backoffMs.first * 2 ** failures, backoffMs.max))
  }

  forget(key: string): void {
    this.#failures.delete(key)
  }

  /** Sets the one listener, which is called when there may be a key to take. */
  onAvailable(listener: () => void): void {
    this.#onAvailable = listener
  }

  /**
   * Takes the oldest key, or returns undefined. No other worker gets the key until `done` is called with it.
   */
  take(): string | undefined {
    const [oldest] = this.#waiting
    if (!oldest) return undefined
    const [key, sinceMs] = oldest
    const nowMs = this.#nowMs()
    this.#waiting.delete(key)
    this.#inProgress.set(key, nowMs)
    this.#options.meter?.waited((nowMs - sinceMs) / 1000)
    return key
  }

  /** Ends the work on a key. A key that was added meanwhile is queued again. */
  done(key: string): void {
    const sinceMs = this.#inProgress.get(key)
    if (sinceMs === undefined) return
    this.#inProgress.delete(key)
    this.#options.meter?.worked((this.#nowMs() - sinceMs) / 1000)
    if (!this.#dueAgain.delete(key) || this.#closed) return
    this.#waiting.set(key, this.#nowMs())
    this.#onAvailable()
  }

  /** Returns for each key in progress the seconds since it was taken. */
  unfinishedSeconds(): number[] {
    const nowMs = this.#nowMs()
    return [...this.#inProgress.values()].map((sinceMs) => (nowMs - sinceMs) / 1000)
  }

  /** Drops waiting and delayed keys, and ignores further ones. Keys in progress are finished normally. */
  close(): void {
    this.#closed = true
    for (const { cancel } of this.#delayed.values()) cancel()
    this.#delayed.clear()
    this.#waiting.clear()
    this.#dueAgain.clear()
    this.#failures.clear()
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs()
  }
}
