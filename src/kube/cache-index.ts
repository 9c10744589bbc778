// Finds objects by what they refer to: tenants by plan, credentials by tenant.
import type { ObjectCache } from './ports.js'
import type { ApiObject } from './object.js'

const none: ReadonlySet<string> = new Set()

/** Keys of a cache's objects by the names that `refs` makes of each. Must be made before the cache is filled. */
export class CacheIndex {
  readonly #keys = new Map<string, Set<string>>()

  constructor(cache: ObjectCache, refs: (object: ApiObject) => Iterable<string>) {
    cache.onChange(({ is, key, was }) => {
      if (was) for (const ref of refs(was)) this.#remove(ref, key)
      if (is) for (const ref of refs(is)) this.#add(ref, key)
    })
  }

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
