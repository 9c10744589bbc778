// Keys that the controller makes: what signs goes to the tenant's backend, what verifies goes to the gateways.
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { hashApiKey } from '../../tenant/api-key.js'

/** `ApiKey` is sent as it is, and verified by its hash. */
export type KeyAlgorithm = 'HS256' | 'ES256' | 'EdDSA' | 'ApiKey'

const secretBytesMin = 32

/** For secret scanners, which look for prefixes. */
const apiKeyPrefix = 'parley_'

/** Text, so that it may stand in an environment variable: base64url, or a private key in PEM (PKCS #8). */
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

/** What a gateway needs: the secret itself, a public key in PEM, or the hash in hex. Undefined: `signing` is no such key. */
export function verifyingKey(algorithm: KeyAlgorithm, signing: string): string | undefined {
  if (algorithm === 'HS256') return isLong(signing) ? signing : undefined
  if (algorithm === 'ApiKey') return isLong(signing) ? hashApiKey(signing) : undefined
  try {
    const key = createPrivateKey(signing)
    const isEd25519 = key.asymmetricKeyType === 'ed25519'
    const fits = algorithm === 'EdDSA' ? isEd25519 : key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
    return fits ? createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString() : undefined
  } catch {
    return undefined
  }
}

function isLong(text: string): boolean {
  return Buffer.byteLength(text) >= secretBytesMin
}
