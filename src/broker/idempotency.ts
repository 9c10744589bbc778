// Remembers what a publish with a key came to, so that its repeat gets the same answer and is delivered to nobody.
import { createHash } from 'node:crypto'
import { CommandError } from '../errors.js'
import type { NewPublication } from './broker.js'

/** Tells whether a repeat bears the same data and tags, without keeping them. */
export function digestOf({ data, tags }: Pick<NewPublication, 'data' | 'tags'>): string {
  const digest = createHash('sha256').update(data)
  // Tags come in any order. No JSON holds a NUL.
  if (tags) digest.update(`\0${JSON.stringify([...tags].toSorted(([a], [b]) => (a < b ? -1 : 1)))}`)
  return digest.digest('base64url')
}

export function idempotencyMismatch(): CommandError {
  return new CommandError(
    'IDEMPOTENCY_MISMATCH',
    'This key was used within the last 2 minutes with other data or tags: use a new key',
  )
}

export type Found<Result> =
  | { readonly kind: 'none' }
  | { readonly kind: 'mismatch' }
  | { readonly kind: 'found'; readonly result: Result }

interface Kept<Result> {
  readonly digest: string
  readonly result: Result
}

/**
 * Results are kept for more than one `windowMs` and at most two: they live in two maps, and at each turn of the window the older is
 * dropped whole. So forgetting costs nothing per key. How many there are is bounded by the tenants' publish quotas.
 */
export class IdempotencyResults<Result> {
  readonly #windowMs: number
  #young = new Map<string, Kept<Result>>()
  #old = new Map<string, Kept<Result>>()
  #turnedAtMs: number

  constructor(windowMs: number, nowMs: number) {
    this.#windowMs = windowMs
    this.#turnedAtMs = nowMs
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  find(key: string, digest: string, nowMs: number): Found<Result> {
    this.turn(nowMs)
    const kept = this.#young.get(key) ?? this.#old.get(key)
    if (!kept) return { kind: 'none' }
    return kept.digest === digest ? { kind: 'found', result: kept.result } : { kind: 'mismatch' }
  }

  keep(key: string, entry: { digest: string; result: Result; nowMs: number }): void {
    this.turn(entry.nowMs)
    this.#young.set(key, { digest: entry.digest, result: entry.result })
  }

  /** Drops what has had its time. Called by find and keep too; by hand only to free the memory of an idle process. */
  turn(nowMs: number): void {
    // Turns lie on a grid, however late they are noticed, or a result could outlive its second window.
    const turns = Math.floor((nowMs - this.#turnedAtMs) / this.#windowMs)
    if (turns === 0) return
    this.#old = turns === 1 ? this.#young : new Map()
    this.#young = new Map()
    this.#turnedAtMs += turns * this.#windowMs
  }
}
