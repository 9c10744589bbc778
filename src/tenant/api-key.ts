// What is kept of a server API key: never itself, only what it is known by.
import { createHash } from 'node:crypto'

/** Bytes: a key that can be guessed is none. */
const bytesMin = 32

/** SHA-256 in hex. The keys are random, so that nothing slower is needed. */
export function hashApiKey(key: string): string {
  return sha256(key).toString('hex')
}

/** Names a key without telling it: what goes into a token's `kid`, status and logs. `verifying` is the hash, the secret or the public half. */
export function keyIdOf(verifying: string): string {
  return sha256(verifying).toString('base64url').slice(0, 16)
}

/** Of a key that somebody brought. Undefined: it is too short to be one. */
export function importApiKey(
  bytes: Uint8Array,
): { readonly id: string; readonly sha256: string } | undefined {
  const key = Buffer.from(bytes).toString().trim()
  if (Buffer.byteLength(key) < bytesMin) return undefined
  const hash = hashApiKey(key)
  return { id: keyIdOf(hash), sha256: hash }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
