// Reconciles one ChatPlan: reports whether it is valid, how many tenants use it, and the sum of their limits.
import { z } from 'zod'
import { issueProblem } from '../resources/issue.js'
import { ChatPlan } from '../resources/chat-plan.js'
import { ChatPlanStatus } from '../resources/status.js'
import type { Clock } from '../time.js'
import type { CatalogPublisher } from './catalog/publisher.js'
import type { Cluster } from './cluster.js'
import { chatPlans } from './kinds.js'
import type { EventRecorder, ObjectApi, ReconcileOutcome } from '../kube/ports.js'
import { ReadyReport } from './ready-report.js'
import { problemsVerdict, type Verdict } from './tenants/conditions.js'

export interface PlanReconcilerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  readonly catalog: CatalogPublisher
  readonly clock: Clock
  readonly events: EventRecorder
}

const Reported = z.looseObject({ status: ChatPlanStatus })

const usable: Verdict = { ok: true, reason: 'Accepted', message: 'The plan is valid. Tenants can use it.' }

export class PlanReconciler {
  readonly #options: PlanReconcilerOptions
  readonly #report: ReadyReport

  constructor(options: PlanReconcilerOptions) {
    this.#options = options
    this.#report = new ReadyReport({ ...options, kind: chatPlans, cache: options.cluster.caches.plans })
  }

  async reconcile(name: string, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { cluster } = this.#options
    const object = cluster.caches.plans.get(name)
    if (!object) return undefined
    const parsed = ChatPlan.safeParse(object)
    const verdict = parsed.success
      ? usable
      : problemsVerdict(parsed.error.issues.map((issue) => issueProblem(issue, object)))
    const findings = {
      verdict,
      previous: Reported.safeParse(object).data?.status.conditions ?? [],
      facts: this.#allocation(name, parsed.data),
    }
    await this.#report.write(object, findings, signal)
    return undefined
  }

  /**
   * Sums the limits of the plan's tenants. A tenant that was never accepted counts with the full limits of
   * the plan.
   */
  #allocation(name: string, plan: ChatPlan | undefined): Pick<ChatPlanStatus, 'tenants' | 'allocated'> {
    const { catalog, cluster } = this.#options
    const keys = cluster.tenantsByPlan.keysOf(name)
    const allocated = { connections: 0, publishPerSecond: 0, fanoutPerSecond: 0 }
    for (const key of keys) {
      const limits = catalog.policyOf(key)?.limits ?? plan?.spec.limits
      allocated.connections += limits?.connections.max ?? 0
      allocated.publishPerSecond += limits?.messages.publishPerSecond ?? 0
      allocated.fanoutPerSecond += limits?.messages.fanoutPerSecond ?? 0
    }
    return { tenants: keys.size, allocated }
  }
}
