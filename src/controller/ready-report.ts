// Writes the status of the kinds whose only own condition is Ready: ChatPlan and ChatCredential. It also
// records an Event when a user has to act.
import type { Condition as ReportedCondition } from '../resources/status.js'
import type { Clock } from '../time.js'
import { isApiError } from '../kube/api-error.js'
import { conditionsOf } from '../kube/conditions.js'
import type { EventRecorder, ObjectApi, ObjectCache } from '../kube/ports.js'
import type { ApiObject, ResourceKind } from '../kube/object.js'
import { readyConditions, type Verdict } from './tenants/conditions.js'

export interface ReadyReportOptions {
  readonly kind: ResourceKind
  readonly api: ObjectApi
  readonly cache: ObjectCache
  readonly clock: Clock
  readonly events: EventRecorder
}

export interface ReadyFindings {
  readonly verdict: Verdict
  /** The conditions of the present status. Empty when there is no status, or it is malformed. */
  readonly was: readonly ReportedCondition[]
  /** The other fields of the new status. */
  readonly facts: object
}

export class ReadyReport {
  readonly #options: ReadyReportOptions

  constructor(options: ReadyReportOptions) {
    this.#options = options
  }

  /**
   * Applies the status; the API client sends nothing when it is unchanged. Rejects when `signal` has aborted
   * before the write.
   */
  async write(object: ApiObject, { facts, verdict, was }: ReadyFindings, signal: AbortSignal): Promise<void> {
    const { api, cache, clock, events, kind } = this.#options
    const { generation = 0, name, namespace, uid } = object.metadata
    const conditions = conditionsOf(readyConditions(verdict), { was, generation, epochMs: clock.epochMs() })
    const status = { observedGeneration: generation, conditions, ...facts }
    signal.throwIfAborted()
    try {
      const desired = { metadata: { name, namespace, uid }, status }
      cache.recordWrite(await api.applyStatus(kind, desired, { known: object }))
    } catch (error) {
      // The object was deleted or recreated meanwhile. The watch reports that.
      if (isApiError(error, 'NotFound', 'Conflict')) return
      throw error
    }
    if (verdict.ok || verdict.waitsFor === 'time') return
    const { message, reason } = verdict
    const ready = was.find(({ type }) => type === 'Ready')
    if (ready?.message !== message)
      events.event(object, { type: 'Warning', reason, message, action: 'Accept' })
  }
}
