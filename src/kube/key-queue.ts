// Keys to work on, each once: waiting, being worked on (and perhaps once more after that), or later.
import type { After, Clock } from '../time.js'
import type { WorkQueue } from './ports.js'

/** What a dashboard wants to know as it happens. */
export interface QueueMeter {
  added(): void
  retried(): void
  waited(seconds: number): void
  worked(seconds: number): void
}

export interface KeyQueueOptions {
  readonly clock: Clock
  readonly after: After
  readonly meter?: QueueMeter | undefined
}

const retryMs = { first: 5, max: 1_000_000 } as const

export class KeyQueue implements WorkQueue {
  readonly #options: KeyQueueOptions
  /** In order; since when. */
  readonly #waiting = new Map<string, number>()
  readonly #working = new Map<string, number>()
  readonly #again = new Set<string>()
  readonly #later = new Map<string, { dueMs: number; cancel: () => void }>()
  readonly #failures = new Map<string, number>()
  #onWork: () => void = () => {}
  #closed = false

  constructor(options: KeyQueueOptions) {
    this.#options = options
  }

  get depth(): number {
    return this.#waiting.size
  }

  /** Keys of which anything is remembered. 0 when all is done and forgotten: nothing piles up. */
  get size(): number {
    return new Set([
      ...this.#waiting.keys(),
      ...this.#working.keys(),
      ...this.#later.keys(),
      ...this.#failures.keys(),
    ]).size
  }

  add(key: string): void {
    if (this.#closed || this.#waiting.has(key)) return
    if (this.#working.has(key)) {
      if (this.#again.has(key)) return
      this.#again.add(key)
    } else this.#waiting.set(key, this.#nowMs())
    this.#options.meter?.added()
    if (this.#waiting.has(key)) this.#onWork()
  }

  addAfter(key: string, delayMs: number): void {
    if (this.#closed) return
    if (delayMs <= 0) return this.add(key)
    const dueMs = this.#nowMs() + delayMs
    const other = this.#later.get(key)
    if (other && other.dueMs <= dueMs) return
    other?.cancel()
    const cancel = this.#options.after(delayMs, () => {
      this.#later.delete(key)
      this.add(key)
    })
    this.#later.set(key, { dueMs, cancel })
  }

  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0
    this.#failures.set(key, failures + 1)
    this.#options.meter?.retried()
    this.addAfter(key, Math.min(retryMs.first * 2 ** failures, retryMs.max))
  }

  forget(key: string): void {
    this.#failures.delete(key)
  }

  /** Called when there may be something to take. One listener: the workers. */
  onWork(listener: () => void): void {
    this.#onWork = listener
  }

  /** The oldest. Whoever takes a key gives it back with `done`, and has it alone until then. */
  take(): string | undefined {
    const [oldest] = this.#waiting
    if (!oldest) return undefined
    const [key, sinceMs] = oldest
    const nowMs = this.#nowMs()
    this.#waiting.delete(key)
    this.#working.set(key, nowMs)
    this.#options.meter?.waited((nowMs - sinceMs) / 1000)
    return key
  }

  done(key: string): void {
    const sinceMs = this.#working.get(key)
    if (sinceMs === undefined) return
    this.#working.delete(key)
    this.#options.meter?.worked((this.#nowMs() - sinceMs) / 1000)
    if (!this.#again.delete(key) || this.#closed) return
    this.#waiting.set(key, this.#nowMs())
    this.#onWork()
  }

  /** Seconds that each key being worked on has taken so far. */
  unfinishedSeconds(): number[] {
    const nowMs = this.#nowMs()
    return [...this.#working.values()].map((sinceMs) => (nowMs - sinceMs) / 1000)
  }

  /** Forgets what waits and what was to come later, and takes nothing more. What is being worked on ends as it may. */
  close(): void {
    this.#closed = true
    for (const { cancel } of this.#later.values()) cancel()
    this.#later.clear()
    this.#waiting.clear()
    this.#again.clear()
    this.#failures.clear()
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs()
  }
}
