// The outside of a token: its form and header, checked before any key is touched.
import { decodeProtectedHeader, type ProtectedHeaderParameters } from 'jose'
import { CommandError } from '../errors.js'

const tokenBytesMax = 8_192
const kidLengthMax = 256

/** Three parts in base64url, nothing around or between. jose alone would forgive padding and white space. */
const form = /^[\w-]+\.[\w-]+\.[\w-]+$/

export interface TokenHeader {
  /** As the token says: not yet known to be an algorithm. */
  readonly alg: string
  readonly kid?: string | undefined
}

/**
 * Keys and addresses of keys in the header (`jwk`, `jku`, `x5u`, `x5c`) are never looked at: who signs may not say whom to believe.
 * Throws UNAUTHORIZED for an empty token, TOKEN_INVALID for all that cannot be good.
 */
export function readHeader(token: string): TokenHeader {
  if (token === '')
    throw new CommandError(
      'UNAUTHORIZED',
      'A token is needed and none came: get one from your application and connect with it',
    )
  if (token.length > tokenBytesMax)
    throw invalid(`is longer than ${tokenBytesMax} bytes: put less into its claims`)
  if (!form.test(token)) throw invalid(formProblem(token))
  const header = decode(token)
  const { alg, kid } = header
  if (typeof alg !== 'string' || alg === '') throw invalid('has no "alg" in its header')
  if (alg.toLowerCase() === 'none')
    throw invalid('is not signed ("alg": "none"): sign it with a key of this tenant')
  if (header.crit !== undefined || header.zip !== undefined || header.b64 !== undefined) {
    throw invalid('asks for an extension ("crit", "zip" or "b64") that is not supported: sign it without')
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > kidLengthMax)) {
    throw invalid(`has a "kid" that is not a text of at most ${kidLengthMax} characters`)
  }
  if (!isCanonical(token.slice(token.lastIndexOf('.') + 1))) throw invalid('has a damaged signature')
  return { alg, kid }
}

/** A token that can never be good: the sentence goes on where "The token" ends, and names nothing that is in it. */
export function invalid(problem: string): CommandError {
  return new CommandError('TOKEN_INVALID', `The token ${problem}`)
}

function formProblem(token: string): string {
  if (token.split('.').length === 5) return 'is encrypted (JWE): send a signed one (JWS)'
  return 'is not three parts of base64url with dots between: send the JWT as it was made, without spaces, quotes or padding'
}

function decode(token: string): ProtectedHeaderParameters & Readonly<Record<string, unknown>> {
  try {
    return decodeProtectedHeader(token)
  } catch {
    throw invalid('has a header that is not JSON in base64url')
  }
}

/** Unused bits at a base64url's end can be anything; one signature, one text. The other parts are signed as text. */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part
}
