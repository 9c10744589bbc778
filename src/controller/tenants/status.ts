// Builds a ChatTenant's status from the findings of a reconcile, and parses the status that the object has.
import { z } from 'zod'
import { durationText } from '../../resources/duration.js'
import { guestsMax, type Limits, type TenantPolicy } from '../../tenant/policy.js'
import { ChatTenantStatus, type Condition } from '../../resources/status.js'
import type { PublicUrl } from '../credentials/endpoints.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { SecretStatus } from './findings.js'
import type { WrittenUsage } from './usage.js'

const Reported = z.looseObject({ status: ChatTenantStatus })

/**
 * Returns the object's status, or an empty one when it is missing or malformed (for example, changed by
 * hand).
 */
export function tenantStatusOf(object: ApiObject): ChatTenantStatus {
  const parsed = Reported.safeParse(object)
  return parsed.success ? parsed.data.status : {}
}

export interface TenantStatusFacts {
  readonly conditions: Condition[]
  /** Undefined when this process has not accepted a policy: the values in the current status stay. */
  readonly policy: TenantPolicy | undefined
  readonly planName: string
  readonly gateways: { readonly gateways: number; readonly synced: number } | undefined
  readonly isProgrammed: boolean
  readonly usage: WrittenUsage | undefined
  readonly publicUrl: PublicUrl | undefined
  readonly secret: SecretStatus | undefined
  readonly nowMs: number
}

/** Returns the new status. Fields whose value is unknown keep their current value. */
export function tenantStatus(object: ApiObject, facts: TenantStatusFacts): ChatTenantStatus {
  const { conditions, planName, policy, publicUrl, secret, usage } = facts
  const before = tenantStatusOf(object)
  const { metadata } = object
  const revision = policy?.revision ?? before.revision
  const effective = policy ? effectiveOf(policy, planName) : before.effective
  const { dataplane: unchanged, ...rest }: ChatTenantStatus = {
    observedGeneration: metadata.generation ?? 0,
    conditions,
    tenantID: metadata.uid,
    ...(revision !== undefined && { revision }),
    ...(effective && { effective }),
    ...(usage && { usage }),
    ...secret,
    ...(publicUrl && { endpoints: publicUrl.endpointsOf(keyOf(metadata)) }),
    ...(before.dataplane && { dataplane: before.dataplane }),
  }
  // The gateway counts change often, so they are written only together with another change.
  const { dataplane: _, ...beforeRest } = before
  const changed = JSON.stringify(sorted(rest)) !== JSON.stringify(sorted(beforeRest))
  const dataplane = changed ? dataplaneOf(before, { ...facts, revision }) : unchanged
  return { ...rest, ...(dataplane && { dataplane }) }
}

function dataplaneOf(
  before: ChatTenantStatus,
  { gateways, isProgrammed, nowMs, revision }: TenantStatusFacts & { revision: string | undefined },
): ChatTenantStatus['dataplane'] {
  if (!gateways) return before.dataplane
  const wasProgrammed = before.conditions?.some(
    ({ status, type }) => type === 'Programmed' && status === 'True',
  )
  const isNew = isProgrammed && !(wasProgrammed && before.revision === revision)
  const last = isNew ? new Date(nowMs).toISOString() : before.dataplane?.lastProgrammedTime
  const { gateways: live, synced } = gateways
  return { gateways: live, synced, ...(last !== undefined && { lastProgrammedTime: last }) }
}

function effectiveOf({ channels, limits }: TenantPolicy, plan: string): ChatTenantStatus['effective'] {
  return { plan, limits: quotaOf(limits), channelRules: channels.length }
}

/** Returns the limits in the form that the spec uses. */
function quotaOf({ connections, retention, ...limits }: Limits) {
  const { historyTtlMs, ...rest } = retention
  return {
    ...limits,
    connections: { ...connections, guests: guestsMax(connections) },
    retention: { ...rest, historyTTL: durationText(historyTtlMs) },
  }
}

/** Sorts object fields, because the API server does not keep their order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, part]) => part !== undefined)
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, part]) => [name, sorted(part)])
}
