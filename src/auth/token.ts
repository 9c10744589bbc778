// The auth room: verifies tokens, and is the only place that turns the content of a token into trusted data.
// It knows nothing of sessions or gateways, and may import tenant/ and the leaves.
//
// Start reading here: `TokenVerifier` decides whether a token is valid for a tenant, and what it says about
// its bearer. It reads a token with token-header.ts (form and header), key-set.ts and keys.ts (the issuer's
// keys), jwks-remote.ts (keys at a URL) and token-claims.ts (the claims). mint.ts makes tokens for tests and
// development.
import { createHmac, KeyObject, timingSafeEqual } from 'node:crypto'
import { compactVerify } from 'jose'
import { CommandError } from '../errors.js'
import type { Claims } from '../tenant/claims.js'
import { signingAlgorithms, type Issuer, type SigningAlgorithm } from '../tenant/policy.js'
import type { Clock } from '../time.js'
import {
  candidatesMax,
  KeysUnavailableError,
  type IssuerKeys,
  type SignatureHeader,
  type VerificationKey,
} from './key-set.js'
import { FetchSlots, tenantFetchesMax } from './fetch-slots.js'
import { openKeys, type KeyDeps } from './keys.js'
import {
  expiryOf,
  infoOf,
  isIntendedFor,
  lifeOf,
  nameOf,
  parseClaims,
  rolesOf,
  userOf,
  type TokenLife,
} from './token-claims.js'
import { invalidToken, readHeader, type TokenHeader } from './token-header.js'

/** What a valid connection token says. */
export interface VerifiedToken extends TokenLife {
  /** Never empty, at most 128 bytes, and never begins with `guest:`. */
  readonly user: string
  readonly name?: string | undefined
  readonly roles: readonly string[]
  /** All claims of the token, for `claims` subjects and variables. Read them with `claimAt()`. */
  readonly claims: Claims
  /** JSON text, at most 1 KiB. */
  readonly info?: Uint8Array | undefined
  /** When the connection needs a new token, in milliseconds since the epoch. Absent: never. */
  readonly expiresAtMs?: number | undefined
  /** The key that signed the token, for `TokenVerifier.accepts`. */
  readonly keyId: string
}

/** What a valid subscription token says, besides that the bearer may subscribe. */
export interface VerifiedSubscription extends TokenLife {
  readonly user: string
  /** JSON text, at most 1 KiB. */
  readonly info?: Uint8Array | undefined
  /** Milliseconds since the epoch. Absent: never. */
  readonly expiresAtMs?: number | undefined
  readonly keyId: string
}

/** The connection that presents a subscription token, and the channel that it asks for. */
export interface SubscriptionBearer {
  readonly user: string
  readonly channel: string
  /** The client's public name. */
  readonly client: string
}

/**
 * A valid token of another user, channel or connection. The protocol closes the connection with 3500, while
 * an invalid token is refused with 103.
 */
export class TokenMismatchError extends CommandError {
  readonly reason = 'mismatch'

  constructor(problem: string) {
    super('TOKEN_INVALID', `The subscription token ${problem}`)
  }
}

export interface TokenVerifierDeps {
  readonly clock: Clock
  /** JWKS URLs may be http and lead to private addresses. Default: false. */
  readonly allowPrivateJwks?: boolean | undefined
  /**
   * Receives a sentence for the log about keys that cannot be used or fetched, once per outage and without
   * key material.
   */
  readonly onProblem?: ((sentence: string) => void) | undefined
  /** Called when the keys of an issuer have changed: call `accepts` for every connection. */
  readonly onKeysChanged?: (() => void) | undefined
  /** Bounds the fetches of all tenants together. Default: only those of this tenant are bounded. */
  readonly jwksSlots?: FetchSlots | undefined
}

interface Source {
  readonly issuer: Issuer
  readonly keys: IssuerKeys
}

/** Verifies the tokens of one tenant. Keeps imported keys and fetched JWKS. */
export class TokenVerifier {
  readonly #keyDeps: KeyDeps
  /** By the issuer's whole definition. Local keys come before keys that may have to be fetched. */
  #sources: ReadonlyMap<string, Source> = new Map()

