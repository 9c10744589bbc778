// Tokens of keys that were removed are not wrong, only of yesterday: their clients are to get another one, where a token that never was
// good is refused for good. SDKs reconnect with the token they have, so the difference decides whether they come back at all.
import { TokenMismatchError, TokenVerifier } from '../../auth/token.js'
import { CommandError } from '../../errors.js'
import type { Issuer } from '../../tenant/policy.js'
import type { Clock } from '../../time.js'

/** Longer than tokens should live. After it, a token of a removed key is as unknown as any. */
const formerTtlMs = 86_400_000
const formerMax = 8

interface Former {
  readonly id: string
  readonly issuer: Issuer
  readonly untilMs: number
}

export class FormerKeys {
  readonly #clock: Clock
  readonly #verifier: TokenVerifier
  #former: Former[] = []

  constructor(clock: Clock) {
    this.#clock = clock
    this.#verifier = new TokenVerifier([], { clock })
  }

  /** Keys that would have to be fetched are let go: nobody is to be asked for keys that the tenant has dropped. */
  replaced(before: readonly Issuer[], after: readonly Issuer[]): void {
    const nowMs = this.#clock.monotonicMs()
    const current = new Set(after.map((issuer) => JSON.stringify(issuer)))
    const removed = before
      .filter(({ key }) => key.type !== 'JWKSURI')
      .map((issuer) => ({ id: JSON.stringify(issuer), issuer, untilMs: nowMs + formerTtlMs }))
    this.#keep([...removed, ...this.#former].filter(({ id }) => !current.has(id)).slice(0, formerMax))
  }

  /** Whether a token that is refused now would have been accepted, or was, before its key was removed. Lets nobody in. */
  async accepted(check: (verifier: TokenVerifier) => Promise<unknown>): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs()
    const still = this.#former.filter(({ untilMs }) => untilMs > nowMs)
    if (still.length < this.#former.length) this.#keep(still)
    if (still.length === 0) return false
    try {
      await check(this.#verifier)
      return true
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      return error.code === 'TOKEN_EXPIRED' || error instanceof TokenMismatchError
    }
  }

  #keep(former: Former[]): void {
    this.#former = former
    this.#verifier.update(former.map(({ issuer }) => issuer))
  }
}
