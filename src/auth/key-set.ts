// What a token's signature is checked with: keys that know when they are meant, imported once per algorithm.
import type { KeyObject } from 'node:crypto'
import type { CryptoKey } from 'jose'
import type { SigningAlgorithm } from '../tenant/policy.js'

/** What a token's header says of its signature; not verified. */
export interface SignatureHeader {
  readonly alg: SigningAlgorithm
  readonly kid?: string | undefined
}

export interface VerificationKey {
  /** `<issuer name>/<hash of the public key or secret>`: the same material has the same id, whatever its `kid`. */
  readonly keyId: string
  /** A KeyObject is a shared secret. */
  readonly key: CryptoKey | KeyObject
}

/** The keys of one issuer, wherever they come from. */
export interface IssuerKeys {
  /**
   * Keys that may have made such a signature, at most `candidatesMax`. Empty: none of them.
   * Rejects with `KeysUnavailableError` while the keys cannot be had at all.
   */
  candidates(header: SignatureHeader): Promise<readonly VerificationKey[]>
  /** Whether the key is (as far as is known) still one of the issuer's. */
  accepts(keyId: string): boolean
  /** Ends what is under way. */
  close(): void
}

/** The keys are somewhere else and were never fetched. A later try may pass. */
export class KeysUnavailableError extends Error {
  override readonly name = 'KeysUnavailableError'
}

/** One key before it is imported. */
export interface KeySource {
  readonly keyId: string
  /** Whether a token with this `kid` (or without one) can be of this key. */
  matches(kid: string | undefined): boolean
  /** Rejects when the key is not for that algorithm. */
  load(alg: SigningAlgorithm): Promise<CryptoKey | KeyObject>
}

/** A token is never tried against more keys than this: each try costs a signature check. */
export const candidatesMax = 8

/** Keys that are all here. */
export class KeySet implements IssuerKeys {
  readonly #sources: readonly KeySource[]
  readonly #ids: ReadonlySet<string>
  /** By algorithm; `undefined` for a key that is not for it, so that a bad match is not tried again for each token. */
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
    // Nothing is under way.
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
