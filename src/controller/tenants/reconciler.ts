// Reconciles one ChatTenant: its policy, its record in the catalog, and its Secret of keys. What the pass
// found is reported by `reporter.ts`. Each pass depends on the current state of the objects only.
import type { Clock } from '../../time.js'
import { tenantSecretName } from '../../compile/secret-names.js'
import { issueProblem } from '../../resources/issue.js'
import { ChatTenant } from '../../resources/chat-tenant.js'
import type { CatalogPublisher } from '../catalog/publisher.js'
import type { Cluster } from '../cluster.js'
import type { PublicUrl } from '../credentials/endpoints.js'
import type { DesiredKeys, GeneratedKeys } from '../credentials/key-rotation.js'
import { isBeingDeleted } from '../kinds.js'
import type { ReconcileOutcome } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import type { RolloutLatency } from '../catalog/rollout-latency.js'
import type { RetentionPurger } from '../retention/purger.js'
import type { DesiredSecret, ManagedSecret, ManagedSecrets } from '../credentials/managed-secret.js'
import { problemsVerdict, type Verdict } from './conditions.js'
import { identityOf, secretStatusOf, type TenantFindings } from './findings.js'
import { desiredTenantKeys, type CompiledTenant, type TenantPolicies } from './policy.js'
import { tenantStatusOf } from './status.js'

export interface TenantReconcilerOptions {
  readonly cluster: Cluster
  readonly catalog: CatalogPublisher
  readonly purger: RetentionPurger
  readonly secrets: ManagedSecrets
  readonly policies: TenantPolicies
  readonly publicUrl: PublicUrl | undefined
  readonly clock: Clock
  readonly rolloutLatency: RolloutLatency
  readonly reporter: {
    found(key: string, findings: TenantFindings): void
    forget(key: string): void
  }
  /** Called after another revision of a tenant was published. */
  readonly onPublished: (key: string) => void
}

/**
 * The interval at which a tenant with an unwatched Secret, or with a failure, is reconciled again. After a
 * failure the interval grows from `first` to `max`.
 */
const pollMs = { first: 1_000, max: 60_000, accepted: 300_000 } as const
/** Twelve hours: a Node.js timer cannot run longer than 24 days. */
const requeueMsMax = 43_200_000

export class TenantReconciler {
  readonly #options: TenantReconcilerOptions

  constructor(options: TenantReconcilerOptions) {
    this.#options = options
  }

  async reconcile(key: string, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { catalog, clock, cluster, reporter, purger } = this.#options
    const object = cluster.caches.tenants.get(key)
    if (!object || isBeingDeleted(object)) {
      reporter.forget(key)
      signal.throwIfAborted()
      await catalog.remove(key)
      purger.checkNow()
      return undefined
    }
    const parsed = ChatTenant.safeParse(object)
    if (parsed.success) return this.#reconcile(object, parsed.data, signal)
    await this.#enforceLastGood(object, { keys: undefined, signal })
    const problems = parsed.error.issues.map((issue) => issueProblem(issue, object))
    reporter.found(key, { ...identityOf(object), ...malformed, accepted: problemsVerdict(problems) })
    return nextPass(object, { ok: false, polls: true, nowMs: clock.epochMs(), dueAtMs: undefined })
  }

