// Decides whose sessions a gateway closes when it has more than its share: those of the tenants that are
// above their own share of it. Otherwise one tenant that opens hundreds of connections on one gateway would
// make the sessions of the others move. Pure: no clock and no I/O.
import { isAbove } from './rebalance-policy.js'

/** The connections of one tenant. */
export interface TenantLoad {
  /** On the gateway that decides. */
  readonly own: number
  /** The mean over the ready gateways. */
  readonly mean: number
}

/** A gateway with the connections that its latest heartbeat reports for each tenant. */
export interface GatewayLoad {
  readonly id: string
  readonly ready: boolean
  readonly usage: ReadonlyMap<string, { readonly connections: number }>
}

/** Returns the loads of the tenants that the gateway `id` has connections of, by `<namespace>/<name>`. */
export function tenantLoads(gateways: readonly GatewayLoad[], id: string): Map<string, TenantLoad> {
  const ready = gateways.filter((gateway) => gateway.ready)
  const own = ready.find((gateway) => gateway.id === id)?.usage ?? []
  return new Map(
    [...own].map(([tenant, { connections }]) => {
      const sum = ready.reduce((total, { usage }) => total + (usage.get(tenant)?.connections ?? 0), 0)
      return [tenant, { own: connections, mean: sum / ready.length }]
    }),
  )
}

export interface EvictionShares {
  /** How many sessions of each tenant are closed; only tenants with at least one. */
  readonly counts: ReadonlyMap<string, number>
  /** Whether sessions of small tenants are among them. */
  readonly ofRest: boolean
}

/** The shares of a round that closes no session. */
export const noEvictions: EvictionShares = { counts: new Map(), ofRest: false }

/**
 * Divides at most `count` evictions among the tenants. A tenant is judged by the rule for gateways: it must
 * have at least 100 connections on this gateway, and more above its mean than random placement explains. All
 * other tenants are small and are judged together, as if they were one. Evictions are taken from the tenant
 * with the largest excess until its excess equals the next one's, and so on; small tenants come last.
 * `before` is the result of the previous round: a tenant that was evicted in it is evicted until it is close
 * to its mean.
 */
export function divideEvictions(
  loads: ReadonlyMap<string, TenantLoad>,
  count: number,
  before: EvictionShares,
): EvictionShares {
  const large = new Map<string, number>()
  const small = new Map<string, number>()
  const rest = { own: 0, mean: 0 }
  for (const [tenant, load] of loads) {
    const excess = Math.floor(load.own - load.mean)
    if (isAbove(load, before.counts.has(tenant))) large.set(tenant, excess)
    else {
      rest.own += load.own
      rest.mean += load.mean
      if (excess > 0) small.set(tenant, excess)
    }
  }
  const counts = takeFromLargest(large, count)
  if (!isAbove(rest, before.ofRest)) return { counts, ofRest: false }
  const left = count - sumOf(counts)
  const ofSmall = takeFromLargest(small, Math.min(left, Math.floor(rest.own - rest.mean)))
  return { counts: new Map([...counts, ...ofSmall]), ofRest: true }
}

/** Takes `count` from the values, so that the largest that are left are as small as possible. */
function takeFromLargest(values: ReadonlyMap<string, number>, count: number): Map<string, number> {
  const sorted = [...values].toSorted(([, a], [, b]) => b - a)
  const desired = Math.min(count, sumOf(values))
  // The first `cut` values are lowered to the same level.
  let cut = 0
  let above = 0
  for (; cut < sorted.length; cut += 1) {
    const [, value = 0] = sorted[cut] ?? []
    if (above - cut * value >= desired) break
    above += value
  }
  const level = cut === 0 ? 0 : Math.ceil((above - desired) / cut)
  const taken = new Map<string, number>()
  let left = desired
  for (const [tenant, value] of sorted.slice(0, cut)) {
    const some = Math.min(left, value - level)
    left -= some
    if (some > 0) taken.set(tenant, some)
  }
  // `level` is rounded up, so a few evictions are left: the first tenants get one more each.
  for (const [tenant, value] of sorted) {
    if (left === 0) break
    const some = taken.get(tenant) ?? 0
    if (some === value) continue
    taken.set(tenant, some + 1)
    left -= 1
  }
  return taken
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((sum, value) => sum + value, 0)
}
