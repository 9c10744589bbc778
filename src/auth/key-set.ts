// The keys that verify token signatures: each knows which tokens it applies to, and is imported once per
// algorithm.
import type { KeyObject } from 'node:crypto'
import type { CryptoKey } from 'jose'
import type { SigningAlgorithm } from '../tenant/policy.js'

/** What a token's header says about its signature. Not verified. */
export interface SignatureHeader {
  readonly alg: SigningAlgorithm
  readonly kid?: string | undefined
}

export interface VerificationKey {
  /**
   * `<issuer name>/<hash of the public key or secret>`. The same key material has the same id, whatever its
   * `kid`.
   */
  readonly keyId: string
  /** A KeyObject is a shared secret, a CryptoKey a public key. */
  readonly key: CryptoKey | KeyObject
}

/** The keys of one issuer, wherever they come from. */
export interface IssuerKeys {
  /**
   * Returns the keys that may have made such a signature, at most `candidatesMax`; empty when none may have.
   * Rejects with `KeysUnavailableError` while it is not known whether such a key exists.
   */
  candidates(header: SignatureHeader): Promise<readonly VerificationKey[]>
  /** Returns whether the key is still one of the issuer's, as far as known. */
  accepts(keyId: string): boolean
  /** Aborts fetches in progress. */
  close(): void
}

/**
 * The key may exist, although the keys cannot be fetched at the moment or it is not published yet. A later
 * try may succeed. The message continues a sentence after "because".
 */
export class KeysUnavailableError extends Error {
  override readonly name = 'KeysUnavailableError'
  /** Milliseconds after which the caller may try again. */
  readonly retryAfterMs: number

  constructor(message: string, retryAfterMs: number) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

/** One key before it is imported. */
export interface KeySource {
  readonly keyId: string
  /** Returns whether a token with this `kid`, or without one, may be signed by this key. */
  matches(kid: string | undefined): boolean
  /** Imports the key. Rejects when it cannot be used with that algorithm. */
  load(alg: SigningAlgorithm): Promise<CryptoKey | KeyObject>
}

/** A token is tried against at most this many keys, since each try costs a signature check. */
export const candidatesMax = 8

/** Keys that need no fetch. */
export class KeySet implements IssuerKeys {
  readonly #sources: readonly KeySource[]
  readonly #ids: ReadonlySet<string>
  /**
   * By algorithm. A key that cannot be used with it is kept as `undefined`, so that it is not imported again
   * for each token.
   */
  readonly #loaded = new Map<SigningAlgorithm, Map<KeySource, Promise<VerificationKey | undefined>>>()

  constructor(sources: readonly KeySource[]) {
    this.#sources = sources
    this.#ids = new Set(sources.map(({ keyId }) => keyId))
  }

  get ids(): ReadonlySet<string> {
    return this.#ids
  }

  async candidates(header: SignatureHeader): Promise<readonly VerificationKey[]> {
    const keys: VerificationKey[] = []
    for (const source of this.#sources) {
      if (!source.matches(header.kid)) continue
      const key = await this.#load(source, header.alg)
      if (key) keys.push(key)
      if (keys.length === candidatesMax) break
    }
    return keys
  }

  accepts(keyId: string): boolean {
    return this.#ids.has(keyId)
  }

  close(): void {
    // Local keys need no fetch.
  }

  #load(source: KeySource, alg: SigningAlgorithm): Promise<VerificationKey | undefined> {
    let keys = this.#loaded.get(alg)
    if (!keys) this.#loaded.set(alg, (keys = new Map()))
    let key = keys.get(source)
    if (!key) {
      key = source.load(alg).then(
        (loaded) => ({ keyId: source.keyId, key: loaded }),
        () => undefined,
      )
      keys.set(source, key)
    }
    return key
  }
}
