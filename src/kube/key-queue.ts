// The work queue: each key is waiting, in progress (and perhaps due once more after that), or delayed. Keys
// of different groups take turns, and urgent keys come first.
import type { After, Clock } from '../time.js'
import { FairQueue } from './fair-queue.js'
import type { KeyPriority, WorkQueue } from './ports.js'

/** Receives the queue's measurements as they happen. */
export interface QueueMeter {
  added(): void
  /** Counts a key that was added again after a failure. */
  retried(): void
  /** Records the time that a key waited in the queue. */
  waited(seconds: number, priority: KeyPriority): void
  /** Records the time that a worker spent on a key. */
  worked(seconds: number): void
}

export interface KeyQueueOptions {
  readonly clock: Clock
  readonly after: After
  /**
   * Returns the group of a key, such as its namespace. Within a priority the groups take turns. Default: all
   * keys are in one group.
   */
  readonly groupOf?: (key: string) => string
  readonly meter?: QueueMeter | undefined
}

/** Which keys `take` may return. */
export interface TakeOptions {
  /** Only urgent keys. Default false. */
  readonly urgentOnly?: boolean
  /**
   * The maximum number of keys of one group in progress at one time; an urgent key may exceed it by one.
   * Default: no maximum.
   */
  readonly perGroupMax?: number
}

const backoffMs = { first: 5, max: 1_000_000 } as const

interface Waiting {
  readonly priority: KeyPriority
  readonly sinceMs: number
}

export class KeyQueue implements WorkQueue {
  readonly #options: KeyQueueOptions
  readonly #order = new FairQueue<string>()
  /** The keys in `#order`, with the time at which each was added to its priority. */
  readonly #waiting = new Map<string, Waiting>()
  /** Keys that a worker has, with the time at which it took each. */
  readonly #inProgress = new Map<string, Waiting>()
  /** The number of keys in progress, by group. */
  readonly #busy = new Map<string, number>()
  /** Keys that were added while in progress. */
  readonly #dueAgain = new Map<string, KeyPriority>()
  readonly #delayed = new Map<string, { dueMs: number; priority: KeyPriority; cancel: () => void }>()
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

  add(key: string, priority: KeyPriority = 'normal'): void {
    if (this.#closed) return
    const working = this.#inProgress.has(key)
    const before = working ? this.#dueAgain.get(key) : this.#waiting.get(key)?.priority
    if (before === 'urgent' || before === priority) return
    if (working) this.#dueAgain.set(key, priority)
    else {
      if (before) this.#order.remove(key, this.#place(key, before))
      this.#enqueue(key, priority)
    }
    if (!before) this.#options.meter?.added()
    if (!working) this.#onAvailable()
  }

  addAfter(key: string, delayMs: number, priority: KeyPriority = 'normal'): void {
    if (this.#closed) return
    if (delayMs <= 0) return this.add(key, priority)
    const dueMs = this.#nowMs() + delayMs
    const pending = this.#delayed.get(key)
    const merged = pending?.priority === 'urgent' ? 'urgent' : priority
    if (pending && pending.dueMs <= dueMs) {
      this.#delayed.set(key, { ...pending, priority: merged })
      return
    }
    pending?.cancel()
    const cancel = this.#options.after(delayMs, () => {
      const due = this.#delayed.get(key)
      this.#delayed.delete(key)
      this.add(key, due?.priority)
    })
    this.#delayed.set(key, { dueMs, priority: merged, cancel })
  }

  addRateLimited(key: string): void {
    const failures = this.#failures.get(key) ?? 0
    this.#failures.set(key, failures + 1)
    this.#options.meter?.retried()
    this.addAfter(key, Math.min(backoffMs.first * 2 ** failures, backoffMs.max), this.priorityOf(key))
  }

  forget(key: string): void {
    this.#failures.delete(key)
  }

  /** Sets the one listener, which is called when there may be a key to take. */
  onAvailable(listener: () => void): void {
    this.#onAvailable = listener
  }

  /**
   * Takes the key whose turn it is, or returns undefined. No other worker gets the key until `done` is called
   * with it.
   */
  take({ perGroupMax = Infinity, urgentOnly = false }: TakeOptions = {}): string | undefined {
    const key = this.#order.take(
      ({ group, priority }) => (this.#busy.get(group) ?? 0) < perGroupMax + Number(priority === 'urgent'),
      urgentOnly ? 'urgent' : undefined,
    )
    const waited = key === undefined ? undefined : this.#waiting.get(key)
    if (key === undefined || !waited) return undefined
    const nowMs = this.#nowMs()
    const group = this.#groupOf(key)
    this.#waiting.delete(key)
    this.#inProgress.set(key, { priority: waited.priority, sinceMs: nowMs })
    this.#busy.set(group, (this.#busy.get(group) ?? 0) + 1)
    this.#options.meter?.waited((nowMs - waited.sinceMs) / 1000, waited.priority)
    return key
  }

  /** Returns the priority from which a key in progress was taken, and `normal` for any other key. */
  priorityOf(key: string): KeyPriority {
    return this.#inProgress.get(key)?.priority ?? 'normal'
  }

  /** Ends the work on a key. A key that was added meanwhile is queued again. */
  done(key: string): void {
    const working = this.#inProgress.get(key)
    if (!working) return
    const group = this.#groupOf(key)
    this.#inProgress.delete(key)
    const busy = (this.#busy.get(group) ?? 1) - 1
    if (busy > 0) this.#busy.set(group, busy)
    else this.#busy.delete(group)
    this.#options.meter?.worked((this.#nowMs() - working.sinceMs) / 1000)
    const priority = this.#dueAgain.get(key)
    this.#dueAgain.delete(key)
    if (!priority || this.#closed) return
    this.#enqueue(key, priority)
    this.#onAvailable()
  }

  /** Returns for each key in progress the seconds since it was taken. */
  unfinishedSeconds(): number[] {
    const nowMs = this.#nowMs()
    return [...this.#inProgress.values()].map(({ sinceMs }) => (nowMs - sinceMs) / 1000)
  }

  /**
   * Returns the number of keys that wait in a priority, and the seconds that the oldest of them has waited.
   */
  waitingIn(priority: KeyPriority): { depth: number; oldestSeconds: number } {
    let [depth, oldestMs] = [0, Infinity]
    for (const waiting of this.#waiting.values()) {
      if (waiting.priority !== priority) continue
      depth += 1
      oldestMs = Math.min(oldestMs, waiting.sinceMs)
    }
    return { depth, oldestSeconds: depth === 0 ? 0 : (this.#nowMs() - oldestMs) / 1000 }
  }

  /** Returns the group with the most waiting keys. Undefined when nothing waits. */
  largestGroup(): { group: string; size: number } | undefined {
    return this.#order.largest()
  }

  /** Drops waiting and delayed keys, and ignores further ones. Keys in progress are finished normally. */
  close(): void {
    this.#closed = true
    for (const { cancel } of this.#delayed.values()) cancel()
    this.#delayed.clear()
    this.#waiting.clear()
    this.#order.clear()
    this.#dueAgain.clear()
    this.#failures.clear()
  }

  #enqueue(key: string, priority: KeyPriority): void {
    this.#waiting.set(key, { priority, sinceMs: this.#nowMs() })
    this.#order.add(key, this.#place(key, priority))
  }

  #place(key: string, priority: KeyPriority) {
    return { priority, group: this.#groupOf(key) }
  }

  #groupOf(key: string): string {
    return this.#options.groupOf?.(key) ?? ''
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs()
  }
}
