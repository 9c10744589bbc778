// Reconciles one ChatTenant: its Secret of keys, its policy, its record in the catalog, and its status. Each
// pass depends on the current state of the objects only.
import type { Clock } from '../../time.js'
import { tenantSecretName } from '../../compile/secret-names.js'
import { issueProblem } from '../../resources/issue.js'
import { ChatTenant } from '../../resources/chat-tenant.js'
import type { ChatTenantStatus } from '../../resources/status.js'
import { isApiError } from '../../kube/api-error.js'
import type { CatalogPublisher, RolloutState } from '../catalog/publisher.js'
import type { Cluster } from '../cluster.js'
import { abnormalConditionTypes, conditionsOf } from '../../kube/conditions.js'
import type { PublicUrl } from '../credentials/endpoints.js'
import type { DesiredKeys, GeneratedKeys } from '../credentials/key-rotation.js'
import { chatTenants, isBeingDeleted } from '../kinds.js'
import type { EventRecorder, ObjectApi, ReconcileOutcome } from '../../kube/ports.js'
import { conditionEvents } from './condition-events.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import { hostnamesOf } from '../references.js'
import type { RolloutLatency } from '../catalog/rollout-latency.js'
import type { RetentionPurger } from '../retention/purger.js'
import type { ManagedSecret, ManagedSecrets } from '../credentials/managed-secret.js'
import { problemsVerdict, tenantConditions, type Verdict } from './conditions.js'
import { desiredTenantKeys, type TenantPolicies } from './policy.js'
import { programmedVerdict } from './programmed.js'
import { tenantStatus, tenantStatusOf } from './status.js'
import { pressureOf, usageDueInMs, usageToWrite } from './usage.js'

export interface TenantReconcilerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  readonly catalog: CatalogPublisher
  readonly purger: RetentionPurger
  readonly secrets: ManagedSecrets
  readonly policies: TenantPolicies
  readonly publicUrl: PublicUrl | undefined
  readonly clock: Clock
  readonly events: EventRecorder
  readonly rolloutLatency: RolloutLatency
}

/** Most gateways report within this time. Waiting for them saves one write of status with `Pending`. */
const ackWaitMs = 1_000
/**
 * The interval at which a tenant with an unwatched Secret, or with a failure, is reconciled again. After a
 * failure the interval grows from `first` to `max`.
 */
const pollMs = { first: 1_000, max: 60_000, accepted: 300_000 } as const
/** Twelve hours: a Node.js timer cannot run longer than 24 days. */
const requeueMsMax = 43_200_000

export class TenantReconciler {
  readonly #options: TenantReconcilerOptions
  /** The revision that each tenant waits for the gateways to report, and the start of that wait. */
  readonly #awaited = new Map<string, { revision: string; sinceMs: number }>()

