// Decides whether a token is good for a tenant, and what it says of its bearer. The only place where tokens become facts.
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
import { openKeys, type KeyDeps } from './keys.js'
import { expiryOf, infoOf, isAddressed, nameOf, parseClaims, rolesOf, userOf } from './token-claims.js'
import { invalid, readHeader, type TokenHeader } from './token-header.js'

/** What a good connection token says. */
export interface VerifiedToken {
  /** Never empty, at most 128 bytes, never `guest:…`. */
  readonly user: string
  readonly name?: string | undefined
  readonly roles: readonly string[]
  /** All of them, for `claims` subjects and variables. Look up with `claimAt()`. */
  readonly claims: Claims
  /** JSON text, at most 1 KiB. */
  readonly info?: Uint8Array | undefined
  /** When the connection must have a new token; ms since 1970. Absent: never. */
  readonly expiresAtMs?: number | undefined
  /** For `accepts()`. */
  readonly keyId: string
}

/** What a good subscription token says beyond that it is good. */
export interface VerifiedSubscription {
  readonly info?: Uint8Array | undefined
  readonly expiresAtMs?: number | undefined
  readonly keyId: string
}

/** Who wants to subscribe, as the connection knows it. */
export interface SubscriptionBearer {
  readonly user: string
  readonly channel: string
  /** The connection's public name. */
  readonly client: string
}

/** A good token, but somebody else's: the protocol closes the connection with 3500 then, where a bad one is refused with 103. */
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
  /** A sentence for the log about keys that cannot be used or fetched; once per episode, without key material. */
  readonly onProblem?: ((sentence: string) => void) | undefined
  /** The issuers' keys are others than before: ask `accepts()` for every connection. */
  readonly onKeysChanged?: (() => void) | undefined
}

interface Source {
  readonly issuer: Issuer
  readonly keys: IssuerKeys
}

/** One per tenant; keeps imported keys and fetched JWKS. */
export class TokenVerifier {
  readonly #keyDeps: KeyDeps
  /** By the issuer's whole definition. Keys at hand come before those that may have to be fetched. */
  #sources: ReadonlyMap<string, Source> = new Map()

