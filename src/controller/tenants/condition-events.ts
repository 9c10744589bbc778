// Derives Events from the condition changes of a ChatTenant: conditions show only the current state, and
// Events record the history.
import type { ObjectCondition } from '../../kube/conditions.js'
import type { EventFacts } from '../../kube/ports.js'

type ConditionState = Pick<ObjectCondition, 'type' | 'status' | 'reason' | 'message'>

const warnings = [
  { type: 'Accepted', status: 'False', action: 'Accept' },
  { type: 'Conflict', status: 'True', action: 'Reconcile' },
] as const

/** Returns one Warning for each unmet condition that is new or has a new message. */
export function conditionEvents(
  previous: readonly ConditionState[],
  current: readonly ConditionState[],
): EventFacts[] {
  return warnings.flatMap(({ action, status, type }) => {
    const [before, now] = [previous, current].map((conditions) =>
      conditions.find((condition) => condition.type === type && condition.status === status),
    )
    if (!now || now.message === before?.message) return []
    return { type: 'Warning' as const, reason: now.reason, message: now.message, action }
  })
}
