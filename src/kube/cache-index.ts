// Finds the objects of a cache by their references, such as pods by the node that they run on.
import type { ObjectCache } from './ports.js'
import type { ApiObject } from './object.js'

const none: ReadonlySet<string> = new Set()

export class CacheIndex {
  readonly #keys = new Map<string, Set<string>>()

  /** `refs` returns the references under which an object is indexed. The cache must still be empty. */
  constructor(cache: ObjectCache, refs: (object: ApiObject) => Iterable<string>) {
    cache.onChange(({ key, current, previous }) => {
      if (previous) for (const ref of refs(previous)) this.#remove(ref, key)
      if (current) for (const ref of refs(current)) this.#add(ref, key)
    })
  }

  /** Returns the keys of all objects that have the reference. */
  keysOf(ref: string): ReadonlySet<string> {
    return this.#keys.get(ref) ?? none
  }

  #add(ref: string, key: string): void {
    const keys = this.#keys.get(ref)
    if (keys) keys.add(key)
    else this.#keys.set(ref, new Set([key]))
  }

  #remove(ref: string, key: string): void {
    const keys = this.#keys.get(ref)
    if (keys?.delete(key) && keys.size === 0) this.#keys.delete(ref)
  }
}