  constructor(issuers: readonly Issuer[], deps: TokenVerifierDeps) {
    this.#keyDeps = {
      clock: deps.clock,
      allowPrivate: deps.allowPrivateJwks ?? false,
      onProblem: deps.onProblem ?? (() => {}),
      onKeysChanged: deps.onKeysChanged ?? (() => {}),
      slots: new FetchSlots(tenantFetchesMax, deps.jwksSlots),
    }
    this.update(issuers)
  }

  /**
   * Replaces the issuers. An issuer that did not change keeps its keys, fetched ones too. Afterwards, call
   * `accepts` for every connection.
   */
  update(issuers: readonly Issuer[]): void {
    const before = this.#sources
    const local = issuers.filter(({ key }) => key.type !== 'JWKSURI')
    const remote = issuers.filter(({ key }) => key.type === 'JWKSURI')
    this.#sources = new Map(
      [...local, ...remote].map((issuer) => {
        const id = JSON.stringify(issuer)
        return [id, before.get(id) ?? { issuer, keys: openKeys(issuer, this.#keyDeps) }]
      }),
    )
    for (const [id, { keys }] of before) if (!this.#sources.has(id)) keys.close()
  }

  /**
   * Verifies a connection token. Rejects with CommandError: UNAUTHORIZED (empty token), TOKEN_INVALID,
   * TOKEN_EXPIRED (also for a token that is not valid yet), or the temporary KEYS_UNAVAILABLE while the key
   * may be one that cannot be fetched at the moment or is not published yet. No message contains the token or
   * a claim.
   */
  async verify(token: string): Promise<VerifiedToken> {
    const { claims, issuer, keyId } = await this.#open(token)
    const expiresAtMs = expiryOf(claims, this.#keyDeps.clock.epochMs())
    // A token that allows one channel must not allow a connection.
    if (Object.hasOwn(claims, 'channel'))
      throw invalidToken('is for a subscription (it has a "channel"): connect with one that has none')
    return {
      user: userOf(claims, issuer.claims.user),
      name: nameOf(claims, issuer.claims.name),
      roles: rolesOf(claims, issuer.claims.roles),
      claims,
      info: infoOf(claims, issuer.claims.info),
      expiresAtMs,
      keyId,
      ...lifeOf(claims),
    }
  }

  /**
   * Verifies a subscription token. Rejects like `verify`, and with TokenMismatchError for a valid token of
   * another user, channel or connection.
   */
  async verifySubscription(token: string, bearer: SubscriptionBearer): Promise<VerifiedSubscription> {
    const { claims, issuer, keyId } = await this.#open(token)
    const expiresAtMs = expiryOf(claims, this.#keyDeps.clock.epochMs())
    const { channel, client } = claims
    if (typeof channel !== 'string')
      throw invalidToken('is for connecting: a subscription token names its channel in the claim "channel"')
    if (userOf(claims, issuer.claims.user) !== bearer.user)
      throw new TokenMismatchError('is for another user than the connection’s')
    if (channel !== bearer.channel) throw new TokenMismatchError('is for another channel')
    if (client !== undefined && client !== bearer.client)
      throw new TokenMismatchError('is for another connection')
    const { user } = bearer
    return { user, info: infoOf(claims, issuer.claims.info), expiresAtMs, keyId, ...lifeOf(claims) }
  }

  /**
   * Returns whether connections whose token was signed with this key may stay. Cheap enough for every
   * connection after each `update` and `onKeysChanged`.
   */
  accepts(keyId: string): boolean {
    return [...this.#sources.values()].some(({ keys }) => keys.accepts(keyId))
  }

  /** Aborts fetches in progress. */
  close(): void {
    for (const { keys } of this.#sources.values()) keys.close()
  }

  /** Verifies the signature, and finds the issuer that the token is intended for. */
  async #open(token: string): Promise<{ claims: Claims; issuer: Issuer; keyId: string }> {
    const header = this.#knownHeader(readHeader(token))
    let tries = 0
    let isForAnother = false
    let unavailable: KeysUnavailableError | undefined
    for (const { issuer, keys } of this.#sourcesFor(header, token)) {
      const candidates = await candidatesOf(keys, header)
      if (candidates instanceof KeysUnavailableError) {
        unavailable = candidates
        continue
      }
      for (const { keyId, key } of candidates) {
        tries += 1
        if (tries > candidatesMax) throw unknownSigner()
        const payload = await payloadIfSigned(token, header.alg, key)
        if (!payload) continue
        const claims = parseClaims(payload)
        if (isIntendedFor(claims, issuer)) return { claims, issuer, keyId }
        isForAnother = true
      }
    }
    if (isForAnother)
      throw invalidToken(
        'is meant for another recipient: its "iss" or "aud" is not the one that this tenant expects',
      )
    if (unavailable) {
      throw new CommandError(
        'KEYS_UNAVAILABLE',
        `The token is signed with a key that this tenant does not know at the moment, because ` +
          `${unavailable.message}: try again`,
        { retryAfterMs: unavailable.retryAfterMs, cause: unavailable },
      )
    }
    throw unknownSigner()
  }

  #knownHeader({ alg, kid }: TokenHeader): SignatureHeader {
    const accepted = new Set([...this.#sources.values()].flatMap(({ issuer }) => issuer.algorithms))
    if (accepted.size === 0) throw invalidToken('cannot be used here: this tenant accepts no tokens')
    if (!isOneOf(alg, accepted)) {
      throw invalidToken(
        `is not signed by an algorithm that this tenant accepts: use ${[...accepted].join(', ')}`,
      )
    }
    return { alg, kid }
  }

  /**
   * Several issuers may share an algorithm. The claim `iss`, although not verified yet, avoids tries and
   * fetches that would fail.
   */
  #sourcesFor(header: SignatureHeader, token: string): readonly Source[] {
    const sources = [...this.#sources.values()].filter(({ issuer }) => issuer.algorithms.includes(header.alg))
    if (sources.length < 2 || sources.every(({ issuer }) => issuer.issuer === undefined)) return sources
    const [, payload = ''] = token.split('.')
    const { iss } = parseClaims(Buffer.from(payload, 'base64url'))
    const named = sources.filter(({ issuer }) => issuer.issuer === undefined || issuer.issuer === iss)
    // With no match all are tried, so that only the holder of a key learns which claim was wrong.
    return named.length > 0 ? named : sources
  }
}

function isOneOf(alg: string, accepted: ReadonlySet<SigningAlgorithm>): alg is SigningAlgorithm {
  return signingAlgorithms.some((known) => known === alg && accepted.has(known))
}

async function candidatesOf(
  keys: IssuerKeys,
  header: SignatureHeader,
): Promise<readonly VerificationKey[] | KeysUnavailableError> {
  try {
    return await keys.candidates(header)
  } catch (error) {
    if (error instanceof KeysUnavailableError) return error
    throw error
  }
}

async function payloadIfSigned(
  token: string,
  alg: SigningAlgorithm,
  key: VerificationKey['key'],
): Promise<Uint8Array | undefined> {
  if (key instanceof KeyObject) return payloadIfHmacMatches(token, alg, key)
  try {
    return (await compactVerify(token, key, { algorithms: [alg] })).payload
  } catch {
    // jose throws for a wrong signature and also for a key that is too weak. Either way, this key does not
    // verify the token.
    return undefined
  }
}

/**
 * Verifies HS256, HS384 and HS512 synchronously. WebCrypto, and with it jose, sends every HMAC through a
 * thread pool, which took 15 % of the main thread's time in a profile of returning connections, for a few
 * microseconds of hashing. `readHeader` has checked the form: three canonical parts, no `crit` and no `b64`.
 */
function payloadIfHmacMatches(
  token: string,
  alg: SigningAlgorithm,
  secret: KeyObject,
): Uint8Array | undefined {
  const end = token.lastIndexOf('.')
  const expected = createHmac(`sha${alg.slice(2)}`, secret)
    .update(token.slice(0, end))
    .digest()
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  if (signature.byteLength !== expected.byteLength || !timingSafeEqual(signature, expected)) return undefined
  return Buffer.from(token.slice(token.indexOf('.') + 1, end), 'base64url')
}

function unknownSigner(): CommandError {
  return invalidToken(
    'is not signed by a key of this tenant: sign it with one of its keys, and do not change it afterwards',
  )
}
