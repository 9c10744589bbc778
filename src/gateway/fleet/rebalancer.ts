// After the fleet has grown the old gateways are full and the new ones empty, for hours, since sessions last. One that has more than its share
// sends some away, who come back through the balancer.
import { setTimeout as delay } from 'node:timers/promises'
import { closeCodes, withDetail } from '../../protocol/codes.js'
import type { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { recordRound, decideRebalance, resetObservations, initialRebalanceState, type FleetMember, type RebalanceState } from './rebalance-policy.js'
import type { Gateway } from '../gateway.js'
import { closeGradually } from './close-gradually.js'

export interface RebalancerOptions {
  /** Of this gateway. */
  readonly id: string
  /** All that live, this one among them, in a fixed order. Undefined: nobody can tell just now. */
  readonly fleet: () => Promise<readonly FleetMember[] | undefined>
  /** Over how long the sessions of one round are sent away. */
  readonly windowMs: number
}

const code = withDetail(closeCodes.shutdown, 'another gateway has more room')

export class Rebalancer {
  readonly #gateway: Gateway
  readonly #options: RebalancerOptions
  #state: RebalanceState = initialRebalanceState

  constructor(gateway: Gateway, options: RebalancerOptions) {
    this.#gateway = gateway
    this.#options = options
  }

  /** Looks and sheds until `signal` ends it. While the gateway drains it does nothing. */
  async run(signal: AbortSignal): Promise<void> {
    const sleep = (ms: number): Promise<unknown> => delay(ms, undefined, { signal }).catch(() => {})
    const over = (): boolean => signal.aborted || this.#gateway.draining
    while (!signal.aborted) {
      await sleep(this.#options.windowMs / 2)
      if (!over()) await this.#rebalance({ sleep, over })
    }
  }

  async #rebalance(pace: { sleep: (ms: number) => Promise<unknown>; over: () => boolean }): Promise<void> {
    const { fleet, id, windowMs } = this.#options
    const { context, log, metrics } = this.#gateway
    const { clock, sessions } = context
    const members = await fleet()
    if (!members) return void (this.#state = resetObservations(this.#state))
    const decision = decideRebalance(this.#state, { id, members, nowMs: clock.monotonicMs(), windowMs })
    this.#state = decision.memory
    if (decision.kind === 'giveUp') {
      log.warn(
        {},
        'sessions that were sent to gateways with more room are back: does a balancer keep clients where they were? Nothing of the kind is tried for an hour',
      )
    }
    if (decision.kind !== 'shed') return
    const { count, mean, takers } = decision
    const order = longestConnected(sessions, { count, windowMs })
    // All are of tenants that let nobody connect.
    if (order.length === 0) return
    const facts = { sessions: order.length, connections: sessions.size, mean: Math.round(mean) }
    log.info(facts, 'sending sessions to gateways with more room')
    const sent = await closeGradually(order, { ...pace, code, windowMs })
    metrics.rebalancedSessions.inc(sent)
    this.#state = recordRound(this.#state, { sent, takers, endedMs: clock.monotonicMs() })
  }
}

/** Of the connects that a tenant may make in the window: the rest is for people who come of their own accord. */
const connectsShare = 0.5

/**
 * Those that are here longest. Who was sent away is the youngest wherever it lands, so that nobody goes twice before all others on that
 * gateway went once. Of each tenant no more than it may connect again in that time.
 */
function longestConnected(
  sessions: Iterable<Session>,
  { count, windowMs }: { count: number; windowMs: number },
): Session[] {
  const order: Session[] = []
  const taken = new Map<TenantRuntime, number>()
  for (const session of sessions) {
    if (order.length >= count) break
    const { tenant } = session
    const ofTenant = taken.get(tenant) ?? 0
    const { connectsPerSecond } = tenant.policy.limits.connections
    if (!session.connected || ofTenant + 1 > (connectsPerSecond * connectsShare * windowMs) / 1000) continue
    taken.set(tenant, ofTenant + 1)
    order.push(session)
  }
  return order
}
