// The revocations of a single gateway, in memory: for `parley dev` and tests.
import { mergeRevocations, revocationName, RevocationSet, type Revocation } from '../tenant/revocations.js'
import type { Clock } from '../time.js'
import {
  revocationsAllowed,
  tooManyRevocations,
  type RevocationListener,
  type RevocationPage,
  type RevocationStore,
} from './store.js'

export class LocalRevocations implements RevocationStore {
  readonly #clock: Clock
  readonly #sets = new Map<string, RevocationSet>()
  readonly #listeners = new Map<string, RevocationListener>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    let size = 0
    for (const set of this.#sets.values()) size += set.size
    return size
  }

  open(tenantId: string, listener: RevocationListener): RevocationSet {
    this.#listeners.set(tenantId, listener)
    return this.#setOf(tenantId)
  }

  close(tenantId: string): void {
    this.#listeners.delete(tenantId)
  }

  current(): undefined {
    return undefined
  }

  async add(tenantId: string, revocation: Revocation): Promise<void> {
    const set = this.#setOf(tenantId)
    const name = revocationName(revocation)
    const known = set.get(name)
    const max = revocationsAllowed(this.size)
    if (set.size >= max) set.removeExpired(this.#clock.epochMs())
    if (!known && name !== 'tenant' && set.size >= max) throw tooManyRevocations(set.size, max)
    set.put(mergeRevocations(known, revocation))
    this.#listeners.get(tenantId)?.revoked([revocation])
  }

  async remove(tenantId: string, name: string): Promise<boolean> {
    const set = this.#setOf(tenantId)
    const before = set.size
    set.remove(name)
    return set.size < before
  }

  async list(tenantId: string, { after, limit }: { after: string; limit: number }): Promise<RevocationPage> {
    const set = this.#setOf(tenantId)
    set.removeExpired(this.#clock.epochMs())
    const byName = new Map([...set].map((revocation) => [revocationName(revocation), revocation]))
    const names = [...byName.keys()].filter((name) => name > after).toSorted()
    const page = names.slice(0, limit)
    return {
      revocations: page.flatMap((name) => byName.get(name) ?? []),
      next: names.length > limit ? page.at(-1) : undefined,
      total: set.size,
    }
  }

  #setOf(tenantId: string): RevocationSet {
    const known = this.#sets.get(tenantId)
    if (known) return known
    const created = new RevocationSet()
    this.#sets.set(tenantId, created)
    return created
  }
}
