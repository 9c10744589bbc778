// Makes tokens where Parley itself holds the secret: for `parley token`, the page of `dev`, and tests. Applications sign their own.
import { SignJWT } from 'jose'
import type { Issuer } from '../tenant/policy.js'
import { isSharedKeyAlgorithm, secretBytes } from './keys.js'

export interface MintOptions {
  readonly user: string
  /** Further claims; `channel` among them makes it a subscription token. They win over all that is filled in here. */
  readonly claims?: Readonly<Record<string, unknown>> | undefined
  readonly expiresInS: number
  /** Unix milliseconds. */
  readonly nowMs: number
}

/** The issuer's key can only verify. */
export class CannotMintError extends Error {
  override readonly name = 'CannotMintError'
}

/** Whether `mintToken` can sign for this issuer. */
export function canMint({ key, algorithms }: Issuer): boolean {
  return key.type === 'SharedKey' && key.secret !== '' && algorithms.some(isSharedKeyAlgorithm)
}

/** A token that the issuer's own rules accept: user, `iss` and `aud` as they are configured. Rejects with CannotMintError. */
export async function mintToken(issuer: Issuer, options: MintOptions): Promise<string> {
  const { key, algorithms, claims } = issuer
  const alg = algorithms.find(isSharedKeyAlgorithm)
  if (key.type !== 'SharedKey' || key.secret === '' || alg === undefined) {
    throw new CannotMintError(
      `Cannot sign for issuer "${issuer.name}": its key (${key.type}) only verifies. Sign where the private key is`,
    )
  }
  const nowS = Math.floor(options.nowMs / 1000)
  const payload = {
    // At the top level even where the name has dots: an exact name wins over descending.
    [claims.user]: options.user,
    ...(issuer.issuer === undefined ? {} : { iss: issuer.issuer }),
    ...(issuer.audience === undefined ? {} : { aud: issuer.audience }),
    iat: nowS,
    exp: nowS + options.expiresInS,
    ...options.claims,
  }
  return new SignJWT(payload).setProtectedHeader({ alg, typ: 'JWT' }).sign(secretBytes(key.secret))
}
