// Reads the body of a request, up to a limit.
import type { IncomingMessage } from 'node:http'
import { CommandError } from '../../errors.js'

/**
 * Resolves to the body. Throws MESSAGE_TOO_LARGE when it exceeds `bytesMax`, and discards the rest of it.
 * Throws BAD_REQUEST when the connection closes before the end. The server limits the duration.
 */
export async function readBody(
  request: IncomingMessage,
  { bytesMax }: { bytesMax: number },
): Promise<Buffer> {
  const announcedBytes = Number(request.headers['content-length'] ?? 0)
  const body = announcedBytes > bytesMax ? undefined : await collect(request, bytesMax)
  if (body) return body
  request.resume()
  throw new CommandError('MESSAGE_TOO_LARGE', `The body exceeds ${bytesMax} bytes`)
}

/** Resolves to undefined when the body exceeds `bytesMax`. */
async function collect(request: IncomingMessage, bytesMax: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    // Destroying the request would close the connection before the response is sent.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      if (!Buffer.isBuffer(chunk)) continue
      bytes += chunk.byteLength
      if (bytes > bytesMax) return undefined
      chunks.push(chunk)
    }
  } catch (error) {
    throw new CommandError('BAD_REQUEST', 'The connection closed before the end of the body', {
      cause: error,
    })
  }
  return Buffer.concat(chunks)
}
