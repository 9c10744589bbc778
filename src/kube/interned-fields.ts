// Stores equal field sets once. Thousands of objects have equal field sets, which would otherwise be most of
// a cache.
import { isRecord } from '../json.js'

/** Fields that only one object has pass through here too, so the number of remembered maps is bounded. */
const internedMax = 1_024

export class InternedFields {
  readonly #fields = new Map<string, object>()

  /**
   * Returns a value that is equal to `value`. Equal maps, nested ones included, are the same object, so
   * callers must not modify them. Values that are not maps are returned as they are.
   */
  intern(value: unknown): unknown {
    if (!isRecord(value)) return value
    const text = JSON.stringify(value)
    const known = this.#fields.get(text)
    if (known) return known
    const interned = Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [name, this.intern(inner)]),
    )
    if (this.#fields.size >= internedMax) this.#fields.clear()
    this.#fields.set(text, interned)
    return interned
  }
}
