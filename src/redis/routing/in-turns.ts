// Orders work so that the tenants take turns: a tenant with a long backlog delays the others by one item
// each.
import { tenantPartOf } from '../keys.js'

/** Up to this many items are executed so soon that their order does not matter. */
const fewItems = 32

/**
 * Returns the items with the tenants in turn, each tenant's items in their order. `keyOf`: the key or topic
 * of the item's channel. O(n).
 */
export function inTurns<Item>(items: Item[], keyOf: (item: Item) => string): Item[] {
  if (items.length <= fewItems) return items
  const byTenant = new Map<string, Item[]>()
  for (const item of items) {
    const tenant = tenantPartOf(keyOf(item))
    const ofTenant = byTenant.get(tenant)
    if (ofTenant) ofTenant.push(item)
    else byTenant.set(tenant, [item])
  }
  if (byTenant.size === 1) return items
  const ordered: Item[] = []
  let waiting = [...byTenant.values()]
  for (let turn = 0; waiting.length > 0; turn += 1) {
    for (const ofTenant of waiting) {
      const item = ofTenant[turn]
      if (item !== undefined) ordered.push(item)
    }
    waiting = waiting.filter((ofTenant) => ofTenant.length > turn + 1)
  }
  return ordered
}
