// The revocations that one gateway holds, whichever store keeps them.
import { CommandError } from '../errors.js'
import { revocationsMax, RevocationSet } from '../tenant/revocations.js'
import type { RevocationListener } from './store.js'

/** Above this number on one gateway, a tenant gets only its reserve: few tenants cannot fill a pod. */
const gatewayMax = 500_000
const tenantReserve = 1_000

/** The base of the stores: the sets of all tenants, and their listeners. */
export class HeldRevocations {
  protected readonly sets = new Map<string, RevocationSet>()
  protected readonly listeners = new Map<string, RevocationListener>()

  get size(): number {
    let size = 0
    for (const set of this.sets.values()) size += set.size
    return size
  }

  open(tenantId: string, listener: RevocationListener): RevocationSet {
    this.listeners.set(tenantId, listener)
    return this.setOf(tenantId)
  }

  close(tenantId: string): void {
    this.listeners.delete(tenantId)
  }

  protected setOf(tenantId: string): RevocationSet {
    const known = this.sets.get(tenantId)
    if (known) return known
    const created = new RevocationSet()
    this.sets.set(tenantId, created)
    return created
  }

  /** Returns how many revocations a tenant may have. */
  protected allowed(): number {
    return this.size >= gatewayMax ? tenantReserve : revocationsMax
  }
}

/** `max` is the number that was allowed, see `HeldRevocations.allowed`. */
export function tooManyRevocations(count: number, max: number): CommandError {
  const cause = max < revocationsMax ? ' while the gateways hold very many of all tenants' : ''
  return new CommandError(
    'QUOTA_EXCEEDED',
    `The tenant has ${count} revocations and may have ${max}${cause}: end some with "unrevoke", or revoke ` +
      'all tokens up to a time with "issued_before", which is always possible',
  )
}
