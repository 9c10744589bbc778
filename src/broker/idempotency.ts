// Remembers the results of publishes with an idempotency key, so that a repeat gets the same answer and is
// not delivered again.
import { createHash } from 'node:crypto'
import { CommandError } from '../errors.js'
import type { NewPublication } from './broker.js'

/**
 * A digest of data and tags: it shows whether a repeat has the same, without storing them. The order of tags
 * does not matter.
 */
export function digestOf({ data, tags }: Pick<NewPublication, 'data' | 'tags'>): string {
  const digest = createHash('sha256').update(data)
  // No JSON contains a NUL byte, so this separates data and tags.
  if (tags) digest.update(`\0${JSON.stringify([...tags].toSorted(([a], [b]) => (a < b ? -1 : 1)))}`)
  return digest.digest('base64url')
}

export function idempotencyMismatch(): CommandError {
  return new CommandError(
    'IDEMPOTENCY_MISMATCH',
    'This idempotency key was used within the last 2 minutes with other data or tags: use a new key',
  )
}

/** What is known of an idempotency key. `mismatch`: it was used with other data or tags. */
export type IdempotencyLookup<Result> =
  | { readonly kind: 'none' }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'found'; readonly result: Result }

interface Kept<Result> {
  readonly digest: string
  readonly result: Result
}

/**
 * Keeps each result for at least `windowMs` and at most twice that. Results are in two maps, and at the end
 * of each window the older map is dropped as a whole, so expiry costs nothing per key. The tenants' publish
 * quotas bound their number.
 */
export class IdempotencyResults<Result> {
  readonly #windowMs: number
  #young = new Map<string, Kept<Result>>()
  #old = new Map<string, Kept<Result>>()
  #windowStartMs: number

  constructor(windowMs: number, nowMs: number) {
    this.#windowMs = windowMs
    this.#windowStartMs = nowMs
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  find(key: string, digest: string, nowMs: number): IdempotencyLookup<Result> {
    this.dropExpired(nowMs)
    const kept = this.#young.get(key) ?? this.#old.get(key)
    if (!kept) return { kind: 'none' }
    return kept.digest === digest ? { kind: 'found', result: kept.result } : { kind: 'mismatch' }
  }

  keep(key: string, entry: { digest: string; result: Result; nowMs: number }): void {
    this.dropExpired(entry.nowMs)
    this.#young.set(key, { digest: entry.digest, result: entry.result })
  }

  /**
   * Drops expired results. `find` and `keep` call it; calling it directly frees the memory of an idle
   * process.
   */
  dropExpired(nowMs: number): void {
    // Windows start at fixed times, however late this is called: otherwise a result could outlive its second
    // window.
    const windows = Math.floor((nowMs - this.#windowStartMs) / this.#windowMs)
    if (windows === 0) return
    this.#old = windows === 1 ? this.#young : new Map()
    this.#young = new Map()
    this.#windowStartMs += windows * this.#windowMs
  }
}