  async #reconcile(object: ApiObject, tenant: ChatTenant, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { catalog, clock, reporter, purger } = this.#options
    const key = keyOf(object.metadata)
    signal.throwIfAborted()
    // The retention record comes first: if the process ends now, no data is left without a record. It is also
    // written for a spec that is not accepted, because the deletion policy does not depend on the rest of the
    // spec.
    const policy = { tenant: key, ...tenant.spec }
    const redisUnavailable = catalog.unavailableReason !== undefined
    await purger.ensureRecord(object.metadata.uid, policy, { redisUnavailable })
    const { compiled, secret } = await this.#publishAndEnsure(object, tenant, signal)
    reporter.found(key, {
      ...identityOf(object),
      accepted: acceptedVerdict(compiled, secret),
      credentials: secret.verdict,
      planName: 'policy' in compiled ? tenant.spec.planRef.name : undefined,
      suspended: tenant.spec.suspend,
      secret: secretStatusOf(secret),
    })
    const ok = 'policy' in compiled && secret.verdict.ok
    return nextPass(object, {
      ok,
      polls: compiled.polls || !ok,
      nowMs: clock.epochMs(),
      dueAtMs: secret.generated?.nextAtMs,
    })
  }

  /**
   * Publishes the policy, and makes the Secret match. The policy comes first: only keys that do not exist yet
   * must be in the Secret before. Keys are rotated only when the spec compiles, because gateways would not
   * learn the new keys of a spec that is not accepted.
   */
  async #publishAndEnsure(object: ApiObject, tenant: ChatTenant, signal: AbortSignal) {
    const { secrets } = this.#options
    const desired = desiredTenantKeys(tenant)
    const { algorithms } = desired
    const unchanged = this.#desiredSecret(object, tenant, { algorithms })
    let keys = secrets.heldKeys(unchanged)
    let compiled = keys && (await this.#publish(object, { tenant, keys, signal }))
    const ensure = async (target: DesiredSecret) => {
      const secret = await secrets.ensure(target, signal)
      // Keys that are held already stay valid when the Secret cannot be written.
      if (compiled && (!secret.generated || isSameRecord(secret.generated, keys))) return { compiled, secret }
      keys = secret.generated
      compiled = await this.#publish(object, { tenant, keys, signal })
      return { compiled, secret }
    }
    const result = await ensure(unchanged)
    if ('problems' in result.compiled || !mayRotate(desired)) return result
    return ensure(this.#desiredSecret(object, tenant, desired))
  }

  /**
   * Compiles the policy with these generated keys and publishes it, or the last accepted policy when the spec
   * is not accepted.
   */
  async #publish(
    object: ApiObject,
    pass: { tenant: ChatTenant; keys: GeneratedKeys | undefined; signal: AbortSignal },
  ): Promise<CompiledTenant> {
    const { catalog, clock, onPublished, policies, rolloutLatency } = this.#options
    const { signal } = pass
    const key = keyOf(object.metadata)
    const enforced = catalog.policyOf(key)
    const compiled = await policies.compile({ object, ...pass, enforced, nowMs: clock.epochMs() })
    if ('problems' in compiled) {
      await this.#enforceLastGood(object, pass)
      return compiled
    }
    const { revision } = compiled.policy
    const lastProven = lastProvenRevision(object)
    if ((enforced?.revision ?? lastProven) !== revision) rolloutLatency.start(key, revision)
    signal.throwIfAborted()
    await catalog.put(compiled.policy, lastProven)
    if (enforced?.revision !== revision) onPublished(key)
    return compiled
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

  #desiredSecret(owner: ApiObject, tenant: ChatTenant, keys: DesiredKeys): DesiredSecret {
    const { publicUrl } = this.#options
    const { secretName, template } = tenant.spec.credentials
    const { name, namespace = '' } = owner.metadata
    return {
      name: secretName ?? tenantSecretName(name),
      namespace,
      owner,
      tenant: keyOf(owner.metadata),
      publicUrl,
      labels: template?.labels,
      annotations: template?.annotations,
      keys,
    }
  }
}

/** Returns true when keys may be rotated, by age or on request. */
function mayRotate({ request, rotation }: DesiredKeys): boolean {
  return rotation !== undefined || request !== undefined
}

/** Returns whether the same keys are valid according to both. */
function isSameRecord(a: GeneratedKeys, b: GeneratedKeys | undefined): boolean {
  return JSON.stringify(a.record.keys) === JSON.stringify(b?.record.keys)
}

function nextPass(
  object: ApiObject,
  pass: { ok: boolean; polls: boolean; nowMs: number; dueAtMs: number | undefined },
): ReconcileOutcome {
  const { dueAtMs = Infinity, nowMs, ok, polls } = pass
  const pollInMs = ok ? pollMs.accepted : failurePollMs(object, nowMs)
  const due = [...(polls ? [pollInMs] : []), Math.max(1, dueAtMs - nowMs)]
  const soonestMs = Math.min(...due)
  return soonestMs === Infinity ? undefined : { requeueAfterMs: Math.min(soonestMs, requeueMsMax) }
}

/** Returns the interval after a failure, which is as long as the failure has lasted. */
function failurePollMs(object: ApiObject, nowMs: number): number {
  const { conditions } = tenantStatusOf(object)
  const since = conditions?.find(({ status, type }) => type === 'Ready' && status === 'False')
  const ageMs = since ? nowMs - Date.parse(since.lastTransitionTime) : 0
  return Math.min(Math.max(ageMs, pollMs.first), pollMs.max)
}

function acceptedVerdict(compiled: CompiledTenant, secret: ManagedSecret): Verdict {
  if ('policy' in compiled) return accepted
  // Without the Secret the keys are missing too, so the failure of the Secret is the cause.
  return secret.verdict.ok ? problemsVerdict(compiled.problems) : secret.verdict
}

const accepted: Verdict = { ok: true, reason: 'Accepted', message: 'The spec is accepted.' }
/** What is reported about a malformed spec. Not even the name of its Secret is known. */
const malformed: Omit<TenantFindings, 'accepted' | 'generation' | 'uid'> = {
  credentials: {
    ok: false,
    reason: 'InvalidResource',
    message: 'The spec is invalid. The generated keys stay unchanged until it is corrected.',
    waitsFor: 'action',
  },
  planName: undefined,
  suspended: false,
  secret: undefined,
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
