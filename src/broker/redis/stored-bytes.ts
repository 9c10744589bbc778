// What the histories of tenants occupy, as this gateway knows it: each of its writes reports the sum of the
// tenant in one partition, and the sums of other partitions are read again before the tenant could reach its
// quota.
import type { StorageQuota } from '../storage.js'

/** The shortest and the longest time between two readings of a tenant's sums, in milliseconds. */
const readAgainMs = { min: 1_000, max: 60_000 }

interface TenantBytes {
  readonly byPartition: Map<number, number>
  sum: number
}

export class StoredBytes {
  readonly #tenants = new Map<string, TenantBytes>()

  /** Records the sum of a tenant in one partition. */
  set(tenantId: string, partition: number, bytes: number): void {
    let tenant = this.#tenants.get(tenantId)
    if (!tenant) this.#tenants.set(tenantId, (tenant = { byPartition: new Map(), sum: 0 }))
    const before = tenant.byPartition.get(partition) ?? 0
    if (bytes === before) return
    tenant.sum += bytes - before
    if (bytes === 0) tenant.byPartition.delete(partition)
    else tenant.byPartition.set(partition, bytes)
  }

  /** Returns the sum over all partitions. Undefined: nothing is known of the tenant. */
  of(tenantId: string): number | undefined {
    const sum = this.#tenants.get(tenantId)?.sum
    // The estimate for an entry may be less than what its removal frees, until the next measurement.
    return sum === undefined ? undefined : Math.max(0, sum)
  }

  /**
   * Returns how long the known sum of a tenant may be used, in milliseconds: half the time in which the
   * tenant could reach its quota.
   */
  usableMs({ publishBytesPerSecond, storedBytesMax, tenantId }: StorageQuota): number {
    const leftBytes = storedBytesMax - (this.of(tenantId) ?? 0)
    const halfMs = (500 * leftBytes) / Math.max(1, publishBytesPerSecond)
    return Math.min(readAgainMs.max, Math.max(readAgainMs.min, halfMs))
  }

  /** Forgets all other tenants. */
  keepOnly(tenants: { has(tenantId: string): boolean }): void {
    for (const tenantId of this.#tenants.keys()) if (!tenants.has(tenantId)) this.#tenants.delete(tenantId)
  }
}
