// Finds the sessions of a user, and what holds a token, without a look at the others.

/** Keeps values by key. A key with one value, the usual case, costs one entry and no set. */
export class HolderIndex<Value extends object> {
  readonly #values = new Map<string, Value | Set<Value>>()

  add(key: string, value: Value): void {
    const known = this.#values.get(key)
    if (known === undefined) this.#values.set(key, value)
    else if (known instanceof Set) known.add(value)
    else this.#values.set(key, new Set([known, value]))
  }

  remove(key: string, value: Value): void {
    const known = this.#values.get(key)
    if (known === value) this.#values.delete(key)
    if (!(known instanceof Set)) return
    known.delete(value)
    if (known.size === 0) this.#values.delete(key)
  }

  /** Returns the values of the key as a new list. */
  get(key: string): Value[] {
    const known = this.#values.get(key)
    if (known === undefined) return []
    return known instanceof Set ? [...known] : [known]
  }
}
