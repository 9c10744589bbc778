// The work of one tenant that waits for its turn on the gateway's event loop.

/** Work that can be interrupted between two steps. */
export interface Work {
  /**
   * Does a small part of the work, well below a millisecond, and returns true when more is left. Steps of one
   * tenant run in the order in which their work was given; all steps of one work run before the next work.
   */
  step(): boolean
}

/** A first-in, first-out queue of one tenant. Only the `FairScheduler` takes from it. */
export class WorkQueue {
  /** The time that the tenant may use before the others have their turn, in milliseconds. */
  creditMs = 0
  /** The turn in which `creditMs` was last refilled. */
  turn = -1
  /** What the tenant was charged in this turn and, with less and less weight, in the turns before. */
  recentMs = 0
  /** The scheduler has the queue in its list of tenants that wait. */
  waits = false
  readonly #works: (Work | undefined)[] = []
  /** The index of the first work. The entries before it are free. */
  #head = 0

  /** The number of works that wait. */
  get length(): number {
    return this.#works.length - this.#head
  }

  push(work: Work): void {
    this.#works.push(work)
  }

  /** Puts work that has begun in front of all other work. */
  putBack(work: Work): void {
    if (this.#head === 0) return void this.#works.unshift(work)
    this.#head -= 1
    this.#works[this.#head] = work
  }

  take(): Work | undefined {
    const work = this.#works[this.#head]
    if (!work) return undefined
    this.#works[this.#head] = undefined
    this.#head += 1
    return work
  }

  /** Frees the entries of works that are done. */
  compact(): void {
    if (this.length === 0) this.#works.length = 0
    else if (this.#head < freeEntriesMax) return
    else this.#works.splice(0, this.#head)
    this.#head = 0
  }
}

const freeEntriesMax = 1024
