// The conditions of all tenants for metrics, read from the cache at each scrape.
import { z } from 'zod'
import type { TenantConditionSample } from '../../metrics-controller.js'
import type { ObjectCache } from '../../kube/ports.js'
import { keyOf } from '../../kube/object.js'

/** Parses only the fields that metrics need, because a scrape reads thousands of tenants. */
const Reported = z.object({
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })) }),
})

/** Yields one sample per tenant. A tenant without a status has no true conditions. */
export function* conditionMetrics(tenants: ObjectCache): Iterable<TenantConditionSample> {
  for (const object of tenants.list()) {
    const conditions = Reported.safeParse(object).data?.status.conditions ?? []
    const trueTypes = new Set(conditions.flatMap(({ status, type }) => (status === 'True' ? type : [])))
    yield { tenant: keyOf(object.metadata), trueTypes }
  }
}