  constructor(options: TenantReconcilerOptions) {
    this.#options = options
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { catalog, cluster, rolloutLatency, purger } = this.#options
    const object = cluster.caches.tenants.get(key)
    if (!object || isBeingDeleted(object)) {
      this.#awaited.delete(key)
      rolloutLatency.forget(key)
      signal.throwIfAborted()
      await catalog.remove(key)
      purger.checkNow()
      return undefined
    }
    const parsed = ChatTenant.safeParse(object)
    if (!parsed.success) {
      const problems = parsed.error.issues.map((issue) => issueProblem(issue, object))
      await this.#enforceLastGood(object, { keys: undefined, signal })
      return this.#report(
        object,
        { accepted: problemsVerdict(problems), secret: undefined, polls: true },
        signal,
      )
    }
    return this.#reconcile(object, parsed.data, signal)
  }

  async #reconcile(object: ApiObject, tenant: ChatTenant, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { catalog, rolloutLatency, purger } = this.#options
    const key = keyOf(object.metadata)
    signal.throwIfAborted()
    // The retention record comes first: if the process ends now, no data is left without a record. It is also
    // written for a spec that is not accepted, because the deletion policy does not depend on the rest of the
    // spec.
    const policy = { tenant: key, ...tenant.spec }
    const redisUnavailable = catalog.unavailableReason !== undefined
    await purger.ensureRecord(object.metadata.uid, policy, { redisUnavailable })
    const { compiled, secret } = await this.#compile(object, tenant, signal)
    if ('problems' in compiled) {
      await this.#enforceLastGood(object, { keys: secret.generated, signal })
      // Without the Secret the keys are missing too, so the failure of the Secret is the cause.
      const accepted = secret.verdict.ok ? problemsVerdict(compiled.problems) : secret.verdict
      return this.#report(object, { accepted, secret, polls: true, tenant }, signal)
    }
    const { revision } = compiled.policy
    const known = catalog.policyOf(key)?.revision ?? lastProvenRevision(object)
    if (known !== revision) rolloutLatency.start(key, revision)
    signal.throwIfAborted()
    await catalog.put(compiled.policy, lastProvenRevision(object))
    return this.#report(object, { accepted, secret, polls: compiled.polls, tenant }, signal)
  }

  /** Publishes the last accepted policy, without the access that was revoked since. */
  async #enforceLastGood(
    object: ApiObject,
    { keys, signal }: { keys: GeneratedKeys | undefined; signal: AbortSignal },
  ): Promise<void> {
    const { catalog, clock, policies } = this.#options
    signal.throwIfAborted()
    const last = await catalog.keepLast({ key: keyOf(object.metadata), tenantId: object.metadata.uid })
    signal.throwIfAborted()
    if (last) await catalog.put(policies.lastGood(last, { object, keys, nowMs: clock.epochMs() }))
  }

  /**
   * Returns the milliseconds until the measured usage may be written to status, or undefined when status is
   * up to date.
   */
  usageDueInMs(key: string): number | undefined {
    const { catalog, clock, cluster } = this.#options
    const object = cluster.caches.tenants.get(key)
    if (!object) return undefined
    const facts = { limits: catalog.policyOf(key)?.limits, nowMs: clock.epochMs() }
    return usageDueInMs(tenantStatusOf(object).usage, catalog.usageOf(key), facts)
  }

  /**
   * Ensures the Secret and compiles the policy. Keys are rotated only when the spec compiles, because
   * gateways would not learn the new keys of a spec that is not accepted.
   */
  async #compile(object: ApiObject, tenant: ChatTenant, signal: AbortSignal) {
    const { catalog, clock, policies } = this.#options
    const enforced = catalog.policyOf(keyOf(object.metadata))
    const desired = desiredTenantKeys(tenant)
    const secret = await this.#ensureSecret(
      { object, tenant, keys: { algorithms: desired.algorithms } },
      signal,
    )
    const input = { object, tenant, enforced, nowMs: clock.epochMs() }
    const compiled = await policies.compile({ ...input, keys: secret.generated })
    if ('problems' in compiled || !mayRotate(desired)) return { compiled, secret }

    const after = await this.#ensureSecret({ object, tenant, keys: desired }, signal)
    if (!after.generated || after.generated.rotated.length === 0) return { compiled, secret: after }
    return { compiled: await policies.compile({ ...input, keys: after.generated }), secret: after }
  }

  #ensureSecret(
    { keys, object: owner, tenant }: { object: ApiObject; tenant: ChatTenant; keys: DesiredKeys },
    signal: AbortSignal,
  ): Promise<ManagedSecret> {
    const { publicUrl, secrets } = this.#options
    const { secretName, template } = tenant.spec.credentials
    const { name, namespace = '' } = owner.metadata
    const desired = {
      name: secretName ?? tenantSecretName(name),
      namespace,
      owner,
      tenant: keyOf(owner.metadata),
      publicUrl,
      labels: template?.labels,
      annotations: template?.annotations,
      keys,
    }
    return secrets.ensure(desired, signal)
  }

  /**
   * Applies the status; the API client sends nothing when it is unchanged. Records Events for new failures.
   */
  async #report(object: ApiObject, found: Findings, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { api, catalog, clock, cluster, events, rolloutLatency, publicUrl } = this.#options
    const { accepted: acceptedVerdict, secret } = found
    const key = keyOf(object.metadata)
    const nowMs = clock.epochMs()
    const previous = tenantStatusOf(object)
    const policy = catalog.policyOf(key)
    const rollout = catalog.rolloutOf(key)
    const revision = policy?.revision ?? previous.revision
    const programmed = programmedVerdict(rollout, {
      accepted: acceptedVerdict.ok,
      revision,
      suspended: policy?.suspended ?? false,
    })
    // A rejected revision is not being rolled out.
    if (!acceptedVerdict.ok) rolloutLatency.forget(key)
    else if (programmed.ok && revision !== undefined) rolloutLatency.finish(key, revision)
    if (acceptedVerdict.ok && this.#awaitsAcks(key, policy?.revision ?? '', rollout))
      return { requeueAfterMs: ackWaitMs }

    const measured = catalog.usageOf(key)
    const limits = policy?.limits
    const usage = usageToWrite(previous.usage, measured, { limits, nowMs })
    const underPressure = previous.conditions?.some(
      ({ status, type }) => type === 'QuotaPressure' && status === 'True',
    )
    const findings = tenantConditions({
      suspended: found.tenant?.spec.suspend ?? false,
      accepted: acceptedVerdict,
      credentials: secret?.verdict ?? unknownCredentials,
      programmed,
      conflict: this.#conflictOf(object, rollout),
      pressure: pressureOf(usage, limits, { underPressure: underPressure ?? false }),
    })
    const conditions = conditionsOf(findings, {
      previous: previous.conditions ?? [],
      generation: object.metadata.generation ?? 0,
      epochMs: nowMs,
      abnormalTypes: [...abnormalConditionTypes, 'Conflict'],
    })
    const status = tenantStatus(object, {
      conditions,
      policy,
      planName: (acceptedVerdict.ok ? found.tenant?.spec.planRef.name : previous.effective?.plan) ?? '',
      gateways: 'gateways' in rollout ? rollout : undefined,
      isProgrammed: programmed.ok,
      usage,
      publicUrl,
      secret: secretFacts(secret),
      nowMs,
    })
    signal.throwIfAborted()
    try {
      const { name, namespace, uid } = object.metadata
      const desired = { metadata: { name, namespace, uid }, status }
      const written = await api.applyStatus(chatTenants, desired, { known: object })
      cluster.caches.tenants.recordWrite(written)
      for (const facts of conditionEvents(previous.conditions ?? [], conditions)) events.event(object, facts)
    } catch (error) {
      // The object was deleted or recreated before the write. The watch reports that change.
      if (!isApiError(error, 'NotFound', 'Conflict')) throw error
    }
    return this.#nextRequeue(found, {
      previous,
      usageInMs: usageDueInMs(usage, measured, { limits, nowMs }),
      nowMs,
    })
  }

  /**
   * Returns true while the write of status should wait, because the gateways may report the revision soon.
   */
  #awaitsAcks(key: string, revision: string, rollout: RolloutState): boolean {
    if (rollout.kind !== 'pending') {
      this.#awaited.delete(key)
      return false
    }
    const nowMs = this.#options.clock.monotonicMs()
    const waiting = this.#awaited.get(key)
    if (waiting?.revision === revision) return nowMs - waiting.sinceMs < ackWaitMs
    this.#awaited.set(key, { revision, sinceMs: nowMs })
    return true
  }

  #conflictOf(object: ApiObject, rollout: RolloutState) {
    if (rollout.kind === 'foreign') {
      const message =
        `The catalog belongs to the cluster ${rollout.owner}, whose controller uses the same --installation. ` +
        'Give each cluster its own --installation.'
      return { reason: 'CatalogNotOurs' as const, message }
    }
    const { caches, tenantsByHostname } = this.#options.cluster
    for (const hostname of hostnamesOf(object)) {
      const others = [...tenantsByHostname.keysOf(hostname)].flatMap((key) => caches.tenants.get(key) ?? [])
      const [oldest] = [object, ...others].toSorted(byAge)
      if (oldest && oldest.metadata.uid !== object.metadata.uid) {
        const owner = keyOf(oldest.metadata)
        const message = `The hostname "${hostname}" belongs to the older tenant ${owner}. Remove it from one of the two.`
        return { reason: 'HostnameTaken' as const, message }
      }
    }
    return undefined
  }

  #nextRequeue(
    { accepted: { ok }, secret, polls }: Findings,
    {
      nowMs,
      usageInMs,
      previous,
    }: { nowMs: number; usageInMs: number | undefined; previous: ChatTenantStatus },
  ): ReconcileOutcome {
    const since = previous.conditions?.find(({ status, type }) => type === 'Ready' && status === 'False')
    const ageMs = since ? nowMs - Date.parse(since.lastTransitionTime) : 0
    const credentialsOk = secret?.verdict.ok ?? true
    const pollInMs =
      ok && credentialsOk ? pollMs.accepted : Math.min(Math.max(ageMs, pollMs.first), pollMs.max)
    const due = [
      ...(polls || !credentialsOk ? [pollInMs] : []),
      ...(secret?.generated?.nextAtMs === undefined ? [] : [Math.max(1, secret.generated.nextAtMs - nowMs)]),
      ...(usageInMs === undefined ? [] : [usageInMs]),
    ]
    return due.length === 0 ? undefined : { requeueAfterMs: Math.min(...due, requeueMsMax) }
  }
}

