// Compiles the token sources of a tenant. All keys are looked up and validated here, so that a gateway never
// receives an unusable key.
import { createPublicKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto'
import { signingAlgorithms, type Issuer, type SigningAlgorithm } from '../tenant/policy.js'
import type { FieldPath, Problem } from '../resources/problem.js'
import type { Auth } from '../resources/auth.js'

/** Looks up the keys of a tenant. */
export interface KeyLookup {
  /** The name of the Secret in which the controller stores generated keys. */
  readonly generatedSecretName: string
  /** Returns a value of a Secret, or undefined when the Secret or the key in it does not exist. */
  secret(name: string, key: string): Uint8Array | undefined
  /** Returns whether the Secret is a sample that is published with Parley. */
  isSample(name: string): boolean
}

/** RFC 7518, section 3.2: a shared secret has at least as many bytes as the output of the hash. */
const secretBytesMin: Readonly<Partial<Record<SigningAlgorithm, number>>> = {
  HS256: 32,
  HS384: 48,
  HS512: 64,
}
const rsaBitsMin = 2048
/** A larger key would cost the gateways milliseconds for each token. */
const rsaBitsMax = 8192

/**
 * The default for a key set at a URL. Which algorithms its keys support is known only after a gateway has
 * fetched it.
 */
const jwksUriAlgorithms: readonly SigningAlgorithm[] = ['RS256', 'ES256', 'EdDSA']

/** Carries the first problem of one entry. It is thrown and caught only in this file. */
class KeyProblem extends Error {
  readonly problem: Problem
  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

/** Compiles one entry of `spec.auth`, or returns its first problem. `path` is the path of the entry. */
export function compileIssuer(auth: Auth, lookup: KeyLookup, path: FieldPath): Issuer | Problem {
  const { name, issuer, audience, claims } = auth
  try {
    return { name, issuer, audience, claims, ...compileKey(auth, lookup, path) }
  } catch (error) {
    if (error instanceof KeyProblem) return error.problem
    throw error
  }
}

function compileKey(auth: Auth, lookup: KeyLookup, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  switch (auth.type) {
    case 'SharedKey':
      return sharedKey(auth, lookup, path)
    case 'PublicKey':
      return publicKey(auth, lookup, path)
    case 'JWKS':
      return keySet(auth, path)
    case 'JWKSURI':
      return keyUri(auth, path)
  }
}

function sharedKey(auth: Auth, lookup: KeyLookup, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const algorithms = auth.algorithms ?? ['HS256']
  const { bytes, secretName, keyPath } = findKey(auth, lookup, path)
  const bytesMin = Math.max(...algorithms.map((algorithm) => secretBytesMin[algorithm] ?? 0))
  if (bytes.byteLength < bytesMin) {
    const message =
      `The key of auth "${auth.name}" has ${bytes.byteLength} bytes; ` +
      `${algorithms.join(', ')} needs at least ${bytesMin}.`
    throw new KeyProblem({ path: keyPath, reason: 'KeyTooShort', message })
  }
  const secret = Buffer.from(bytes).toString('base64')
  return { algorithms, key: { type: 'SharedKey', secret, sample: lookup.isSample(secretName) } }
}

function publicKey(auth: Auth, lookup: KeyLookup, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const { pem, keyPath } =
    auth.publicKey === undefined
      ? readPem(findKey(auth, lookup, path))
      : { pem: auth.publicKey, keyPath: [...path, 'publicKey'] }
  // Node would silently derive the public key. But the private key is now visible to everyone who can read
  // the tenant, so the author must know.
  if (pem.includes('PRIVATE KEY')) {
    const message =
      `The key of auth "${auth.name}" is a private key, which everyone who can read ` +
      'the tenant can now see. Generate a new key pair and enter its public key.'
    throw new KeyProblem({ path: keyPath, reason: 'InvalidKey', message })
  }
  const key = readKey(pem, { auth, path: keyPath })
  const suitable = suitableAlgorithms(key, { auth, path: keyPath })
  return {
    algorithms: chosenAlgorithms(auth, { suitable, defaults: suitable.slice(0, 1), path }),
    key: { type: 'PublicKey', pem: key.export({ type: 'spki', format: 'pem' }).toString() },
  }
}

function keySet(auth: Auth, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const keys = auth.jwks?.keys ?? []
  const suitable: SigningAlgorithm[] = []
  const defaults: SigningAlgorithm[] = []
  for (const [index, jwk] of keys.entries()) {
    const keyPath = [...path, 'jwks', 'keys', index]
    if (jwk.kty === 'oct' || jwk['d'] !== undefined) {
      const message =
        `Key ${index} of auth "${auth.name}" is a secret or private key, which ` +
        'everyone who can read the tenant can now see. Generate a new key and enter only public keys.'
      throw new KeyProblem({ path: keyPath, reason: 'InvalidKey', message })
    }
    if (jwk['use'] === 'enc') continue
    const fitting = suitableAlgorithms(readKey({ key: jwk, format: 'jwk' }, { auth, path: keyPath }), {
      auth,
      path: keyPath,
    })
    const own = fitting.find((algorithm) => algorithm === jwk['alg'])
    suitable.push(...(own ? [own] : fitting))
    defaults.push(...(own ? [own] : fitting.slice(0, 1)))
  }
  if (defaults.length === 0) {
    const message =
      `The key set of auth "${auth.name}" has no key for signatures. Add one, or ` +
      'remove "use": "enc" from a key that signs tokens.'
    throw new KeyProblem({ path: [...path, 'jwks'], reason: 'InvalidKey', message })
  }
  return {
    algorithms: chosenAlgorithms(auth, { suitable, defaults: [...new Set(defaults)], path }),
    key: { type: 'JWKS', keys: keys.map((jwk) => ({ ...jwk })) },
  }
}

/**
 * The fetcher decides at each fetch whether the address is allowed, because a host name can resolve to
 * another address each time.
 */
function keyUri(auth: Auth, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const uri = auth.jwksURI ?? ''
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') {
    const message =
      `The address of the key set of auth "${auth.name}" must be an https URL without ` +
      'a user name or a password.'
    throw new KeyProblem({ path: [...path, 'jwksURI'], reason: 'InvalidKey', message })
  }
  return { algorithms: auth.algorithms ?? [...jwksUriAlgorithms], key: { type: 'JWKSURI', uri } }
}

interface FoundKey {
  readonly bytes: Uint8Array
  readonly secretName: string
  readonly keyPath: FieldPath
}

function findKey(auth: Auth, lookup: KeyLookup, path: FieldPath): FoundKey {
  const ref = auth.keyRef ?? { name: lookup.generatedSecretName, key: auth.name }
  const keyPath = [...path, auth.keyRef ? 'keyRef' : 'generate']
  const bytes = lookup.secret(ref.name, ref.key)
  if (bytes) return { bytes, secretName: ref.name, keyPath }
  const hint = auth.keyRef
    ? ''
    : ' The controller generates it in a cluster; elsewhere, create it yourself and name it in keyRef.'
  const message = `Auth "${auth.name}" needs key "${ref.key}" of Secret "${ref.name}", which does not exist.${hint}`
  throw new KeyProblem({ path: keyPath, reason: 'KeyNotFound', message })
}

function readPem(found: FoundKey): { pem: string; keyPath: FieldPath } {
  return { pem: Buffer.from(found.bytes).toString(), keyPath: found.keyPath }
}

interface KeyLocation {
  readonly auth: Auth
  readonly path: FieldPath
}

function readKey(material: string | JsonWebKeyInput, location: KeyLocation): KeyObject {
  try {
    return createPublicKey(material)
  } catch {
    // The original error is written for OpenSSL users and may quote the key, so it is not passed on.
    const form =
      typeof material === 'string'
        ? 'PEM, which begins with "-----BEGIN PUBLIC KEY-----"'
        : 'a JWK with all members of its kty'
    const message = `The key of auth "${location.auth.name}" cannot be read: it must be a public key in ${form}.`
    throw new KeyProblem({ path: location.path, reason: 'InvalidKey', message })
  }
}

const ecAlgorithms: Readonly<Record<string, SigningAlgorithm>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
}

