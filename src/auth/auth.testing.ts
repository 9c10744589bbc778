// Shared by tests of tokens: issuers, keys, and a clock that only the test advances.
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from 'jose'
import type { Issuer } from '../tenant/policy.js'
import type { Clock } from '../time.js'

export class ManualClock implements Clock {
  /** 2027-01-01. */
  #epochMs = 1_798_761_600_000
  #monotonicMs = 0

  epochMs(): number {
    return this.#epochMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  get seconds(): number {
    return this.#epochMs / 1000
  }

  advance(ms: number): void {
    this.#epochMs += ms
    this.#monotonicMs += ms
  }
}

const claims = { user: 'sub', name: 'name', roles: 'roles', info: 'info' }

export const secret = Buffer.from('a shared secret of thirty-two by')

export function sharedIssuer(changes: Partial<Issuer> = {}): Issuer {
  return {
    name: 'shared',
    algorithms: ['HS256'],
    claims,
    key: { type: 'SharedKey', secret: secret.toString('base64'), sample: false },
    ...changes,
  }
}

export function publicIssuer(pem: string, changes: Partial<Issuer> = {}): Issuer {
  return { name: 'public', algorithms: ['RS256'], claims, key: { type: 'PublicKey', pem }, ...changes }
}

export function jwksIssuer(keys: Record<string, unknown>[], changes: Partial<Issuer> = {}): Issuer {
  return {
    name: 'inline',
    algorithms: ['RS256', 'ES256', 'EdDSA'],
    claims,
    key: { type: 'JWKS', keys },
    ...changes,
  }
}

export function remoteIssuer(uri: string, changes: Partial<Issuer> = {}): Issuer {
  return { name: 'remote', algorithms: ['ES256'], claims, key: { type: 'JWKSURI', uri }, ...changes }
}

export interface TestKey {
  readonly privateKey: CryptoKey
  readonly pem: string
  /** The public key, with its `kid`. */
  readonly jwk: Record<string, unknown>
  readonly alg: string
  readonly kid: string
}

export async function testKey(alg: string, kid: string): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return {
    privateKey,
    pem: await exportSPKI(publicKey),
    jwk: { ...(await exportJWK(publicKey)), kid },
    alg,
    kid,
  }
}

export function signedBy(
  key: TestKey,
  payload: JWTPayload,
  header: Record<string, unknown> = {},
): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, ...header })
    .sign(key.privateKey)
}

export function signedHs256(payload: JWTPayload, header: Record<string, unknown> = {}): Promise<string> {
  return new SignJWT(payload).setProtectedHeader({ alg: 'HS256', ...header }).sign(secret)
}
