// A ceiling for the memory that clients can make a gateway hold: frames that they do not read, messages that
// wait for their turn, and publishes that Redis has not acknowledged. Above it, the tenant that holds most
// loses its largest connections first.
import type { LimitedLog } from '../../log.js'

/** The memory that one tenant holds on this gateway. Only the `MemoryCeiling` writes it. */
export class TenantMemory {
  bytes = 0
}

/** A connection that holds memory. */
export interface MemoryHolder {
  /** Bytes that are freed when the connection is cut. Bytes that it shares with others count too. */
  readonly heldBytes: number
  /** Closes the connection, so that its memory is free within a second. The client can resume. */
  cutForMemory(): void
}

export interface MemoryCeilingOptions {
  /** The bytes that all tenants together may hold. */
  readonly bytesMax: number
  /** Returns the name of the tenant for the log, and its connections. */
  readonly holdersOf: (memory: TenantMemory) => { tenant: string; holders: Iterable<MemoryHolder> }
  readonly log: Pick<LimitedLog, 'warn'>
  /** Called with the number of connections that were cut. */
  readonly onCut: (connections: number) => void
  /** Calls the function when the current work is done. Default: `setImmediate`. */
  readonly defer?: (run: () => void) => void
}

/** Connections are cut until the held bytes are below this part of the ceiling. */
const lowWater = 0.8

export class MemoryCeiling {
  readonly bytesMax: number
  readonly #options: MemoryCeilingOptions
  /** The tenants that hold memory. */
  readonly #tenants = new Set<TenantMemory>()
  #bytes = 0
  #scheduled = false

  constructor(options: MemoryCeilingOptions) {
    this.#options = options
    this.bytesMax = options.bytesMax
  }

  /** The bytes that all tenants hold. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Adds bytes that the tenant holds; a negative number subtracts bytes that were added. Cuts connections at
   * the end of this turn when the ceiling is exceeded.
   */
  add(memory: TenantMemory, bytes: number): void {
    if (bytes === 0) return
    if (memory.bytes === 0) this.#tenants.add(memory)
    memory.bytes += bytes
    this.#bytes += bytes
    if (memory.bytes === 0) this.#tenants.delete(memory)
    if (bytes > 0 && this.#bytes > this.bytesMax) this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    const { defer = setImmediate } = this.#options
    defer(() => {
      this.#scheduled = false
      if (this.#bytes > this.bytesMax) this.#relieve()
    })
  }

  /** Cuts connections of the largest tenant until another is the largest or enough memory is free. */
  #relieve(): void {
    const target = this.bytesMax * lowWater
    while (this.#bytes > target) {
      const [largest, second] = largestOf(this.#tenants)
      if (!largest) return
      const { holders, tenant } = this.#options.holdersOf(largest)
      const heldBefore = largest.bytes
      let cut = 0
      for (const holder of [...holders].toSorted((a, b) => b.heldBytes - a.heldBytes)) {
        if (this.#bytes <= target || largest.bytes < (second?.bytes ?? 0) || holder.heldBytes === 0) break
        holder.cutForMemory()
        cut += 1
      }
      this.#options.onCut(cut)
      this.#options.log.warn(
        `memory ${tenant}`,
        { tenant, connections: cut, tenantBytes: heldBefore, bytesMax: this.bytesMax },
        'closed the connections that held most of the memory: the clients of this gateway hold more than its memory limit allows',
      )
      // What is left belongs to no connection and is freed when its work ends. No other tenant pays for it.
      if (largest.bytes === heldBefore) return
    }
  }
}

/** Returns the two tenants that hold most. */
function largestOf(tenants: Iterable<TenantMemory>): [TenantMemory | undefined, TenantMemory | undefined] {
  let largest: TenantMemory | undefined
  let second: TenantMemory | undefined
  for (const tenant of tenants) {
    if (!largest || tenant.bytes > largest.bytes) [largest, second] = [tenant, largest]
    else if (!second || tenant.bytes > second.bytes) second = tenant
  }
  return [largest, second]
}
