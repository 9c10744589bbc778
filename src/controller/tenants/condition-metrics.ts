// What all tenants' statuses say, for metrics: read from the cache when somebody asks, and kept nowhere.
import { z } from 'zod'
import type { TenantStanding } from '../../metrics-controller.js'
import type { ObjectCache } from '../../kube/ports.js'
import { keyOf } from '../../kube/object.js'

/** Of thousands at a time: no more of a status is parsed than is told. */
const Reported = z.object({
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })) }),
})

/** A tenant whose status is not written yet is among them: nothing holds of it. */
export function* tenantStandings(tenants: ObjectCache): Iterable<TenantStanding> {
  for (const object of tenants.list()) {
    const conditions = Reported.safeParse(object).data?.status.conditions ?? []
    const holds = new Set(conditions.flatMap(({ status, type }) => (status === 'True' ? type : [])))
    yield { tenant: keyOf(object.metadata), holds }
  }
}
