// Writes the status of the kinds whose only specific condition is Ready: ChatPlan and ChatCredential. It also
// records an Event for a failure that requires a user.
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
  /** The conditions of the current status. Empty when the status is missing or malformed. */
  readonly previous: readonly ReportedCondition[]
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
  async write(
    object: ApiObject,
    { facts, verdict, previous }: ReadyFindings,
    signal: AbortSignal,
  ): Promise<void> {
    const { api, cache, clock, events, kind } = this.#options
    const { generation = 0, name, namespace, uid } = object.metadata
    const conditions = conditionsOf(readyConditions(verdict), {
      previous,
      generation,
      epochMs: clock.epochMs(),
    })
    const status = { observedGeneration: generation, conditions, ...facts }
    signal.throwIfAborted()
    try {
      const desired = { metadata: { name, namespace, uid }, status }
      cache.recordWrite(await api.applyStatus(kind, desired, { known: object }))
    } catch (error) {
      // The object was deleted or recreated before the write. The watch reports that change.
      if (isApiError(error, 'NotFound', 'Conflict')) return
      throw error
    }
    if (verdict.ok || verdict.waitsFor === 'time') return
    const { message, reason } = verdict
    const ready = previous.find(({ type }) => type === 'Ready')
    if (ready?.message !== message)
      events.event(object, { type: 'Warning', reason, message, action: 'Accept' })
  }
}
