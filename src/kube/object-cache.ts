// Holds the objects of one kind by key, as last reported by the server. Only the reflector changes the
// content; other code reads it and listens to changes.
import type { Clock } from '../time.js'
import type { ObjectCache, ObjectChange } from './ports.js'
import { keyOf, type ApiObject } from './object.js'

export interface KubeObjectCacheOptions {
  readonly clock: Clock
  /** Called with the error of a listener that throws. Such an error is a bug, and does not end the watch. */
  readonly onListenerError: (error: unknown) => void
}

/** How long a write takes precedence over the content from the watch. */
const writeAheadMsMax = 10_000
/**
 * The number of remembered versions. They show whether the watch reported a write before its response
 * arrived.
 */
const recentVersionsMax = 1_024

export class KubeObjectCache implements ObjectCache {
  readonly #options: KubeObjectCacheOptions
  readonly #listeners: ((change: ObjectChange) => void)[] = []
  readonly #waiters = new Set<() => void>()
  /** Written objects that the watch has not reported yet. */
  readonly #ahead = new Map<string, { object: ApiObject; untilMs: number }>()
  /**
   * Versions that the watch reported, oldest first. The watch may report a write before its response arrives.
   */
  readonly #recentVersions = new Set<string>()
  #objects = new Map<string, ApiObject>()
  #synced = false

  constructor(options: KubeObjectCacheOptions) {
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
      const onSynced = () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = () => {
        this.#waiters.delete(onSynced)
        reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)))
      }
      if (signal.aborted) return onAbort()
      this.#waiters.add(onSynced)
      signal.addEventListener('abort', onAbort, { once: true })
    })
  }

  recordWrite(object: ApiObject): void {
    if (this.#recentVersions.has(object.metadata.resourceVersion)) return
    const key = keyOf(object.metadata)
    // An equal version means that the write changed nothing.
    if (this.#objects.get(key)?.metadata.resourceVersion === object.metadata.resourceVersion) return
    this.#ahead.set(key, { object, untilMs: this.#options.clock.monotonicMs() + writeAheadMsMax })
  }

  /** Replaces the whole content with a complete list. Listeners get the deletions first. */
  replace(objects: Iterable<ApiObject>): void {
    const next = new Map<string, ApiObject>()
    for (const object of objects) next.set(keyOf(object.metadata), object)
    const before = this.#objects
    this.#objects = next
    this.#ahead.clear()
    for (const [key, previous] of before) {
      if (next.get(key)?.metadata.uid !== previous.metadata.uid) this.#notify({ key, previous })
    }
    for (const [key, current] of next) {
      const previous = before.get(key)
      if (previous?.metadata.uid !== current.metadata.uid) this.#notify({ key, current })
      else if (previous.metadata.resourceVersion !== current.metadata.resourceVersion)
        this.#notify({ key, previous, current })
    }
    this.#synced = true
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }

  /**
   * Stores an added or changed object. When the uid differs, the former object was deleted and another one
   * was created under its name; listeners get both changes.
   */
  put(current: ApiObject): void {
    const key = keyOf(current.metadata)
    const previous = this.#objects.get(key)
    this.#recordVersion(key, current)
    this.#objects.set(key, current)
    if (previous && previous.metadata.uid !== current.metadata.uid) {
      this.#notify({ key, previous })
      this.#notify({ key, current })
    } else if (previous?.metadata.resourceVersion !== current.metadata.resourceVersion)
      this.#notify({ key, previous, current })
  }

  /**
   * Removes an object; `last` is its last state. Returns false when another object has the name, which means
   * that a change was missed.
   */
  remove(last: ApiObject): boolean {
    const key = keyOf(last.metadata)
    const previous = this.#objects.get(key)
    if (!previous) return true
    if (previous.metadata.uid !== last.metadata.uid) return false
    this.#recordVersion(key, last)
    this.#ahead.delete(key)
    this.#objects.delete(key)
    this.#notify({ key, previous: last })
    return true
  }

  #recordVersion(key: string, { metadata }: ApiObject): void {
    this.#recentVersions.add(metadata.resourceVersion)
    if (this.#recentVersions.size > recentVersionsMax) {
      const [oldest] = this.#recentVersions
      if (oldest !== undefined) this.#recentVersions.delete(oldest)
    }
    const ahead = this.#ahead.get(key)?.object.metadata
    if (ahead?.resourceVersion === metadata.resourceVersion) this.#ahead.delete(key)
  }

  #notify(change: ObjectChange): void {
    for (const listener of this.#listeners) {
      try {
        listener(change)
      } catch (error) {
        this.#options.onListenerError(error)
      }
    }
  }
}
