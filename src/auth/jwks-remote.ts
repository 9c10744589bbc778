// A tenant's keys that live at its identity provider: fetched when needed, seldom, and kept when the provider fails.
import type { Clock } from '../time.js'
import { fetchJwks } from './jwks-fetch.js'
import {
  KeysUnavailableError,
  type IssuerKeys,
  type KeySet,
  type SignatureHeader,
  type VerificationKey,
} from './key-set.js'

/** A set older than this is fetched again, behind the back of the token that noticed. */
export const jwksAgeMaxMs = 600_000
/** Between two fetches, whatever tokens ask for: an attacker can make up key ids faster than any provider can answer. */
export const jwksCooldownMs = 30_000
/** The same while there are no keys at all: every connection of the tenant waits for them. */
const jwksFirstRetryMs = 5_000
const fetchTimeoutMs = 5_000

export interface RemoteJwksDeps {
  readonly clock: Clock
  readonly allowPrivate: boolean
  /** Beginning of all key ids of this issuer. */
  readonly keyIdPrefix: string
  /** Keeps the usable keys. */
  readonly build: (keys: readonly Record<string, unknown>[]) => KeySet
  /** Once when fetching begins to fail; again only after it worked in between. */
  readonly onProblem: (sentence: string) => void
  readonly onKeysChanged: () => void
  /** For tests; 5 s. */
  readonly timeoutMs?: number
}

/** No timer of its own: questions make it fetch. One fetch at a time, and a failed one never loses the keys of the last good one. */
export class RemoteJwks implements IssuerKeys {
  readonly #uri: string
  readonly #deps: RemoteJwksDeps
  readonly #closed = new AbortController()
  #keys: KeySet | undefined
  #fetchedMs = -Infinity
  #triedMs = -Infinity
  #failing = false
  #flight: Promise<void> | undefined

  constructor(uri: string, deps: RemoteJwksDeps) {
    this.#uri = uri
    this.#deps = deps
  }

  async candidates(header: SignatureHeader): Promise<readonly VerificationKey[]> {
    if (this.#keys) {
      this.#refreshIfOld()
      const known = await this.#keys.candidates(header)
      if (known.length > 0) return known
    }
    this.#refresh()
    await this.#flight
    if (!this.#keys) throw new KeysUnavailableError('the keys of the identity provider could not be fetched')
    return this.#keys.candidates(header)
  }

  /**
   * True for any key of this issuer until the first set has come: a gateway that just learned of a tenant must not close its
   * connections because the provider has not answered yet. `onKeysChanged` says when to ask again. Asking keeps the set fresh,
   * so a key that the provider withdrew is found even when nobody new connects.
   */
  accepts(keyId: string): boolean {
    if (!keyId.startsWith(this.#deps.keyIdPrefix)) return false
    this.#refreshIfOld()
    return this.#keys?.accepts(keyId) ?? true
  }

  close(): void {
    this.#closed.abort()
  }

  #refreshIfOld(): void {
    if (this.#deps.clock.monotonicMs() - this.#fetchedMs > jwksAgeMaxMs) this.#refresh()
  }

  /** Starts a fetch unless one is under way or it is too early. `#flight` never rejects, and `close()` ends it. */
  #refresh(): void {
    if (this.#flight) return
    const now = this.#deps.clock.monotonicMs()
    const gapMs = this.#keys ? jwksCooldownMs : jwksFirstRetryMs
    if (this.#closed.signal.aborted || now - this.#triedMs < gapMs) return
    this.#triedMs = now
    this.#flight = this.#fetch().finally(() => {
      this.#flight = undefined
    })
  }

  async #fetch(): Promise<void> {
    const timeout = AbortSignal.timeout(this.#deps.timeoutMs ?? fetchTimeoutMs)
    try {
      const signal = AbortSignal.any([timeout, this.#closed.signal])
      const fetched = this.#deps.build(
        await fetchJwks(this.#uri, { allowPrivate: this.#deps.allowPrivate, signal }),
      )
      if (fetched.ids.size === 0) throw new Error('the set holds no public key for signatures')
      this.#fetchedMs = this.#deps.clock.monotonicMs()
      this.#failing = false
      const before = this.#keys
      this.#keys = fetched
      if (!before || !sameIds(before.ids, fetched.ids)) this.#deps.onKeysChanged()
    } catch (error) {
      if (this.#closed.signal.aborted) return
      this.#failed(timeout.aborted ? 'it did not answer in time' : textOf(error))
    }
  }

  #failed(reason: string): void {
    if (this.#failing) return
    this.#failing = true
    const outcome = this.#keys ? 'The keys fetched before stay in use.' : 'Its tokens are refused until then.'
    this.#deps.onProblem(`the JWKS at ${this.#uri} cannot be fetched: ${reason}. ${outcome}`)
  }
}

function sameIds(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((id) => other.has(id))
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
