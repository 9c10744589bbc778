// A request's body, no longer than it may be.
import type { IncomingMessage } from 'node:http'
import { CommandError } from '../../errors.js'

/**
 * Throws MESSAGE_TOO_LARGE, and reads no more: what still comes is thrown away. Throws BAD_REQUEST when the line is cut. How long it may
 * take is the server's to say.
 */
export async function readBody(
  request: IncomingMessage,
  { bytesMax }: { bytesMax: number },
): Promise<Buffer> {
  const announcedBytes = Number(request.headers['content-length'] ?? 0)
  const body = announcedBytes > bytesMax ? undefined : await collect(request, bytesMax)
  if (body) return body
  request.resume()
  throw new CommandError('MESSAGE_TOO_LARGE', `The body may have ${bytesMax} bytes`)
}

/** Undefined: it is longer. */
async function collect(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    // To destroy the request would cut the line before the answer is out.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      if (!Buffer.isBuffer(chunk)) continue
      bytes += chunk.byteLength
      if (bytes > bytesMax) return undefined
      chunks.push(chunk)
    }
  } catch (error) {
    throw new CommandError('BAD_REQUEST', 'The body did not come whole', { cause: error })
  }
  return Buffer.concat(chunks)
}
