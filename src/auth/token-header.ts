// Checks the form and header of a token before any key is used.
import { decodeProtectedHeader, type ProtectedHeaderParameters } from 'jose'
import { CommandError } from '../errors.js'

const tokenBytesMax = 8_192
const kidLengthMax = 256

/**
 * Three parts in base64url, with nothing around or between them. jose alone would accept padding and white
 * space.
 */
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]+$/

export interface TokenHeader {
  /** As written in the token: not necessarily a known algorithm. */
  readonly alg: string
  readonly kid?: string | undefined
}

/**
 * Reads the header. Keys and key URLs in it (`jwk`, `jku`, `x5u`, `x5c`) are ignored: a signer must not
 * choose the key that verifies it. Throws UNAUTHORIZED for an empty token, and TOKEN_INVALID for one that
 * cannot be valid.
 */
export function readHeader(token: string): TokenHeader {
  if (token === '')
    throw new CommandError(
      'UNAUTHORIZED',
      'A token is required and none was sent: get one from your application and connect with it',
    )
  if (token.length > tokenBytesMax)
    throw invalidToken(`is longer than ${tokenBytesMax} bytes: put less into its claims`)
  if (!compactForm.test(token)) throw invalidToken(formProblem(token))
  const header = decode(token)
  const { alg, kid } = header
  if (typeof alg !== 'string' || alg === '') throw invalidToken('has no "alg" in its header')
  if (alg.toLowerCase() === 'none')
    throw invalidToken('is not signed ("alg": "none"): sign it with a key of this tenant')
  if (header.crit !== undefined || header.zip !== undefined || header.b64 !== undefined) {
    throw invalidToken(
      'asks for an extension ("crit", "zip" or "b64") that is not supported: sign it without this extension',
    )
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > kidLengthMax)) {
    throw invalidToken(`has a "kid" that is not a string of at most ${kidLengthMax} characters`)
  }
  if (!isCanonical(token.slice(token.lastIndexOf('.') + 1))) throw invalidToken('has a damaged signature')
  return { alg, kid }
}

/**
 * Returns the error for a token that can never be valid. `problem` continues the sentence "The token …" and
 * contains nothing of the token.
 */
export function invalidToken(problem: string): CommandError {
  return new CommandError('TOKEN_INVALID', `The token ${problem}`)
}

function formProblem(token: string): string {
  if (token.split('.').length === 5) return 'is encrypted (JWE): send a signed one (JWS)'
  return 'is not three parts of base64url separated by dots: send the JWT unchanged, without spaces, quotes or padding'
}

function decode(token: string): ProtectedHeaderParameters & Readonly<Record<string, unknown>> {
  try {
    return decodeProtectedHeader(token)
  } catch {
    throw invalidToken('has a header that is not JSON in base64url')
  }
}

/**
 * The unused bits at the end of a base64url text could vary. Only one text is accepted for a signature; the
 * other parts are signed as text.
 */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part
}
