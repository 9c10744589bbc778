// Signs tokens where Parley has the secret: for `parley token`, the page of `parley dev`, and tests.
// Applications sign their own tokens.
import { randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import type { Issuer } from '../tenant/policy.js'
import { isSharedKeyAlgorithm, secretBytes } from './keys.js'

export interface MintOptions {
  readonly user: string
  /**
   * Further claims. With `channel` among them it is a subscription token. They override the claims that
   * `mintToken` sets.
   */
  readonly claims?: Readonly<Record<string, unknown>> | undefined
  readonly expiresInS: number
  /** The current time in milliseconds since the epoch. */
  readonly nowMs: number
}

/** The issuer's key can verify tokens but not sign them. */
export class CannotMintError extends Error {
  override readonly name = 'CannotMintError'
}

/** Returns whether `mintToken` can sign for this issuer. */
export function canMint({ key, algorithms }: Issuer): boolean {
  return key.type === 'SharedKey' && key.secret !== '' && algorithms.some(isSharedKeyAlgorithm)
}

/**
 * Signs a token that the issuer's configuration accepts: user, `iss` and `aud`. Rejects with CannotMintError
 * when it has no secret.
 */
export async function mintToken(issuer: Issuer, options: MintOptions): Promise<string> {
  const { key, algorithms, claims } = issuer
  const alg = algorithms.find(isSharedKeyAlgorithm)
  if (key.type !== 'SharedKey' || key.secret === '' || alg === undefined) {
    throw new CannotMintError(
      `Cannot sign for issuer "${issuer.name}": its key (${key.type}) only verifies. Sign the token where the private key is`,
    )
  }
  const nowS = Math.floor(options.nowMs / 1000)
  const payload = {
    // Set at the top level even where the name contains dots: an exact name has precedence over a path.
    [claims.user]: options.user,
    ...(issuer.issuer === undefined ? {} : { iss: issuer.issuer }),
    ...(issuer.audience === undefined ? {} : { aud: issuer.audience }),
    iat: nowS,
    exp: nowS + options.expiresInS,
    // By its id, a single token can be revoked.
    jti: randomUUID(),
    ...options.claims,
  }
  return new SignJWT(payload).setProtectedHeader({ alg, typ: 'JWT' }).sign(secretBytes(key.secret))
}
