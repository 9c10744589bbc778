// Reads the claims of a token whose signature is valid: each is checked and bounded once, here.
import { CommandError } from '../errors.js'
import { isRecord } from '../json.js'
import { claimAt, infoBytesMax, type Claims } from '../tenant/claims.js'
import type { Issuer } from '../tenant/policy.js'
import type { TokenFacts } from '../tenant/revocations.js'
import { guestPrefix, isGuest, userProblem } from '../tenant/user.js'
import { invalidToken } from './token-header.js'

const nameLengthMax = 128
const jtiBytesMax = 255
/**
 * The issuer's clock may be a little ahead of the gateway's. `exp` gets no such tolerance: the issuer chose
 * it.
 */
const clockToleranceMs = 5_000
/** The last second that a Date can hold. Larger numbers are errors of the issuer. */
const secondsMax = 8_640_000_000_000

const utf8 = new TextDecoder('utf-8', { fatal: true })

export function parseClaims(payload: Uint8Array): Claims {
  let claims: unknown
  try {
    claims = JSON.parse(utf8.decode(payload))
  } catch {
    throw invalidToken('has a payload that is not JSON')
  }
  if (!isRecord(claims)) throw invalidToken('has a payload that is not a JSON object')
  return claims
}

/** Returns whether the token is intended for this issuer, by `iss` and `aud` where they are configured. */
export function isIntendedFor(
  claims: Claims,
  { issuer, audience }: Pick<Issuer, 'issuer' | 'audience'>,
): boolean {
  if (issuer !== undefined && claimAt(claims, 'iss') !== issuer) return false
  if (audience === undefined) return true
  const aud = claimAt(claims, 'aud')
  return Array.isArray(aud) ? aud.includes(audience) : aud === audience
}

/**
 * Returns when the connection or subscription expires, in milliseconds since the epoch; undefined: never.
 * `expire_at` is a claim of Centrifugo: it sets this expiry independently of `exp`, the expiry of the token
 * itself. Throws TOKEN_EXPIRED when the token has expired or is not valid yet.
 */
export function expiryOf(claims: Claims, nowMs: number): number | undefined {
  const exp = secondsAt(claims, 'exp')
  if (exp !== undefined && exp * 1000 <= nowMs)
    throw new CommandError('TOKEN_EXPIRED', 'The token has expired: get a new one')
  for (const name of ['nbf', 'iat'] as const) {
    const seconds = secondsAt(claims, name)
    if (seconds !== undefined && seconds * 1000 > nowMs + clockToleranceMs) {
      throw new CommandError(
        'TOKEN_EXPIRED',
        `The token is not valid yet ("${name}" is in the future): compare the clocks, or get a new one`,
      )
    }
  }
  const expireAt = secondsAt(claims, 'expire_at')
  if (expireAt === undefined) return exp === undefined ? undefined : exp * 1000
  if (expireAt <= 0) return undefined
  if (expireAt * 1000 <= nowMs)
    throw new CommandError('TOKEN_EXPIRED', 'The token’s "expire_at" has passed: get a new one')
  return expireAt * 1000
}

/** What revocations compare of a token, besides its user. */
export interface TokenLife extends Omit<TokenFacts, 'user'> {
  /** The claim `iat` in milliseconds since the epoch; 0 when it is absent. Only guests have none. */
  readonly issuedAtMs: number
}

/** Throws TOKEN_INVALID for a `jti` that no revocation could name. An empty one counts as none. */
export function lifeOf(claims: Claims): TokenLife {
  const value = claimAt(claims, 'jti') ?? ''
  const jti = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
  if (typeof jti !== 'string' || Buffer.byteLength(jti) > jtiBytesMax || !isPrintable(jti))
    throw invalidToken(`has a "jti" that is not a printable text of at most ${jtiBytesMax} bytes`)
  const exp = secondsAt(claims, 'exp')
  return {
    jti: jti === '' ? undefined : jti,
    issuedAtMs: (secondsAt(claims, 'iat') ?? 0) * 1000,
    tokenExpiresAtMs: exp === undefined ? undefined : exp * 1000,
  }
}

function secondsAt(claims: Claims, name: string): number | undefined {
  const value = claimAt(claims, name)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !(Math.abs(value) <= secondsMax))
    throw invalidToken(`has an "${name}" that is not a number of seconds since 1970`)
  return value
}

/**
 * Returns the user: not empty, at most 128 bytes, without hidden characters, and never the name of a guest.
 * An integer is converted to text.
 */
export function userOf(claims: Claims, claimName: string): string {
  const value = claimAt(claims, claimName)
  const user = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value
  if (typeof user !== 'string' || user === '')
    throw invalidToken(`names no user: put a non-empty string into the claim "${claimName}"`)
  const problem = userProblem(user)
  if (problem !== undefined) throw invalidToken(`names a user ${problem}`)
  if (isGuest(user))
    throw invalidToken(
      `names a user that begins with "${guestPrefix}": these names are reserved for guests, who connect without a token`,
    )
  return user
}

export function nameOf(claims: Claims, claimName: string): string | undefined {
  const name = claimAt(claims, claimName) ?? ''
  if (typeof name !== 'string')
    throw invalidToken(`has a display name (claim "${claimName}") that is not a string`)
  if (name === '') return undefined
  if (name.length > nameLengthMax)
    throw invalidToken(`has a display name (claim "${claimName}") of more than ${nameLengthMax} characters`)
  if (!isPrintable(name))
    throw invalidToken(`has a display name (claim "${claimName}") with control characters or broken Unicode`)
  return name
}

/** Reads an array of strings, or one string separated by spaces, as OAuth writes scopes. Absent: no roles. */
export function rolesOf(claims: Claims, claimName: string): readonly string[] {
  const roles = claimAt(claims, claimName) ?? []
  if (typeof roles === 'string') return roles.split(' ').filter((role) => role !== '')
  if (isTexts(roles)) return roles
  throw invalidToken(`has roles (claim "${claimName}") that are neither an array of strings nor one string`)
}

/** Returns the JSON text of what other clients see of this connection. */
export function infoOf(claims: Claims, claimName: string): Uint8Array | undefined {
  const value = claimAt(claims, claimName)
  if (value === undefined) return undefined
  const info = Buffer.from(JSON.stringify(value))
  if (info.byteLength > infoBytesMax)
    throw invalidToken(
      `has ${info.byteLength} bytes of info (claim "${claimName}"), and at most ${infoBytesMax} are allowed`,
    )
  return info
}

function isPrintable(text: string): boolean {
  return !/[\p{Cc}\p{Cs}]/u.test(text)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((element) => typeof element === 'string')
}
