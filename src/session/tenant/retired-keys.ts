// Keys that a tenant has removed from its policy. A token signed with such a key is answered with
// TOKEN_EXPIRED, so that its client fetches a new one; a token that was never valid is refused for good. SDKs
// reconnect with the token that they have, so this difference decides whether they reconnect at all.
import { TokenMismatchError, TokenVerifier } from '../../auth/token.js'
import { CommandError } from '../../errors.js'
import type { Issuer } from '../../tenant/policy.js'
import type { Clock } from '../../time.js'

/**
 * One day, which is longer than tokens should live. After it, a token of a retired key is refused like one of
 * an unknown key.
 */
const retiredTtlMs = 86_400_000
const retiredMax = 8

interface RetiredIssuer {
  readonly id: string
  readonly issuer: Issuer
  /** Monotonic milliseconds. */
  readonly untilMs: number
}

export class RetiredKeys {
  readonly #clock: Clock
  readonly #verifier: TokenVerifier
  #retired: RetiredIssuer[] = []

  constructor(clock: Clock) {
    this.#clock = clock
    this.#verifier = new TokenVerifier([], { clock })
  }

  /**
   * Remembers the issuers that are in `before` and not in `after`, at most 8. Keys at a URL are not
   * remembered, since they would have to be fetched from a provider that the tenant no longer uses.
   */
  replaced(before: readonly Issuer[], after: readonly Issuer[]): void {
    const nowMs = this.#clock.monotonicMs()
    const current = new Set(after.map((issuer) => JSON.stringify(issuer)))
    const removed = before
      .filter(({ key }) => key.type !== 'JWKSURI')
      .map((issuer) => ({ id: JSON.stringify(issuer), issuer, untilMs: nowMs + retiredTtlMs }))
    this.#keep([...removed, ...this.#retired].filter(({ id }) => !current.has(id)).slice(0, retiredMax))
  }

  /**
   * Returns whether the token would be valid, or expired, if the retired keys still counted. The caller
   * refuses the token in any case.
   */
  async accepted(check: (verifier: TokenVerifier) => Promise<unknown>): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs()
    const kept = this.#retired.filter(({ untilMs }) => untilMs > nowMs)
    if (kept.length < this.#retired.length) this.#keep(kept)
    if (kept.length === 0) return false
    try {
      await check(this.#verifier)
      return true
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      return error.code === 'TOKEN_EXPIRED' || error instanceof TokenMismatchError
    }
  }

  #keep(retired: RetiredIssuer[]): void {
    this.#retired = retired
    this.#verifier.update(retired.map(({ issuer }) => issuer))
  }
}
