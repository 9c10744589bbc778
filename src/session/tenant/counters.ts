// Counts a tenant's usage of this gateway since the gateway loaded the tenant, for metrics, `/stats` and
// heartbeats.
import type { ErrorCode } from '../../errors.js'

export class TenantCounters {
  /** Subscriptions at this moment, those that are still catching up included. */
  subscriptionsTotal = 0
  publicationsTotal = 0
  /**
   * Publications by the channel rule that gave the channel its settings. Holds only rules of the policy in
   * force.
   */
  readonly publicationsByRule = new Map<string, number>()
  deliveriesTotal = 0
  /** Bytes of frames that were sent to clients. */
  bytesOutTotal = 0
  /** Requests of each rate, refused ones included. */
  joinsTotal = 0
  readsTotal = 0
  apiRequestsTotal = 0
  /** Refused requests and commands, by error code. */
  readonly refusals = new Map<string, number>()

  /** Requests above a limit, refused or only counted, by the limit's name in the policy. */
  readonly excesses = new Map<string, number>()

  countPublication(rule: string): void {
    this.publicationsTotal += 1
    this.publicationsByRule.set(rule, (this.publicationsByRule.get(rule) ?? 0) + 1)
  }

  countRefusal(code: ErrorCode): void {
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1)
  }

  countExcess(limit: string): void {
    this.excesses.set(limit, (this.excesses.get(limit) ?? 0) + 1)
  }

  /**
   * Forgets the publications of rules that are not in `rules`, so that the number of series stays bounded.
   */
  keepRules(rules: ReadonlySet<string>): void {
    for (const rule of this.publicationsByRule.keys())
      if (!rules.has(rule)) this.publicationsByRule.delete(rule)
  }
}
