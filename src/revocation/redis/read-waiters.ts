// Clients that wait until the revocations have been read from Redis again.
import { onDeadline } from '../../deadline.js'
import { CommandError } from '../../errors.js'

const deadlineMs = 5_000

export class ReadWaiters {
  #waiting: { readonly promise: Promise<void>; readonly settle: (error?: CommandError) => void } | undefined

  /** Resolves at the next `settle`. Rejects with BROKER_UNAVAILABLE after 5 s. */
  wait(): Promise<void> {
    if (this.#waiting) return this.#waiting.promise
    let settle: (error?: CommandError) => void = () => {}
    const promise = new Promise<void>((resolve, reject) => {
      const cancel = onDeadline(deadlineMs, () => settle(tooLate()))
      settle = (error) => {
        cancel()
        this.#waiting = undefined
        if (error) reject(error)
        else resolve()
      }
    })
    this.#waiting = { promise, settle }
    return promise
  }

  settle(): void {
    this.#waiting?.settle()
  }
}

function tooLate(): CommandError {
  return new CommandError(
    'BROKER_UNAVAILABLE',
    'The revocations of this tenant cannot be read at the moment: try again',
    { retryAfterMs: 1_000 },
  )
}
