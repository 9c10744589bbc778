// What is equal in thousands of objects, kept once: as objects of their own their field sets would be most of a cache.
import { isRecord } from '../json.js'

/** Parts that are of one object alone pass through here too: what is remembered is bounded. */
const partsMax = 1_024

export class SharedParts {
  readonly #parts = new Map<string, object>()

  /** Equal to `value`, whose maps are the very ones that were given out for equal maps before. Read, never changed. */
  of(value: unknown): unknown {
    if (!isRecord(value)) return value
    const text = JSON.stringify(value)
    const known = this.#parts.get(text)
    if (known) return known
    const part = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, this.of(inner)]))
    if (this.#parts.size >= partsMax) this.#parts.clear()
    this.#parts.set(text, part)
    return part
  }
}
