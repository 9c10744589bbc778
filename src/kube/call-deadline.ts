// Combines a deadline and parent signals into one signal. AbortSignal.any is not used, because in Node 20
// each call leaks memory on a parent signal that lives as long as the process.
import { onDeadline } from '../deadline.js'
import { ApiUnreachableError } from './api-error.js'

/**
 * Aborts with ApiUnreachableError after `ms`, or with the reason of the first parent that aborts. The creator
 * must call `end`, which releases the timer and the listeners. `operation` names the call in the message of
 * the error.
 */
export class CallDeadline {
  readonly #controller = new AbortController()
  readonly #undo: (() => void)[] = []

  constructor(
    { ms, operation }: { ms: number; operation: string },
    ...parents: readonly (AbortSignal | undefined)[]
  ) {
    this.#undo.push(
      onDeadline(ms, () =>
        this.#controller.abort(new ApiUnreachableError(`${operation}: no response within ${ms} ms`)),
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
