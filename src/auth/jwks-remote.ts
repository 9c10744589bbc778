// A tenant's keys at the URL of its identity provider: fetched on demand and rarely, and kept when the
// provider fails.
import type { Clock } from '../time.js'
import { fetchJwks } from './jwks-fetch.js'
import {
  KeysUnavailableError,
  type IssuerKeys,
  type KeySet,
  type SignatureHeader,
  type VerificationKey,
} from './key-set.js'

/** A set older than this is fetched again in the background. */
export const jwksAgeMaxMs = 600_000
/** The least time between two fetches: an attacker can invent key ids faster than any provider can answer. */
export const jwksCooldownMs = 30_000
/**
 * The least time between two fetches while no set has been fetched: every connection of the tenant waits for
 * the first set.
 */
const jwksFirstRetryMs = 5_000
const fetchTimeoutMs = 5_000

export interface RemoteJwksDeps {
  readonly clock: Clock
  readonly allowPrivate: boolean
  /** The prefix of all key ids of this issuer. */
  readonly keyIdPrefix: string
  /** Makes a key set of the usable keys. */
  readonly build: (keys: readonly Record<string, unknown>[]) => KeySet
  /** Called once when fetches begin to fail, and again only after a fetch has succeeded. */
  readonly onProblem: (sentence: string) => void
  readonly onKeysChanged: () => void
  /** Timeout of one fetch. Default: 5 s. */
  readonly timeoutMs?: number
}

/**
 * Fetches keys without a timer: calls trigger the fetches. There is one fetch at a time, and when it fails,
 * the keys of the last successful fetch stay in use.
 */
export class RemoteJwks implements IssuerKeys {
  readonly #uri: string
  readonly #deps: RemoteJwksDeps
  readonly #closed = new AbortController()
  #keys: KeySet | undefined
  #fetchedMs = -Infinity
  #triedMs = -Infinity
  #failing = false
  #fetching: Promise<void> | undefined

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
    await this.#fetching
    if (!this.#keys) throw new KeysUnavailableError('the keys of the identity provider could not be fetched')
    return this.#keys.candidates(header)
  }

  /**
   * Returns true for any key of this issuer until the first set is fetched: a gateway that has just learned
   * of a tenant must not close its connections because the provider has not answered yet. `onKeysChanged`
   * reports when to call again. Each call keeps the set fresh, so the withdrawal of a key is noticed even
   * when no client connects.
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

  /**
   * Starts a fetch unless one is in progress or it is too early. `#fetching` never rejects, and `close`
   * aborts it.
   */
  #refresh(): void {
    if (this.#fetching) return
    const nowMs = this.#deps.clock.monotonicMs()
    const gapMs = this.#keys ? jwksCooldownMs : jwksFirstRetryMs
    if (this.#closed.signal.aborted || nowMs - this.#triedMs < gapMs) return
    this.#triedMs = nowMs
    this.#fetching = this.#fetch().finally(() => {
      this.#fetching = undefined
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
      this.#failed(timeout.aborted ? 'it did not answer in time' : messageOf(error))
    }
  }

  #failed(reason: string): void {
    if (this.#failing) return
    this.#failing = true
    const outcome = this.#keys
      ? 'The keys fetched before stay in use.'
      : 'Its tokens are refused until a fetch succeeds.'
    this.#deps.onProblem(`the JWKS at ${this.#uri} cannot be fetched: ${reason}. ${outcome}`)
  }
}

function sameIds(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((id) => other.has(id))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
