// Objects of one kind as they were last heard of, by key. The reflector writes, everybody else reads and listens.
import type { Clock } from '../time.js'
import type { ObjectCache, ObjectChange } from './ports.js'
import { keyOf, type ApiObject } from './object.js'

export interface CachedObjectsOptions {
  readonly clock: Clock
  /** Hears of a listener that throws: a bug, which must not end the watch. */
  readonly onBug: (error: unknown) => void
}

/** How long a write may be ahead of the watch, and how many versions are remembered to tell which of the two was first. */
const aheadMsMax = 10_000
const recentMax = 1_024

export class CachedObjects implements ObjectCache {
  readonly #options: CachedObjectsOptions
  readonly #listeners: ((change: ObjectChange) => void)[] = []
  readonly #waiters = new Set<() => void>()
  readonly #ahead = new Map<string, { object: ApiObject; untilMs: number }>()
  /** Versions heard of lately, in order: the watch may be faster than the answer to the write that it tells of. */
  readonly #recent = new Set<string>()
  #objects = new Map<string, ApiObject>()
  #synced = false

  constructor(options: CachedObjectsOptions) {
    this.#options = options
  }

  get synced(): boolean {
    return this.#synced
  }

  get size(): number {
    return this.#objects.size
  }

  get(key: string): ApiObject | undefined {
    const ahead = this.#ahead.get(key)
    if (!ahead) return this.#objects.get(key)
    if (ahead.untilMs > this.#options.clock.monotonicMs()) return ahead.object
    this.#ahead.delete(key)
    return this.#objects.get(key)
  }

  list(): Iterable<ApiObject> {
    return this.#objects.values()
  }

  onChange(listener: (change: ObjectChange) => void): void {
    this.#listeners.push(listener)
  }

  whenSynced(signal: AbortSignal): Promise<void> {
    if (this.#synced) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const synced = () => {
        signal.removeEventListener('abort', ended)
        resolve()
      }
      const ended = () => {
        this.#waiters.delete(synced)
        reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)))
      }
      if (signal.aborted) return ended()
      this.#waiters.add(synced)
      signal.addEventListener('abort', ended, { once: true })
    })
  }

  wrote(object: ApiObject): void {
    if (this.#recent.has(object.metadata.resourceVersion)) return
    const key = keyOf(object.metadata)
    // Nothing was changed by that write, then.
    if (this.#objects.get(key)?.metadata.resourceVersion === object.metadata.resourceVersion) return
    this.#ahead.set(key, { object, untilMs: this.#options.clock.monotonicMs() + aheadMsMax })
  }

  /** All there is: what is not in it is gone. Deletions are told first. */
  replace(objects: Iterable<ApiObject>): void {
    const next = new Map<string, ApiObject>()
    for (const object of objects) next.set(keyOf(object.metadata), object)
    const before = this.#objects
    this.#objects = next
    this.#ahead.clear()
    for (const [key, was] of before) {
      if (next.get(key)?.metadata.uid !== was.metadata.uid) this.#tell({ key, was })
    }
    for (const [key, is] of next) {
      const was = before.get(key)
      if (was?.metadata.uid !== is.metadata.uid) this.#tell({ key, is })
      else if (was.metadata.resourceVersion !== is.metadata.resourceVersion) this.#tell({ key, was, is })
    }
    this.#synced = true
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }

  /** Added or changed; with another uid it is another object, and the old one is gone first. */
  put(is: ApiObject): void {
    const key = keyOf(is.metadata)
    const was = this.#objects.get(key)
    this.#heard(key, is)
    this.#objects.set(key, is)
    if (was && was.metadata.uid !== is.metadata.uid) {
      this.#tell({ key, was })
      this.#tell({ key, is })
    } else if (was?.metadata.resourceVersion !== is.metadata.resourceVersion) this.#tell({ key, was, is })
  }

  /** `last` is its last state. False: another object has that name, so what was heard makes no sense. */
  remove(last: ApiObject): boolean {
    const key = keyOf(last.metadata)
    const was = this.#objects.get(key)
    if (!was) return true
    if (was.metadata.uid !== last.metadata.uid) return false
    this.#heard(key, last)
    this.#ahead.delete(key)
    this.#objects.delete(key)
    this.#tell({ key, was: last })
    return true
  }

  #heard(key: string, { metadata }: ApiObject): void {
    this.#recent.add(metadata.resourceVersion)
    if (this.#recent.size > recentMax) {
      const [oldest] = this.#recent
      if (oldest !== undefined) this.#recent.delete(oldest)
    }
    const ahead = this.#ahead.get(key)?.object.metadata
    if (ahead?.resourceVersion === metadata.resourceVersion) this.#ahead.delete(key)
  }

  #tell(change: ObjectChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (error) {
        this.#options.onBug(error)
      }
    }
  }
}
