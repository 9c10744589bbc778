// A queue that takes turns: first among the tenants that have items in it, then among the addresses of the
// tenant. One of them with thousands of items delays another one's first item by one turn only.

/** Who an item belongs to. */
export interface ArrivalSource {
  /** The key of the tenant; empty when there is none. */
  readonly tenant: string
  /** The client's address, as it is counted. */
  readonly address: string
}

export class ArrivalQueue<Item> {
  /** The order of a map is the order of the turns: who had a turn is inserted again at the end. */
  readonly #tenants = new Map<string, Map<string, Item[]>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Returns whether the tenant has items that wait. */
  has(tenant: string): boolean {
    return this.#tenants.has(tenant)
  }

  push({ address, tenant }: ArrivalSource, item: Item): void {
    let addresses = this.#tenants.get(tenant)
    if (!addresses) this.#tenants.set(tenant, (addresses = new Map<string, Item[]>()))
    const items = addresses.get(address)
    if (items) items.push(item)
    else addresses.set(address, [item])
    this.#size += 1
  }

  /** Removes and returns the item whose turn it is; undefined when no tenant with items may have one. */
  shift(mayHaveTurn: (tenant: string) => boolean): Item | undefined {
    for (const [tenant, addresses] of this.#tenants) {
      if (!mayHaveTurn(tenant)) continue
      for (const [address, items] of addresses) {
        const item = items.shift()
        addresses.delete(address)
        if (items.length > 0) addresses.set(address, items)
        this.#tenants.delete(tenant)
        if (addresses.size > 0) this.#tenants.set(tenant, addresses)
        this.#size -= 1
        return item
      }
    }
    return undefined
  }
}
