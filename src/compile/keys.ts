// Token sources of a tenant made ready: keys looked up and looked at, so that a gateway never meets one that cannot work.
import { createPublicKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto'
import { signingAlgorithms, type Issuer, type SigningAlgorithm } from '../tenant/policy.js'
import type { FieldPath, Problem } from '../resources/problem.js'
import type { Auth } from '../resources/auth.js'

export interface KeyLookup {
  /** Where the controller puts what `generate` asks for. */
  readonly generatedSecretName: string
  /** Undefined: no such Secret, or no such key in it. */
  secret(name: string, key: string): Uint8Array | undefined
  /** Is the Secret one of the samples that everybody knows? */
  isSample(name: string): boolean
}

/** RFC 7518 3.2: a shared secret has at least as many bytes as the hash. */
const secretBytesMin: Readonly<Partial<Record<SigningAlgorithm, number>>> = {
  HS256: 32,
  HS384: 48,
  HS512: 64,
}
const rsaBitsMin = 2048

/** The usual ones; what the set really holds is known only once it is fetched. */
const jwksUriAlgorithms: readonly SigningAlgorithm[] = ['RS256', 'ES256', 'EdDSA']

/** Thrown and caught in this file: the first thing wrong with one entry. */
class KeyProblem extends Error {
  readonly problem: Problem
  constructor(problem: Problem) {
    super(problem.message)
    this.problem = problem
  }
}

/** One entry of `spec.auth`; `path` is where it stands. */
export function compileIssuer(auth: Auth, source: KeyLookup, path: FieldPath): Issuer | Problem {
  const { name, issuer, audience, claims } = auth
  try {
    return { name, issuer, audience, claims, ...compileKey(auth, source, path) }
  } catch (error) {
    if (error instanceof KeyProblem) return error.problem
    throw error
  }
}

function compileKey(auth: Auth, source: KeyLookup, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  switch (auth.type) {
    case 'SharedKey':
      return sharedKey(auth, source, path)
    case 'PublicKey':
      return publicKey(auth, source, path)
    case 'JWKS':
      return keySet(auth, path)
    case 'JWKSURI':
      return keyUri(auth, path)
  }
}

function sharedKey(auth: Auth, source: KeyLookup, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const algorithms = auth.algorithms ?? ['HS256']
  const { bytes, secretName, keyPath } = findKey(auth, source, path)
  const bytesMin = Math.max(...algorithms.map((algorithm) => secretBytesMin[algorithm] ?? 0))
  if (bytes.byteLength < bytesMin) {
    const message = `The key of auth "${auth.name}" has ${bytes.byteLength} bytes; ${algorithms.join(', ')} needs at least ${bytesMin}.`
    throw new KeyProblem({ path: keyPath, reason: 'KeyTooShort', message })
  }
  const secret = Buffer.from(bytes).toString('base64')
  return { algorithms, key: { type: 'SharedKey', secret, sample: source.isSample(secretName) } }
}

function publicKey(auth: Auth, source: KeyLookup, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const { pem, keyPath } =
    auth.publicKey === undefined
      ? readPem(findKey(auth, source, path))
      : { pem: auth.publicKey, keyPath: [...path, 'publicKey'] }
  // Node would take the public half out of it and say nothing; whoever pasted it has shown it to all who may read the tenant.
  if (pem.includes('PRIVATE KEY')) {
    const message = `The key of auth "${auth.name}" is a private key: put the public one here, and replace the pair.`
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
      const message = `Key ${index} of auth "${auth.name}" is a secret or private key: put public keys here, and replace this one.`
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
    const message = `The key set of auth "${auth.name}" has no key for signatures.`
    throw new KeyProblem({ path: [...path, 'jwks'], reason: 'InvalidKey', message })
  }
  return {
    algorithms: chosenAlgorithms(auth, { suitable, defaults: [...new Set(defaults)], path }),
    key: { type: 'JWKS', keys: keys.map((jwk) => ({ ...jwk })) },
  }
}

/** Whether the address may be reached is the fetcher's to decide, at each fetch: names resolve anew. */
function keyUri(auth: Auth, path: FieldPath): Pick<Issuer, 'algorithms' | 'key'> {
  const uri = auth.jwksURI ?? ''
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') {
    const message = `The address of the key set of auth "${auth.name}" is no https URL, or has a user name or password in it.`
    throw new KeyProblem({ path: [...path, 'jwksURI'], reason: 'InvalidKey', message })
  }
  return { algorithms: auth.algorithms ?? [...jwksUriAlgorithms], key: { type: 'JWKSURI', uri } }
}

