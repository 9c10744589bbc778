// The revocations of a single gateway, in memory: for `parley dev` and tests.
import { mergeRevocations, revocationName, type Revocation } from '../tenant/revocations.js'
import type { Clock } from '../time.js'
import { HeldRevocations, tooManyRevocations } from './held.js'
import type { RevocationPage, RevocationStore } from './store.js'

export class LocalRevocations extends HeldRevocations implements RevocationStore {
  readonly #clock: Clock

  constructor(clock: Clock) {
    super()
    this.#clock = clock
  }

  current(): undefined {
    return undefined
  }

  async add(tenantId: string, revocation: Revocation): Promise<void> {
    const set = this.setOf(tenantId)
    const name = revocationName(revocation)
    const known = set.get(name)
    const max = this.allowed()
    if (set.size >= max) set.removeExpired(this.#clock.epochMs())
    if (!known && name !== 'tenant' && set.size >= max) throw tooManyRevocations(set.size, max)
    set.put(mergeRevocations(known, revocation))
    this.listeners.get(tenantId)?.revoked([revocation])
  }

  async prolong(tenantId: string, revocation: Revocation): Promise<void> {
    const set = this.setOf(tenantId)
    const known = set.get(revocationName(revocation))
    if (known) set.put(mergeRevocations(known, revocation))
  }

  async remove(tenantId: string, name: string): Promise<boolean> {
    const set = this.setOf(tenantId)
    const before = set.size
    set.remove(name)
    return set.size < before
  }

  async list(tenantId: string, { after, limit }: { after: string; limit: number }): Promise<RevocationPage> {
    const set = this.setOf(tenantId)
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
}
