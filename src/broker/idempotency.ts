// Keeps the results of publishes with an idempotency key in memory. A repeat gets the same result and is not
// delivered again.
import { createHash } from 'node:crypto'
import { CommandError } from '../errors.js'
import type { NewPublication } from './broker.js'

/**
 * Returns a digest of data and tags, by which a repeat is compared with the first publish. The order of tags
 * does not matter.
 */
export function digestOf({ data, tags }: Pick<NewPublication, 'data' | 'tags'>): string {
  const digest = createHash('sha256').update(data)
  // No JSON contains a NUL byte, so this separates data and tags.
  if (tags) digest.update(`\0${JSON.stringify([...tags].toSorted(([a], [b]) => (a < b ? -1 : 1)))}`)
  return digest.digest('base64url')
}

/** The error of a repeat with other data or tags. */
export function idempotencyMismatch(): CommandError {
  return new CommandError(
    'IDEMPOTENCY_MISMATCH',
    'This idempotency key was used within the last 2 minutes with other data or tags: use a new key',
  )
}

/** The result of looking up an idempotency key. `mismatch`: the key was used with other data or tags. */
export type IdempotencyLookup<Result> =
  | { readonly kind: 'none' }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'found'; readonly result: Result }

interface Kept<Result> {
  readonly digest: string
  readonly result: Result
}

/**
 * Keeps each result for at least `windowMs` and at most twice that. Results are in two maps. At the end of
 * each window the older map is dropped as a whole, so expiry has no cost per key. The tenants' publish quotas
 * bound the number of results. All times are milliseconds of a monotonic clock.
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

  /** The number of results in memory. Expired ones count until they are dropped. */
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

  /** Drops expired results. `find` and `keep` call it; an idle process calls it directly to free memory. */
  dropExpired(nowMs: number): void {
    // Windows start at fixed times, even when this call is late: otherwise a result could outlive its second
    // window.
    const windows = Math.floor((nowMs - this.#windowStartMs) / this.#windowMs)
    if (windows === 0) return
    this.#old = windows === 1 ? this.#young : new Map()
    this.#young = new Map()
    this.#windowStartMs += windows * this.#windowMs
  }
}
