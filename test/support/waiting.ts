// Tests wait for what happens, never for time to pass; and not for ever.

/**
 * Twice what the slowest thing here took on a busy machine, and below the runner's own patience: this one says what did not come. (A gateway's
 * start is 0.6 s of a core, and took 20 s where 36 others wanted the same two.)
 */
export const deadlineMs = 45_000

export async function within<Value>(what: string, promise: Promise<Value>, ms = deadlineMs): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** A queue that can be waited on: what a listener gets, in the order it came. */
export class Arrivals<Item> {
  readonly #what: string
  readonly #items: Item[] = []
  #wake: (() => void) | undefined

  constructor(what: string) {
    this.#what = what
  }

  push(item: Item): void {
    this.#items.push(item)
    this.#wake?.()
  }

  /** Not yet taken. */
  get waiting(): readonly Item[] {
    return this.#items
  }

  /** The oldest that fits, taken out; waits for it. */
  async next(fits: (item: Item) => boolean = () => true, what = this.#what): Promise<Item> {
    return within(
      what,
      (async () => {
        for (;;) {
          const index = this.#items.findIndex(fits)
          if (index !== -1) return this.#items.splice(index, 1)[0] as Item
          await new Promise<void>((resolve) => (this.#wake = resolve))
        }
      })(),
    )
  }

  /** The next `count`, in order. */
  async take(count: number): Promise<Item[]> {
    const items: Item[] = []
    while (items.length < count)
      items.push(await this.next(undefined, `${this.#what} ${items.length + 1} of ${count}`))
    return items
  }
}