interface FoundKey {
  readonly bytes: Uint8Array
  readonly secretName: string
  readonly keyPath: FieldPath
}

function findKey(auth: Auth, source: KeyLookup, path: FieldPath): FoundKey {
  const ref = auth.keyRef ?? { name: source.generatedSecretName, key: auth.name }
  const keyPath = [...path, auth.keyRef ? 'keyRef' : 'generate']
  const bytes = source.secret(ref.name, ref.key)
  if (bytes) return { bytes, secretName: ref.name, keyPath }
  const hint = auth.keyRef
    ? ''
    : ' The controller makes it in a cluster; elsewhere, make it yourself and name it in keyRef.'
  const message = `Auth "${auth.name}" needs key "${ref.key}" of Secret "${ref.name}", and there is none.${hint}`
  throw new KeyProblem({ path: keyPath, reason: 'KeyNotFound', message })
}

function readPem(found: FoundKey): { pem: string; keyPath: FieldPath } {
  return { pem: Buffer.from(found.bytes).toString(), keyPath: found.keyPath }
}

interface KeyLocation {
  readonly auth: Auth
  readonly path: FieldPath
}

function readKey(material: string | JsonWebKeyInput, place: KeyLocation): KeyObject {
  try {
    return createPublicKey(material)
  } catch {
    // The cause speaks OpenSSL and may quote the material.
    const form =
      typeof material === 'string'
        ? 'PEM, which begins with "-----BEGIN PUBLIC KEY-----"'
        : 'a JWK with all members of its kty'
    const message = `The key of auth "${place.auth.name}" cannot be read: it must be a public key in ${form}.`
    throw new KeyProblem({ path: place.path, reason: 'InvalidKey', message })
  }
}

const ecAlgorithms: Readonly<Record<string, SigningAlgorithm>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
}

/** What the key can verify, the usual one first. Never empty. */
function suitableAlgorithms(key: KeyObject, place: KeyLocation): SigningAlgorithm[] {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'rsa') {
    if (modulusLength >= rsaBitsMin) return ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
    const message = `The RSA key of auth "${place.auth.name}" has ${modulusLength} bits; at least ${rsaBitsMin} are needed.`
    throw new KeyProblem({ path: place.path, reason: 'KeyTooShort', message })
  }
  if (key.asymmetricKeyType === 'ed25519') return ['EdDSA']
  const algorithm = ecAlgorithms[namedCurve]
  if (algorithm) return [algorithm]
  const message = `The key of auth "${place.auth.name}" is of no kind that signs tokens: use RSA, EC (P-256, P-384, P-521) or Ed25519.`
  throw new KeyProblem({ path: place.path, reason: 'InvalidKey', message })
}

function chosenAlgorithms(
  auth: Auth,
  key: { suitable: readonly SigningAlgorithm[]; defaults: readonly SigningAlgorithm[]; path: FieldPath },
): SigningAlgorithm[] {
  const chosen = auth.algorithms ?? key.defaults
  const misfit = chosen.find((algorithm) => !key.suitable.includes(algorithm))
  if (misfit === undefined) return signingAlgorithms.filter((algorithm) => chosen.includes(algorithm))
  const message = `${misfit} does not go with the key of auth "${auth.name}", which can do ${[...new Set(key.suitable)].join(', ')}.`
  throw new KeyProblem({ path: [...key.path, 'algorithms'], reason: 'InvalidAlgorithm', message })
}
