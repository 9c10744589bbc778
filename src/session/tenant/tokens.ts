// Decides which clients a tenant admits: bearers of its issuers' tokens, and guests. Tokens of retired keys
// are refused as expired.
import type { FetchSlots } from '../../auth/fetch-slots.js'
import {
  TokenMismatchError,
  TokenVerifier,
  type SubscriptionBearer,
  type VerifiedSubscription,
  type VerifiedToken,
} from '../../auth/token.js'
import { CommandError } from '../../errors.js'
import type { Issuer, TenantPolicy } from '../../tenant/policy.js'
import type { Clock } from '../../time.js'
import { RetiredKeys } from './retired-keys.js'

export interface TenantTokensDeps {
  readonly clock: Clock
  /** JWKS URLs may lead to private addresses; for development. */
  readonly allowPrivateJwks: boolean
  /** Bounds the fetches of key sets by all tenants. Absent: only those of this tenant are bounded. */
  readonly jwksSlots?: FetchSlots | undefined
  /** Receives a sentence for the log about keys that cannot be used or fetched. */
  readonly onProblem: (sentence: string) => void
  /** Called when a fetched key set differs from the previous one: call `acceptsKey` for every connection. */
  readonly onKeysChanged: () => void
}

export class TenantTokens {
  readonly #verifier: TokenVerifier
  readonly #retiredKeys: RetiredKeys
  #issuers: readonly Issuer[]
  #allowsGuests: boolean

  constructor(policy: TenantPolicy, deps: TenantTokensDeps) {
    this.#verifier = new TokenVerifier(policy.issuers, deps)
    this.#retiredKeys = new RetiredKeys(deps.clock)
    this.#issuers = policy.issuers
    this.#allowsGuests = grantsToGuests(policy)
  }

  /** True when at least one channel rule grants something to clients without a token. */
  get allowsGuests(): boolean {
    return this.#allowsGuests
  }

  /**
   * True when at least one issuer publishes its keys at a URL, so that they can change without a change of
   * the policy.
   */
  get hasRemoteKeys(): boolean {
    return this.#issuers.some(({ key }) => key.type === 'JWKSURI')
  }

  /**
   * Rejects like `TokenVerifier.verify`. A token that is valid except for a recently removed key is rejected
   * with TOKEN_EXPIRED.
   */
  verify(token: string): Promise<VerifiedToken> {
    return this.#verified((verifier) => verifier.verify(token))
  }

  /**
   * Rejects like `verify`, and with TokenMismatchError for a valid token of another user, channel or
   * connection.
   */
  verifySubscription(token: string, bearer: SubscriptionBearer): Promise<VerifiedSubscription> {
    return this.#verified((verifier) => verifier.verifySubscription(token, bearer))
  }

  /** Returns whether connections whose token was signed with this key may stay. */
  acceptsKey(keyId: string): boolean {
    return this.#verifier.accepts(keyId)
  }

  /** Applies a new policy. Afterwards, check `acceptsKey` and `allowsGuests` for every connection. */
  update(policy: TenantPolicy): void {
    this.#retiredKeys.replaced(this.#issuers, policy.issuers)
    this.#issuers = policy.issuers
    this.#verifier.update(policy.issuers)
    this.#allowsGuests = grantsToGuests(policy)
  }

  /** Aborts fetches of keys in progress. */
  close(): void {
    this.#verifier.close()
  }

  async #verified<Facts>(check: (verifier: TokenVerifier) => Promise<Facts>): Promise<Facts> {
    try {
      return await check(this.#verifier)
    } catch (error) {
      const refused = error instanceof CommandError && error.code === 'TOKEN_INVALID'
      if (!refused || error instanceof TokenMismatchError || !(await this.#retiredKeys.accepted(check)))
        throw error
      const problem = 'The token was signed by a key that this tenant has removed: get a new one'
      throw new CommandError('TOKEN_EXPIRED', problem, { cause: error })
    }
  }
}

function grantsToGuests(policy: TenantPolicy): boolean {
  return policy.channels.some((rule) =>
    rule.grants.some(
      (grant) => grant.effect === 'Allow' && grant.subjects.some((subject) => subject.anonymous === true),
    ),
  )
}
