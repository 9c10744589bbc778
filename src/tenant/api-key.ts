// Hashes and identifiers of server API keys. Parley stores the hash of a key, never the key itself.
import { createHash } from 'node:crypto'

/** The shortest key that is accepted, in bytes. A shorter key could be guessed. */
const keyBytesMin = 32

/** Returns the SHA-256 of an API key in hex. Keys are random, so a slow password hash is not needed. */
export function hashApiKey(key: string): string {
  return sha256(key).toString('hex')
}

/**
 * Returns an identifier of a key that does not reveal it, for a token's `kid`, for status and for logs.
 * `verifying` is the value that verifies the key: its hash, the shared secret, or the public key.
 */
export function keyIdOf(verifying: string): string {
  return sha256(verifying).toString('base64url').slice(0, 16)
}

/**
 * Returns the identifier and the hash of an API key that a user supplied, or undefined when the key has fewer
 * than 32 bytes.
 */
export function importApiKey(
  bytes: Uint8Array,
): { readonly id: string; readonly sha256: string } | undefined {
  const key = Buffer.from(bytes).toString().trim()
  if (Buffer.byteLength(key) < keyBytesMin) return undefined
  const hash = hashApiKey(key)
  return { id: keyIdOf(hash), sha256: hash }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