  constructor(issuers: readonly Issuer[], deps: TokenVerifierDeps) {
    this.#keyDeps = {
      clock: deps.clock,
      allowPrivate: deps.allowPrivateJwks ?? false,
      onProblem: deps.onProblem ?? (() => {}),
      onKeysChanged: deps.onKeysChanged ?? (() => {}),
    }
    this.update(issuers)
  }

  /** The tenant's policy changed. What did not change keeps its keys, fetched ones too; then ask `accepts()` for every connection. */
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
   * Rejects with CommandError: UNAUTHORIZED (empty), TOKEN_INVALID, TOKEN_EXPIRED (also: not valid yet), or the temporary INTERNAL
   * while the keys of an identity provider were never fetched. No message holds the token or a claim.
   */
  async verify(token: string): Promise<VerifiedToken> {
    const { claims, issuer, keyId } = await this.#open(token)
    const expiresAtMs = expiryOf(claims, this.#keyDeps.clock.epochMs())
    // Whoever may subscribe to one channel must not be able to connect by the same token.
    if (Object.hasOwn(claims, 'channel'))
      throw invalid('is for a subscription (it has a "channel"): connect with one that has none')
    return {
      user: userOf(claims, issuer.claims.user),
      name: nameOf(claims, issuer.claims.name),
      roles: rolesOf(claims, issuer.claims.roles),
      claims,
      info: infoOf(claims, issuer.claims.info),
      expiresAtMs,
      keyId,
    }
  }

  /** As `verify()`; TokenMismatchError when the token is good but for another user, channel or connection. */
  async verifySubscription(token: string, bearer: SubscriptionBearer): Promise<VerifiedSubscription> {
    const { claims, issuer, keyId } = await this.#open(token)
    const expiresAtMs = expiryOf(claims, this.#keyDeps.clock.epochMs())
    const { channel, client } = claims
    if (typeof channel !== 'string')
      throw invalid('is for connecting: a subscription token names its channel in the claim "channel"')
    if (userOf(claims, issuer.claims.user) !== bearer.user)
      throw new TokenMismatchError('is for another user than the connection’s')
    if (channel !== bearer.channel) throw new TokenMismatchError('is for another channel')
    if (client !== undefined && client !== bearer.client)
      throw new TokenMismatchError('is for another connection')
    return { info: infoOf(claims, issuer.claims.info), expiresAtMs, keyId }
  }

  /** Whether connections that came in by this key may stay. Cheap: ask after every `update()` and `onKeysChanged`. */
  accepts(keyId: string): boolean {
    return [...this.#sources.values()].some(({ keys }) => keys.accepts(keyId))
  }

  /** Ends fetches under way. */
  close(): void {
    for (const { keys } of this.#sources.values()) keys.close()
  }

  /** Finds the key that signed the token and the issuer that it is meant for. */
  async #open(token: string): Promise<{ claims: Claims; issuer: Issuer; keyId: string }> {
    const header = this.#knownHeader(readHeader(token))
    let tries = 0
    let misaddressed = false
    let unavailable = false
    for (const { issuer, keys } of this.#sourcesFor(header, token)) {
      const candidates = await keysOrUndefined(keys, header)
      if (!candidates) unavailable = true
      for (const { keyId, key } of candidates ?? []) {
        tries += 1
        if (tries > candidatesMax) throw unknownSigner()
        const payload = await payloadIfSigned(token, header.alg, key)
        if (!payload) continue
        const claims = parseClaims(payload)
        if (isAddressed(claims, issuer)) return { claims, issuer, keyId }
        misaddressed = true
      }
    }
    if (misaddressed)
      throw invalid('is meant for somebody else: its "iss" or "aud" is not the one that this tenant expects')
    if (unavailable) {
      const problem = 'The keys of this tenant’s identity provider cannot be fetched at the moment: try again'
      throw new CommandError('INTERNAL', problem, { retryAfterMs: 5_000 })
    }
    throw unknownSigner()
  }

  #knownHeader({ alg, kid }: TokenHeader): SignatureHeader {
    const accepted = new Set([...this.#sources.values()].flatMap(({ issuer }) => issuer.algorithms))
    if (accepted.size === 0) throw invalid('is of no use here: this tenant accepts no tokens')
    if (!isOneOf(alg, accepted)) {
      throw invalid(`is not signed by an algorithm that this tenant accepts: use ${[...accepted].join(', ')}`)
    }
    return { alg, kid }
  }

  /** Several issuers may share an algorithm; `iss`, not verified yet, spares tries (and fetches) that must fail. */
  #sourcesFor(header: SignatureHeader, token: string): readonly Source[] {
    const sources = [...this.#sources.values()].filter(({ issuer }) => issuer.algorithms.includes(header.alg))
    if (sources.length < 2 || sources.every(({ issuer }) => issuer.issuer === undefined)) return sources
    const [, payload = ''] = token.split('.')
    const { iss } = parseClaims(Buffer.from(payload, 'base64url'))
    const named = sources.filter(({ issuer }) => issuer.issuer === undefined || issuer.issuer === iss)
    // None: all are tried, so that only who holds a key learns what was wrong.
    return named.length > 0 ? named : sources
  }
}

function isOneOf(alg: string, accepted: ReadonlySet<SigningAlgorithm>): alg is SigningAlgorithm {
  return signingAlgorithms.some((known) => known === alg && accepted.has(known))
}

async function keysOrUndefined(
  keys: IssuerKeys,
  header: SignatureHeader,
): Promise<readonly VerificationKey[] | undefined> {
  try {
    return await keys.candidates(header)
  } catch (error) {
    if (error instanceof KeysUnavailableError) return undefined
    throw error
  }
}

async function payloadIfSigned(
  token: string,
  alg: SigningAlgorithm,
  key: VerificationKey['key'],
): Promise<Uint8Array | undefined> {
  if (key instanceof KeyObject) return payloadIfSealed(token, alg, key)
  try {
    return (await compactVerify(token, key, { algorithms: [alg] })).payload
  } catch {
    // jose throws for a wrong signature and for a key that is too weak alike: either way this key vouches for nothing.
    return undefined
  }
}

/**
 * HS256 and its like, at once. WebCrypto, and so jose, sends every HMAC through a thread pool: 15 % of the main thread's
 * time in a profile of returning connections, for a few microseconds of hashing. `readHeader` has seen to the form: three canonical parts, no `crit`, no `b64`.
 */
function payloadIfSealed(token: string, alg: SigningAlgorithm, secret: KeyObject): Uint8Array | undefined {
  const end = token.lastIndexOf('.')
  const expected = createHmac(`sha${alg.slice(2)}`, secret)
    .update(token.slice(0, end))
    .digest()
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  if (signature.byteLength !== expected.byteLength || !timingSafeEqual(signature, expected)) return undefined
  return Buffer.from(token.slice(token.indexOf('.') + 1, end), 'base64url')
}

function unknownSigner(): CommandError {
  return invalid(
    'is not signed by a key of this tenant: sign it with one of its keys, and do not change it afterwards',
  )
}
