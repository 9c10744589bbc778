// Reads the body of a watch: one JSON object per line, without end. A malformed line ends the watch, because
// its change is lost.
import { z } from 'zod'
import { ApiUnreachableError } from './api-error.js'

/** A change was missed or is malformed. Only a new list can restore the state. */
export class WatchBrokenError extends Error {
  override readonly name = 'WatchBrokenError'
}

const WatchEvent = z.object({
  type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']),
  object: z.unknown(),
})
export type WatchEvent = z.infer<typeof WatchEvent>

/** An object in etcd has at most 1.5 MiB, and escaping makes it longer. */
const lineBytesMax = 8 * 1_048_576
const lineFeed = 0x0a

/**
 * Yields the events of a watch, and calls `onChunk` for every chunk of bytes. Ends when the server closes the
 * body normally. Throws ApiUnreachableError when the connection breaks, and WatchBrokenError on a malformed
 * line.
 */
export async function* readWatch(
  body: AsyncIterable<Buffer>,
  onChunk: () => void,
): AsyncGenerator<WatchEvent, void, void> {
  let pieces: Buffer[] = []
  let bytes = 0
  for await (const chunk of unreachableWhenCut(body)) {
    onChunk()
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
  // An incomplete last line is dropped. The next watch repeats its event, because its version was not
  // reached.
}

async function* unreachableWhenCut(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  try {
    yield* body
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new ApiUnreachableError(`the connection of the watch broke: ${message}`, { cause: error })
  }
}

function parse(line: Buffer): WatchEvent {
  try {
    return WatchEvent.parse(JSON.parse(line.toString()))
  } catch {
    // The cause is left out: it quotes the line, which may contain a Secret.
    throw new WatchBrokenError('a line of the watch is malformed')
  }
}
