// Evens out the sessions of the gateways. Sessions last for hours, so after a scale-up the old gateways stay
// full and the new ones empty. A gateway with more than its share closes some sessions, and their clients
// reconnect through the balancer.
import { pause } from '../../deadline.js'
import { closeCodes, withDetail } from '../../protocol/codes.js'
import type { OpenSession } from '../../session/context.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import type { Gateway } from '../gateway.js'
import { closeGradually } from './close-gradually.js'
import {
  decideRebalance,
  initialRebalanceState,
  recordRound,
  resetObservations,
  type FleetMember,
  type RebalanceState,
} from './rebalance-policy.js'
import {
  divideEvictions,
  noEvictions,
  tenantLoads,
  type EvictionShares,
  type GatewayLoad,
} from './rebalance-tenants.js'

export interface RebalancerOptions {
  /** The id of this gateway. */
  readonly id: string
  /** All live gateways, this one included, in a fixed order. Undefined while Redis does not answer. */
  readonly fleet: () => Promise<readonly FleetMember[] | undefined>
  /**
   * All live gateways with the connections of each tenant, this one included. Undefined while Redis does not
   * answer.
   */
  readonly loads: () => Promise<readonly GatewayLoad[] | undefined>
  /** The time over which the sessions of one round are closed. */
  readonly windowMs: number
}

const code = withDetail(closeCodes.shutdown, 'another gateway has more room')

export class Rebalancer {
  readonly #gateway: Gateway
  readonly #options: RebalancerOptions
  #state: RebalanceState = initialRebalanceState
  #shares: EvictionShares = noEvictions

  constructor(gateway: Gateway, options: RebalancerOptions) {
    this.#gateway = gateway
    this.#options = options
  }

  /** Checks the balance twice per window until `signal` aborts. Does nothing while the gateway drains. */
  async run(signal: AbortSignal): Promise<void> {
    const sleep = (ms: number): Promise<void> => pause(ms, signal)
    const isStopped = (): boolean => signal.aborted || this.#gateway.draining
    while (!signal.aborted) {
      await sleep(this.#options.windowMs / 2)
      if (!isStopped()) await this.#rebalance({ sleep, isStopped })
    }
  }

  async #rebalance(pace: {
    sleep: (ms: number) => Promise<unknown>
    isStopped: () => boolean
  }): Promise<void> {
    const { fleet, id, loads, windowMs } = this.#options
    const { context, log, metrics } = this.#gateway
    const { clock, sessions } = context
    const members = await fleet()
    if (!members) return void (this.#state = resetObservations(this.#state))
    const decision = decideRebalance(this.#state, { id, members, nowMs: clock.monotonicMs(), windowMs })
    this.#state = decision.state
    if (decision.kind === 'giveUp') {
      log.warn(
        {},
        'rebalancing has no effect: clients return to the gateway that closed them. ' +
          'Check the balancer for session affinity. Rebalancing pauses for an hour',
      )
    }
    if (this.#state.phase.kind !== 'evicting') this.#shares = noEvictions
    if (decision.kind !== 'evict') return
    const { belowMeanShare, count, mean } = decision
    // Usage by tenant is long, so it is read only for an eviction.
    const gateways = await loads()
    if (!gateways || pace.isStopped()) return
    this.#shares = divideEvictions(tenantLoads(gateways, id), count, this.#shares)
    const selected = longestConnected(sessions, { counts: this.#shares.counts, windowMs })
    // Empty when no tenant is above its share, or the connect rates of the tenants allow no reconnect within
    // the window.
    if (selected.length === 0) return
    const fields = { sessions: selected.length, connections: sessions.size, mean: Math.round(mean) }
    log.info(fields, 'rebalancing: closing sessions so that their clients reconnect to gateways with fewer')
    const closed = await closeGradually(selected, { ...pace, code, windowMs })
    metrics.rebalancedSessions.inc(closed)
    this.#state = recordRound(this.#state, { closed, belowMeanShare, endedMs: clock.monotonicMs() })
  }
}

/**
 * The share of a tenant's connect rate that rebalancing may use. The rest is for clients that connect for
 * other reasons.
 */
const connectsShare = 0.5

/**
 * Returns at most `counts` sessions of each tenant, longest connected first. A client that reconnects is the
 * youngest on its new gateway, so it is not closed again before all others there were closed once. Of each
 * tenant, it returns no more sessions than the tenant may connect within the window.
 */
function longestConnected(
  sessions: Iterable<OpenSession>,
  { counts, windowMs }: { counts: ReadonlyMap<string, number>; windowMs: number },
): OpenSession[] {
  const selected: OpenSession[] = []
  const selectedOfTenant = new Map<TenantRuntime, number>()
  for (const session of sessions) {
    const { tenant } = session
    const ofTenant = selectedOfTenant.get(tenant) ?? 0
    const { connectsPerSecond } = tenant.policy.limits.connections
    const reconnects = (connectsPerSecond * connectsShare * windowMs) / 1000
    if (!session.connected || ofTenant + 1 > Math.min(counts.get(tenant.key) ?? 0, reconnects)) continue
    selectedOfTenant.set(tenant, ofTenant + 1)
    selected.push(session)
  }
  return selected
}
