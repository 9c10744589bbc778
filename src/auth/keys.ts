// Makes keys from the issuers of a tenant's policy. The only place that decides which key may be used with
// which algorithm.
import { createHash, createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { createLocalJWKSet, importSPKI } from 'jose'
import { unreachable } from '../errors.js'
import type { Issuer, SigningAlgorithm } from '../tenant/policy.js'
import type { Clock } from '../time.js'
import type { FetchSlots } from './fetch-slots.js'
import { RemoteJwks } from './jwks-remote.js'
import { KeySet, type IssuerKeys, type KeySource } from './key-set.js'

export interface KeyDeps {
  readonly clock: Clock
  /** JWKS URLs may be http and lead to private addresses; for development and tests. */
  readonly allowPrivate: boolean
  /** Receives a sentence for the log, once per outage. It contains no key material. */
  readonly onProblem: (sentence: string) => void
  /** Called when fetched keys differ from those before: check again which connections are still accepted. */
  readonly onKeysChanged: () => void
  /** Bounds the fetches of the tenant and of all tenants. */
  readonly slots: FetchSlots
}

/** Never throws: an issuer whose key material is invalid has no keys, and `onProblem` receives the reason. */
export function openKeys(issuer: Issuer, deps: KeyDeps): IssuerKeys {
  const onProblem = (sentence: string) => deps.onProblem(`Issuer "${issuer.name}": ${sentence}`)
  const { name, key } = issuer
  switch (key.type) {
    case 'SharedKey':
      return new KeySet(sharedKeySources(name, key.secret, onProblem))
    case 'PublicKey':
      return new KeySet(publicKeySources(name, key.pem, onProblem))
    case 'JWKS':
      return new KeySet(jwksSources(name, key.keys, onProblem))
    case 'JWKSURI':
      return new RemoteJwks(key.uri, {
        ...deps,
        onProblem,
        keyIdPrefix: keyIdPrefix(name),
        // Providers also publish keys for encryption and of future types. These are skipped without a
        // message.
        build: (keys) => new KeySet(jwksSources(name, keys, () => {})),
      })
    default:
      return unreachable(key)
  }
}

/** Returns the raw secret of a shared key. Empty when the text is not base64. */
export function secretBytes(secret: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(secret.trim(), 'base64'))
}

/** Returns whether the algorithm is HS256, HS384 or HS512, the only ones for shared secrets. */
export function isSharedKeyAlgorithm(alg: SigningAlgorithm): boolean {
  return alg.startsWith('HS')
}

/** RFC 7518 forbids smaller RSA keys. A larger one would cost the gateway milliseconds for each token. */
const rsaBitsMin = 2_048
const rsaBitsMax = 8_192

/** Returns why an RSA key is refused, as the end of a sentence after the key. Undefined for other keys. */
function sizeProblem({ asymmetricKeyDetails }: KeyObject): string | undefined {
  const bits = asymmetricKeyDetails?.modulusLength
  if (bits === undefined || (bits >= rsaBitsMin && bits <= rsaBitsMax)) return undefined
  return `has ${bits} bits, and RSA keys need ${rsaBitsMin} to ${rsaBitsMax}`
}

type OnProblem = (sentence: string) => void

function sharedKeySources(name: string, secret: string, onProblem: OnProblem): KeySource[] {
  const bytes = secretBytes(secret)
  if (bytes.byteLength === 0) {
    onProblem('the shared key is empty or not base64; tokens signed with it are refused.')
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

function publicKeySources(name: string, pem: string, onProblem: OnProblem): KeySource[] {
  const spki = pem.trim()
  let key: KeyObject
  try {
    // Node would also accept a private key here and derive the public one. A tenant's private key must not be
    // in a policy.
    if (!spki.startsWith('-----BEGIN PUBLIC KEY-----')) throw new TypeError('not SPKI')
    key = createPublicKey(spki)
  } catch {
    onProblem('the public key is not SPKI in PEM ("BEGIN PUBLIC KEY"); tokens signed with it are refused.')
    return []
  }
  const problem = sizeProblem(key)
  if (problem !== undefined) {
    onProblem(`the public key ${problem}; tokens signed with it are refused.`)
    return []
  }
  return [
    {
      keyId: publicKeyId(name, key),
      matches: () => true,
      async load(alg) {
        // A known attack on JWT signs HS256 with the public key as the secret.
        if (isSharedKeyAlgorithm(alg)) throw new TypeError('a public key is never a secret')
        return importSPKI(spki, alg)
      },
    },
  ]
}

/**
 * Returns one source for each usable public signing key. `onProblem` receives the index of each other key in
 * the set.
 */
export function jwksSources(
  name: string,
  jwks: readonly Readonly<Record<string, unknown>>[],
  onProblem: OnProblem,
): KeySource[] {
  return jwks.flatMap((jwk, index) => {
    if (jwk.use !== undefined && jwk.use !== 'sig') return []
    try {
      // createPublicKey() would accept private members, but a set that contains them is a leak. jose refuses
      // it below too.
      if (jwk.kty === 'oct' || 'd' in jwk || 'k' in jwk) throw new TypeError('not a public key')
      const key = createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' })
      const problem = sizeProblem(key)
      if (problem !== undefined) {
        onProblem(`key ${index + 1} of the JWKS ${problem}; it is skipped.`)
        return []
      }
      // In a set of one key, jose decides whether `alg`, `crv` and `key_ops` match, and it stays known which
      // key matched.
      const resolve = createLocalJWKSet({ keys: [{ ...jwk, kty: String(jwk.kty) }] })
      return [
        {
          keyId: publicKeyId(name, key),
          matches: (kid: string | undefined) => kid === undefined || kid === jwk.kid,
          load: async (alg: SigningAlgorithm) => resolve({ alg }),
        },
      ]
    } catch {
      onProblem(`key ${index + 1} of the JWKS is not a public key of kind RSA, EC or OKP; it is skipped.`)
      return []
    }
  })
}

// The id is a hash of the key material and not of the `kid`: a key that is replaced under its old name is
// another key.
function keyIdOf(name: string, material: Uint8Array): string {
  return keyIdPrefix(name) + createHash('sha256').update(material).digest('base64url').slice(0, 22)
}

function keyIdPrefix(name: string): string {
  return `${name}/`
}

function publicKeyId(name: string, key: KeyObject): string {
  return keyIdOf(name, key.export({ type: 'spki', format: 'der' }))
}