/** Returns the algorithms that the key can verify, the most common first. Never empty. */
function suitableAlgorithms(key: KeyObject, location: KeyLocation): SigningAlgorithm[] {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'rsa') {
    if (modulusLength > rsaBitsMax) {
      const message =
        `The RSA key of auth "${location.auth.name}" has ${modulusLength} bits; at most ` +
        `${rsaBitsMax} are allowed.`
      throw new KeyProblem({ path: location.path, reason: 'InvalidKey', message })
    }
    if (modulusLength >= rsaBitsMin) return ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
    const message =
      `The RSA key of auth "${location.auth.name}" has ${modulusLength} bits; at least ` +
      `${rsaBitsMin} are needed.`
    throw new KeyProblem({ path: location.path, reason: 'KeyTooShort', message })
  }
  if (key.asymmetricKeyType === 'ed25519') return ['EdDSA']
  const algorithm = ecAlgorithms[namedCurve]
  if (algorithm) return [algorithm]
  const message =
    `The key of auth "${location.auth.name}" cannot verify tokens: use an RSA, EC ` +
    '(P-256, P-384, P-521) or Ed25519 key.'
  throw new KeyProblem({ path: location.path, reason: 'InvalidKey', message })
}

function chosenAlgorithms(
  auth: Auth,
  key: { suitable: readonly SigningAlgorithm[]; defaults: readonly SigningAlgorithm[]; path: FieldPath },
): SigningAlgorithm[] {
  const chosen = auth.algorithms ?? key.defaults
  const unsuitable = chosen.find((algorithm) => !key.suitable.includes(algorithm))
  if (unsuitable === undefined) return signingAlgorithms.filter((algorithm) => chosen.includes(algorithm))
  const message =
    `${unsuitable} cannot be used with the key of auth "${auth.name}", which supports ` +
    `${[...new Set(key.suitable)].join(', ')}.`
  throw new KeyProblem({ path: [...key.path, 'algorithms'], reason: 'InvalidAlgorithm', message })
}
