// Bounds how many key sets are fetched at the same time: for each tenant, and for all of them together. The
// servers at the URLs of tenants may be as slow as they like.
import { abortable } from '../deadline.js'

/** The most fetches at the same time of one tenant. Others of the tenant wait. */
export const tenantFetchesMax = 2
/** The most fetches at the same time of all tenants. Each takes a socket and at most 64 KiB. */
export const fetchesMax = 256

export class FetchSlots {
  readonly #parent: FetchSlots | undefined
  #free: number
  readonly #waiting = new Set<() => void>()

  /** With a `parent`, a fetch needs a slot of both. */
  constructor(max: number, parent?: FetchSlots) {
    this.#free = max
    this.#parent = parent
  }

  /** Runs `fetch` when a slot is free. Rejects like `fetch`, and when `signal` is aborted before. */
  async run<Result>(signal: AbortSignal, fetch: () => Promise<Result>): Promise<Result> {
    await this.#acquire(signal)
    try {
      return await (this.#parent ? this.#parent.run(signal, fetch) : fetch())
    } finally {
      this.#release()
    }
  }

  async #acquire(signal: AbortSignal): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    let enter = (): void => {}
    const entered = new Promise<void>((resolve) => (enter = resolve))
    this.#waiting.add(enter)
    try {
      await abortable(signal, entered)
    } catch (error) {
      // The slot may have been handed over in the same turn.
      if (!this.#waiting.delete(enter)) this.#release()
      throw error
    }
  }

  /** Hands the slot to the fetch that has waited longest. */
  #release(): void {
    const [next] = this.#waiting
    if (next) {
      this.#waiting.delete(next)
      next()
    } else this.#free += 1
  }
}
