// Turns an issuer of a tenant's policy into keys. Here, and nowhere else, it is decided which key serves which algorithm.
import { createHash, createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { createLocalJWKSet, importSPKI } from 'jose'
import { unreachable } from '../errors.js'
import type { Issuer, SigningAlgorithm } from '../tenant/policy.js'
import type { Clock } from '../time.js'
import { RemoteJwks } from './jwks-remote.js'
import { KeySet, type IssuerKeys, type KeySource } from './key-set.js'

export interface KeyDeps {
  readonly clock: Clock
  /** JWKS URLs may be http and lead to private addresses: for development and tests. */
  readonly allowPrivate: boolean
  /** A sentence for the log, once per episode. Holds no key material. */
  readonly onProblem: (sentence: string) => void
  /** Keys were fetched that differ from those before: ask again which connections are still accepted. */
  readonly onKeysChanged: () => void
}

/** Never throws: an issuer whose key material is broken has no keys, and the problem is told. */
export function openKeys(issuer: Issuer, deps: KeyDeps): IssuerKeys {
  const problem = (sentence: string) => deps.onProblem(`Issuer "${issuer.name}": ${sentence}`)
  const { name, key } = issuer
  switch (key.type) {
    case 'SharedKey':
      return new KeySet(sharedKeySources(name, key.secret, problem))
    case 'PublicKey':
      return new KeySet(publicKeySources(name, key.pem, problem))
    case 'JWKS':
      return new KeySet(jwksSources(name, key.keys, problem))
    case 'JWKSURI':
      return new RemoteJwks(key.uri, {
        ...deps,
        onProblem: problem,
        keyIdPrefix: keyIdPrefix(name),
        // Providers publish keys for encryption and of future kinds too: those are passed over in silence.
        build: (keys) => new KeySet(jwksSources(name, keys, () => {})),
      })
    default:
      return unreachable(key)
  }
}

/** The raw secret of a shared key. Empty when the text is no base64. */
export function secretBytes(secret: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(secret.trim(), 'base64'))
}

/** HS256, HS384, HS512: those, and only those, are for shared secrets. */
export function isSharedKeyAlgorithm(alg: SigningAlgorithm): boolean {
  return alg.startsWith('HS')
}

type Problem = (sentence: string) => void

function sharedKeySources(name: string, secret: string, problem: Problem): KeySource[] {
  const bytes = secretBytes(secret)
  if (bytes.byteLength === 0) {
    problem('the shared key is empty or not base64; tokens signed with it are refused.')
    return []
  }
  return [
    {
      keyId: keyIdOf(name, bytes),
      matches: () => true,
      async load(alg) {
        if (!isSharedKeyAlgorithm(alg)) throw new TypeError('a shared key is for HS* only')
        return createSecretKey(bytes)
      },
    },
  ]
}

function publicKeySources(name: string, pem: string, problem: Problem): KeySource[] {
  const spki = pem.trim()
  let key: KeyObject
  try {
    // Node would also take a private key here and derive the public one: a tenant's private key has no place in a policy.
    if (!spki.startsWith('-----BEGIN PUBLIC KEY-----')) throw new TypeError('not SPKI')
    key = createPublicKey(spki)
  } catch {
    problem('the public key is not SPKI in PEM ("BEGIN PUBLIC KEY"); tokens signed with it are refused.')
    return []
  }
  return [
    {
      keyId: publicKeyId(name, key),
      matches: () => true,
      async load(alg) {
        // The oldest trick against JWT: the public key, which everybody knows, as the secret of an HS256.
        if (isSharedKeyAlgorithm(alg)) throw new TypeError('a public key is never a secret')
        return importSPKI(spki, alg)
      },
    },
  ]
}

/** One source for each usable public signing key; the rest is told to `problem` by its place in the set. */
export function jwksSources(
  name: string,
  jwks: readonly Readonly<Record<string, unknown>>[],
  problem: Problem,
): KeySource[] {
  return jwks.flatMap((jwk, index) => {
    if (jwk.use !== undefined && jwk.use !== 'sig') return []
    try {
      // Private members would pass createPublicKey(); a set that holds them is a leak, and jose refuses it below too.
      if (jwk.kty === 'oct' || 'd' in jwk || 'k' in jwk) throw new TypeError('not a public key')
      const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
      // A set of one: jose decides whether `alg`, `crv` and `key_ops` fit, and here it stays known which key it was.
      const resolve = createLocalJWKSet({ keys: [{ ...jwk, kty: String(jwk.kty) }] })
      return [
        {
          keyId: publicKeyId(name, key),
          matches: (kid: string | undefined) => kid === undefined || kid === jwk.kid,
          load: async (alg: SigningAlgorithm) => resolve({ alg }),
        },
      ]
    } catch {
      problem(`key ${index + 1} of the JWKS is not a public key of kind RSA, EC or OKP; it is passed over.`)
      return []
    }
  })
}

// The hash is of the material, not the `kid`: a key replaced under its old name is another key.
function keyIdOf(name: string, material: Uint8Array): string {
  return keyIdPrefix(name) + createHash('sha256').update(material).digest('base64url').slice(0, 22)
}

function keyIdPrefix(name: string): string {
  return `${name}/`
}

function publicKeyId(name: string, key: KeyObject): string {
  return keyIdOf(name, key.export({ type: 'spki', format: 'der' }))
}
