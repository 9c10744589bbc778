// Helpers to wait for events in tests, always with a deadline and never for a fixed time.

/**
 * The default deadline, in milliseconds. It is twice the slowest measured wait on a busy machine, and shorter
 * than the timeout of the test runner, because its error names the missing event. (The start of a gateway
 * uses 0.6 s of one core, and took 20 s when 36 others started on the same two cores.)
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

/** A queue of received items, in order of arrival, on which a test can wait. */
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

  /** The items that were not taken yet. */
  get waiting(): readonly Item[] {
    return this.#items
  }

  /** Waits for an item that fits, removes the oldest one from the queue and returns it. */
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

  /** Waits for the next `count` items and returns them in order. */
  async take(count: number): Promise<Item[]> {
    const items: Item[] = []
    while (items.length < count)
      items.push(await this.next(undefined, `${this.#what} ${items.length + 1} of ${count}`))
    return items
  }
}
