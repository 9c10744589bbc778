// A tenant's keys at the URL of its identity provider: fetched on demand and rarely, and kept when the
// provider fails.
import type { Clock } from '../time.js'
import type { FetchSlots } from './fetch-slots.js'
import { fetchJwks } from './jwks-fetch.js'
import {
  KeysUnavailableError,
  type IssuerKeys,
  type KeySet,
  type SignatureHeader,
  type VerificationKey,
} from './key-set.js'
import { UnknownKeys } from './unknown-keys.js'

/** A set older than this is fetched again in the background. */
export const jwksAgeMaxMs = 600_000
/** The least time between two fetches because the set is old. For one unknown key id, see unknown-keys.ts. */
export const jwksCooldownMs = 30_000
/**
 * A key id that was not seen before causes a fetch at once, so that a rotated key is known immediately. An
 * attacker can invent key ids faster than any provider can answer, so there are at most `lookupBurst` such
 * fetches at once, and then one per `lookupIntervalMs`.
 */
export const lookupBurst = 3
export const lookupIntervalMs = 10_000
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
  /** Bounds the fetches of this tenant and of all. */
  readonly slots: FetchSlots
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
  /** Resolves to whether the fetch succeeded, and never rejects. */
  #fetching: Promise<boolean> | undefined
  readonly #unknown = new UnknownKeys()
  /** When the budget of fetches for unknown key ids is full again. */
  #lookupsFullMs = -Infinity

  constructor(uri: string, deps: RemoteJwksDeps) {
    this.#uri = uri
    this.#deps = deps
  }

  async candidates(header: SignatureHeader): Promise<readonly VerificationKey[]> {
    const current = this.#keys
    if (current) {
      this.#refreshIfOld()
      const known = await current.candidates(header)
      return known.length > 0 ? known : this.#lookUp(header)
    }
    this.#refresh(jwksFirstRetryMs)
    const fetchMs = this.#triedMs
    await this.#fetching
    if (!this.#keys) throw cannotBeFetched(jwksFirstRetryMs)
    return this.#found(header, fetchMs)
  }

  /**
   * Looks for a key that the last set does not have. Only sets that were fetched for this key id prove that
   * there is none; as long as none can be fetched, the key may exist.
   */
  async #lookUp(header: SignatureHeader): Promise<readonly VerificationKey[]> {
    const nowMs = this.#deps.clock.monotonicMs()
    const known = this.#unknown.check(idOf(header), nowMs)
    if (known === 'unknown') return []
    if (!this.#fetching) {
      if (known > 0) throw notPublished(known)
      const waitMs = this.#takeLookup(nowMs)
      if (waitMs > 0)
        throw new KeysUnavailableError('too many unknown keys were looked for in a short time', waitMs)
      this.#startFetch(nowMs)
    }
    const fetchMs = this.#triedMs
    if (!(await this.#fetching)) {
      const found = (await this.#keys?.candidates(header)) ?? []
      if (found.length > 0) return found
      throw cannotBeFetched(jwksCooldownMs)
    }
    return this.#found(header, fetchMs)
  }

  /** Returns keys of the set whose fetch began at `fetchMs`. Rejects when it has none and that may change. */
  async #found(header: SignatureHeader, fetchMs: number): Promise<readonly VerificationKey[]> {
    const found = (await this.#keys?.candidates(header)) ?? []
    if (found.length > 0) return found
    const nowMs = this.#deps.clock.monotonicMs()
    const absent = this.#unknown.absent(idOf(header), { fetchMs, nowMs })
    if (absent === 'unknown') return []
    throw notPublished(absent)
  }

  /** Takes one fetch of the budget for unknown key ids. Returns 0, or the milliseconds until there is one. */
  #takeLookup(nowMs: number): number {
    const waitMs = this.#lookupsFullMs - nowMs - (lookupBurst - 1) * lookupIntervalMs
    if (waitMs > 0) return waitMs
    this.#lookupsFullMs = Math.max(this.#lookupsFullMs, nowMs) + lookupIntervalMs
    return 0
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
    if (this.#deps.clock.monotonicMs() - this.#fetchedMs > jwksAgeMaxMs) this.#refresh(jwksCooldownMs)
  }

  /** Starts a fetch unless one is in progress, or the last one began less than `gapMs` ago. */
  #refresh(gapMs: number): void {
    const nowMs = this.#deps.clock.monotonicMs()
    if (!this.#fetching && nowMs - this.#triedMs >= gapMs) this.#startFetch(nowMs)
  }

  /** Starts a fetch, whose outcome is in `#fetching` until it ends. */
  #startFetch(nowMs: number): void {
    this.#triedMs = nowMs
    this.#fetching = this.#fetch().finally(() => (this.#fetching = undefined))
  }

  /** Returns whether the fetch succeeded. Never rejects; `close` aborts it. */
  async #fetch(): Promise<boolean> {
    const { allowPrivate, build, clock, onKeysChanged, slots, timeoutMs = fetchTimeoutMs } = this.#deps
    if (this.#closed.signal.aborted) return false
    const timeout = AbortSignal.timeout(timeoutMs)
    let started = false
    try {
      const signal = AbortSignal.any([timeout, this.#closed.signal])
      const keys = await slots.run(signal, () => {
        started = true
        return fetchJwks(this.#uri, { allowPrivate, signal })
      })
      const fetched = build(keys)
      if (fetched.ids.size === 0) throw new Error('the set holds no public key for signatures')
      this.#fetchedMs = clock.monotonicMs()
      this.#failing = false
      const before = this.#keys
      this.#keys = fetched
      if (!before || !sameIds(before.ids, fetched.ids)) onKeysChanged()
      return true
    } catch (error) {
      if (this.#closed.signal.aborted) return false
      const late = started ? 'it did not answer in time' : 'other fetches took too long, so it was not asked'
      this.#failed(timeout.aborted ? late : messageOf(error))
      return false
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

function idOf({ alg, kid = '' }: SignatureHeader): string {
  return `${alg} ${kid}`
}

function cannotBeFetched(retryAfterMs: number): KeysUnavailableError {
  return new KeysUnavailableError('the keys of the identity provider cannot be fetched', retryAfterMs)
}

function notPublished(retryAfterMs: number): KeysUnavailableError {
  return new KeysUnavailableError('the identity provider has not published such a key yet', retryAfterMs)
}

function sameIds(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((id) => other.has(id))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
