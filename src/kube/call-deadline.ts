// One signal out of a deadline and the signals of others. AbortSignal.any would do, but for Node 20, where it leaves something behind on a
// signal that lives as long as the process, at each call.
import { onDeadline } from '../deadline.js'
import { ApiUnreachableError } from './api-error.js'

/** Aborts with ApiUnreachableError after `ms`, or with the reason of the first of `parents` that ends. Whoever made it ends it. */
export class CallDeadline {
  readonly #controller = new AbortController()
  readonly #undo: (() => void)[] = []

  constructor({ ms, what }: { ms: number; what: string }, ...parents: readonly (AbortSignal | undefined)[]) {
    this.#undo.push(
      onDeadline(ms, () =>
        this.#controller.abort(new ApiUnreachableError(`${what}: no answer within ${ms} ms`)),
      ),
    )
    for (const parent of parents) {
      if (!parent) continue
      const follow = () => this.#controller.abort(parent.reason)
      if (parent.aborted) follow()
      parent.addEventListener('abort', follow, { once: true })
      this.#undo.push(() => parent.removeEventListener('abort', follow))
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  end(): void {
    for (const undo of this.#undo) undo()
  }
}
