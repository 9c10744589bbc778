// What an author would miss in a ChatTenant's conditions, which tell of the moment alone: pure.
import type { Condition } from '../../kube/conditions.js'
import type { EventFacts } from '../../kube/ports.js'

type Told = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>

const troubles = [
  { type: 'Accepted', status: 'False', action: 'Accept' },
  { type: 'Conflict', status: 'True', action: 'Reconcile' },
] as const

/** One Event for each trouble that was not there before, or was another. */
export function newTroubles(was: readonly Told[], is: readonly Told[]): EventFacts[] {
  return troubles.flatMap(({ action, status, type }) => {
    const [before, now] = [was, is].map((conditions) =>
      conditions.find((condition) => condition.type === type && condition.status === status),
    )
    if (!now || now.message === before?.message) return []
    return { type: 'Warning' as const, reason: now.reason, message: now.message, action }
  })
}
