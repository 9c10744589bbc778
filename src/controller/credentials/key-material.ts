// Generates keys. The tenant's backend gets the signing part, and the gateways get the verifying part.
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { hashApiKey } from '../../tenant/api-key.js'

/**
 * The kind of a generated key. An `ApiKey` is sent as it is and verified by its hash; the others sign tokens.
 */
export type KeyAlgorithm = 'HS256' | 'ES256' | 'EdDSA' | 'ApiKey'

const secretBytesMin = 32

/** The prefix by which secret scanners recognise an API key of Parley. */
const apiKeyPrefix = 'parley_'

/**
 * Returns a new signing key as text, so that it fits into an environment variable: base64url, or a private
 * key in PEM (PKCS #8).
 */
export function generateKey(algorithm: KeyAlgorithm): string {
  const pem = { type: 'pkcs8', format: 'pem' } as const
  switch (algorithm) {
    case 'HS256':
      return randomBytes(secretBytesMin).toString('base64url')
    case 'ApiKey':
      return apiKeyPrefix + randomBytes(secretBytesMin).toString('base64url')
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(pem).toString()
    case 'EdDSA':
      return generateKeyPairSync('ed25519').privateKey.export(pem).toString()
  }
}

/**
 * Returns what a gateway needs to verify `signing`: the shared secret itself, a public key in PEM, or the
 * hash in hex. Returns undefined when `signing` is not a key of this algorithm.
 */
export function verifyingKey(algorithm: KeyAlgorithm, signing: string): string | undefined {
  if (algorithm === 'HS256') return isLongEnough(signing) ? signing : undefined
  if (algorithm === 'ApiKey') return isLongEnough(signing) ? hashApiKey(signing) : undefined
  try {
    const key = createPrivateKey(signing)
    const isEd25519 = key.asymmetricKeyType === 'ed25519'
    const fits = algorithm === 'EdDSA' ? isEd25519 : key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
    return fits ? createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString() : undefined
  } catch {
    return undefined
  }
}

function isLongEnough(text: string): boolean {
  return Buffer.byteLength(text) >= secretBytesMin
}
