// A ChatTenant's status, from what was found out; and the status that it has, as far as it can be read.
import { z } from 'zod'
import { durationText } from '../../resources/duration.js'
import type { Limits, TenantPolicy } from '../../tenant/policy.js'
import { ChatTenantStatus, type Condition } from '../../resources/status.js'
import type { PublicUrl } from '../credentials/endpoints.js'
import type { KeyPlan } from '../credentials/key-rotation.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { WrittenUsage } from './usage.js'

const Reported = z.looseObject({ status: ChatTenantStatus })

/** Empty when there is none, or it makes no sense (somebody may have tampered with it). */
export function tenantStatusOf(object: ApiObject): ChatTenantStatus {
  const parsed = Reported.safeParse(object)
  return parsed.success ? parsed.data.status : {}
}

export interface TenantStatusFacts {
  readonly conditions: Condition[]
  /** Undefined: none was accepted by this process, and what stands there stays. */
  readonly policy: TenantPolicy | undefined
  readonly planName: string
  readonly gateways: { readonly gateways: number; readonly synced: number } | undefined
  readonly isProgrammed: boolean
  readonly usage: WrittenUsage | undefined
  readonly publicUrl: PublicUrl | undefined
  /** Of the Secret of generated keys; undefined: there is none. */
  readonly secret:
    | { readonly name: string; readonly resourceVersion: string; readonly plan: KeyPlan }
    | undefined
  readonly nowMs: number
}

export function tenantStatus(object: ApiObject, facts: TenantStatusFacts): ChatTenantStatus {
  const { conditions, planName, policy, publicUrl, secret, usage } = facts
  const before = tenantStatusOf(object)
  const { metadata } = object
  const revision = policy?.revision ?? before.revision
  const effective = policy ? effectiveOf(policy, planName) : before.effective
  const { dataplane: told, ...rest }: ChatTenantStatus = {
    observedGeneration: metadata.generation ?? 0,
    conditions,
    tenantID: metadata.uid,
    ...(revision !== undefined && { revision }),
    ...(effective && { effective }),
    ...(usage && { usage }),
    ...(secret && { binding: { name: secret.name }, credentials: credentialsOf(secret) }),
    ...(publicUrl && { endpoints: publicUrl.endpointsOf(keyOf(metadata)) }),
    ...(before.dataplane && { dataplane: before.dataplane }),
  }
  // How many gateways there are changes all the time: it is told when something else is.
  const { dataplane: _, ...beforeRest } = before
  const moved = JSON.stringify(sorted(rest)) !== JSON.stringify(sorted(beforeRest))
  const dataplane = moved ? dataplaneOf(before, { ...facts, revision }) : told
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

/** In the words of the spec. */
function quotaOf({ retention, ...limits }: Limits) {
  const { historyMessages, historyTtlMs, presence } = retention
  return { ...limits, retention: { historyMessages, historyTTL: durationText(historyTtlMs), presence } }
}

function credentialsOf(secret: NonNullable<TenantStatusFacts['secret']>): ChatTenantStatus['credentials'] {
  const { keys, nextRotationMs } = secret.plan
  const newestFirst = keys.toSorted((a, b) => b.createdAtMs - a.createdAtMs)
  return {
    activeKeyIDs: [
      ...newestFirst.map(({ id }) => id),
      ...newestFirst.flatMap(({ previous }) => previous?.id ?? []),
    ],
    ...(nextRotationMs !== undefined && { nextRotation: new Date(nextRotationMs).toISOString() }),
    secretResourceVersion: secret.resourceVersion,
  }
}

/** The server keeps no order of fields. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, part]) => part !== undefined)
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, part]) => [name, sorted(part)])
}
