// The body of a watch: one JSON object per line, for as long as it lasts. A line that cannot be read ends it, for what it said is lost.
import { z } from 'zod'
import { ApiUnreachableError } from './api-error.js'

/** Something was missed or makes no sense: only a new list tells what is. */
export class WatchBrokenError extends Error {
  override readonly name = 'WatchBrokenError'
}

const WatchEvent = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.unknown(),
})
export type WatchEvent = z.infer<typeof WatchEvent>

/** An object in etcd is at most 1.5 MiB; escaped, it may grow. */
const lineBytesMax = 8 * 1_048_576
const lineFeed = 0x0a

/** Ends when the server closes the body in good order; rejects with ApiUnreachableError when it is cut, WatchBrokenError on a bad line. */
export async function* readWatch(
  body: AsyncIterable<Buffer>,
  heard: () => void,
): AsyncGenerator<WatchEvent, void, void> {
  let pieces: Buffer[] = []
  let bytes = 0
  for await (const chunk of uncut(body)) {
    heard()
    let start = 0
    for (;;) {
      const end = chunk.indexOf(lineFeed, start)
      const piece = chunk.subarray(start, end === -1 ? undefined : end)
      bytes += piece.byteLength
      if (bytes > lineBytesMax)
        throw new WatchBrokenError(`a line of the watch is longer than ${lineBytesMax} bytes`)
      if (piece.byteLength > 0) pieces.push(piece)
      if (end === -1) break
      if (bytes > 0) yield parse(Buffer.concat(pieces))
      pieces = []
      bytes = 0
      start = end + 1
    }
  }
  // Closed in the middle of a line: what it would have said comes again, since the version was not reached.
}

async function* uncut(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  try {
    yield* body
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new ApiUnreachableError(`the watch was cut: ${message}`, { cause: error })
  }
}

function parse(line: Buffer): WatchEvent {
  try {
    return WatchEvent.parse(JSON.parse(line.toString()))
  } catch {
    // Without the cause: it quotes the line, which may be a Secret's.
    throw new WatchBrokenError('a line of the watch cannot be read')
  }
}
