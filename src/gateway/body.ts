// A request's body, no longer than it may be.
import type { IncomingMessage } from 'node:http'
import { CommandError } from '../errors.js'

/** Throws MESSAGE_TOO_LARGE, and reads no more: what still comes is thrown away. How long it may take is the server's to say. */
export async function readBody(
  request: IncomingMessage,
  { bytesMax }: { bytesMax: number },
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = Number(request.headers['content-length'] ?? 0) > bytesMax ? Infinity : 0
  if (bytes === 0) {
    // To destroy the request would cut the line before the answer is out.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      if (!Buffer.isBuffer(chunk)) continue
      bytes += chunk.byteLength
      if (bytes > bytesMax) break
      chunks.push(chunk)
    }
  }
  if (bytes <= bytesMax) return Buffer.concat(chunks)
  request.resume()
  throw new CommandError('MESSAGE_TOO_LARGE', `The body may have ${bytesMax} bytes`)
}
