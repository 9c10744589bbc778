// Pure functions from condition changes of a ChatTenant to Events: conditions show only the present, Events
// keep what happened.
import type { ObjectCondition } from '../../kube/conditions.js'
import type { EventFacts } from '../../kube/ports.js'

type ConditionState = Pick<ObjectCondition, 'type' | 'status' | 'reason' | 'message'>

const warnings = [
  { type: 'Accepted', status: 'False', action: 'Accept' },
  { type: 'Conflict', status: 'True', action: 'Reconcile' },
] as const

/** Returns one Warning for each unmet condition that is new or has a new message. */
export function conditionEvents(was: readonly ConditionState[], is: readonly ConditionState[]): EventFacts[] {
  return warnings.flatMap(({ action, status, type }) => {
    const [before, now] = [was, is].map((conditions) =>
      conditions.find((condition) => condition.type === type && condition.status === status),
    )
    if (!now || now.message === before?.message) return []
    return { type: 'Warning' as const, reason: now.reason, message: now.message, action }
  })
}