/** Returns true when keys may be rotated, by age or on request. */
function mayRotate({ request, rotation }: DesiredKeys): boolean {
  return rotation !== undefined || request !== undefined
}

/** The findings of one pass. */
interface Findings {
  readonly accepted: Verdict
  /** Undefined when the spec is malformed, because the name of the Secret is then unknown. */
  readonly secret: ManagedSecret | undefined
  readonly polls: boolean
  readonly tenant?: ChatTenant
}

const accepted: Verdict = { ok: true, reason: 'Accepted', message: 'The spec is accepted.' }
const unknownCredentials: Verdict = {
  ok: false,
  reason: 'InvalidResource',
  message: 'The spec is invalid. The generated keys stay unchanged until it is corrected.',
  waitsFor: 'action',
}

function byAge(a: ApiObject, b: ApiObject): number {
  const [first = '', second = ''] = [a.metadata.creationTimestamp, b.metadata.creationTimestamp]
  return first.localeCompare(second) || keyOf(a.metadata).localeCompare(keyOf(b.metadata))
}

/**
 * Returns the revision that a previous leader recorded as enforced by all gateways, according to the status,
 * or undefined.
 */
function lastProvenRevision(object: ApiObject): string | undefined {
  const { conditions, revision } = tenantStatusOf(object)
  return conditions?.some(({ status, type }) => type === 'Programmed' && status === 'True')
    ? revision
    : undefined
}

function secretFacts(managed: ManagedSecret | undefined) {
  if (!managed?.secret || !managed.generated) return undefined
  const { name, resourceVersion } = managed.secret.metadata
  return { name, resourceVersion, generated: managed.generated }
}
