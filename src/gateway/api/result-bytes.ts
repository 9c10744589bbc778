// Bounds the results of one API request: a batch can ask for a hundred large pages.
import { CommandError } from '../../errors.js'

/** The largest response of one request, in bytes, about. */
const responseBytesMax = 4_194_304
/** The largest result of one read, in bytes. A result has at least one entry, whatever its size. */
export const resultBytesMax = 1_048_576

export class ResultBytes {
  #bytes = 0
  #last: Promise<unknown> = Promise.resolve()

  /**
   * Runs one read after the earlier reads of the request, so that their sizes are known. `run` resolves with
   * the result and its size in bytes. Rejects with TOO_MANY_REQUESTS when the response has no room for it.
   */
  read<Result>(run: () => Promise<{ result: Result; bytes: number }>): Promise<Result> {
    const read = this.#last.then(async () => {
      if (this.#bytes + resultBytesMax > responseBytesMax)
        throw new CommandError(
          'TOO_MANY_REQUESTS',
          `The results of this batch have ${this.#bytes} bytes already: read the rest with another request`,
          { retryAfterMs: 0 },
        )
      const { bytes, result } = await run()
      this.#bytes += bytes
      return result
    })
    this.#last = read.catch(() => undefined)
    return read
  }
}
