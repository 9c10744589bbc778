// One ChatTenant: keys, policy, catalog, status. Each pass starts from nothing but what is there.
import type { Clock } from '../../time.js'
import { issueProblem } from '../../resources/issue.js'
import { ChatTenant } from '../../resources/chat-tenant.js'
import { isApiError } from '../../kube/api-error.js'
import type { CatalogKeeper, Standing } from '../catalog/publisher.js'
import type { Cluster } from '../cluster.js'
import { conditionsOf } from '../../kube/conditions.js'
import type { PublicUrl } from '../credentials/endpoints.js'
import type { KeyPlan, KeyWish } from '../credentials/key-rotation.js'
import { chatTenants, isBeingDeleted } from '../kinds.js'
import type { EventRecorder, ObjectApi, Outcome } from '../../kube/ports.js'
import { newTroubles } from './condition-events.js'
import { keyOf, type ApiObject } from '../../kube/object.js'
import { hostnamesOf, tenantSecretName } from '../references.js'
import type { Programming } from '../catalog/rollout-latency.js'
import type { RemainsKeeper } from '../retention/purger.js'
import type { KeptSecret, SecretKeeper } from '../credentials/managed-secret.js'
import { refusedBy, tenantConditions, type Verdict } from './conditions.js'
import { generatedKeys, type TenantPolicies } from './policy.js'
import { programmedBy } from './programmed.js'
import { tenantStatus, tenantStatusOf } from './status.js'
import { pressureOf, usageDueInMs, usageToWrite } from './usage.js'

export interface TenantReconcilerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  readonly catalog: CatalogKeeper
  readonly remains: RemainsKeeper
  readonly secrets: SecretKeeper
  readonly policies: TenantPolicies
  readonly publicUrl: PublicUrl | undefined
  readonly clock: Clock
  readonly events: EventRecorder
  readonly programming: Programming
}

/** Gateways answer within this, mostly: status is written once, with the result. */
const patienceMs = 1_000
/** For Secrets that nobody tells of. */
const pollMs = { first: 1_000, max: 60_000, accepted: 300_000 } as const
/** A timer of Node's cannot be set for longer than 24 days. */
const requeueMsMax = 43_200_000

export class TenantReconciler {
  readonly #options: TenantReconcilerOptions
  /** Since when a revision waits for its gateways, by tenant. */
  readonly #waiting = new Map<string, { revision: string; sinceMs: number }>()

  constructor(options: TenantReconcilerOptions) {
    this.#options = options
  }

  async reconcile(key: string, signal: AbortSignal): Promise<Outcome> {
    const { catalog, cluster, programming, remains } = this.#options
    const object = cluster.caches.tenants.get(key)
    if (!object || isBeingDeleted(object)) {
      this.#waiting.delete(key)
      programming.forget(key)
      signal.throwIfAborted()
      await catalog.remove(key)
      remains.look()
      return undefined
    }
    const parsed = ChatTenant.safeParse(object)
    if (!parsed.success) {
      const problems = parsed.error.issues.map((issue) => issueProblem(issue, object))
      await this.#goOn(object, { keys: undefined, signal })
      return this.#report(object, { accepted: refusedBy(problems), kept: undefined, polls: true }, signal)
    }
    return this.#reconcile(object, parsed.data, signal)
  }

  async #reconcile(object: ApiObject, tenant: ChatTenant, signal: AbortSignal): Promise<Outcome> {
    const { catalog, programming, remains } = this.#options
    const key = keyOf(object.metadata)
    signal.throwIfAborted()
    // First: whoever dies in between leaves nothing that nobody knows of. Also of a spec that is not accepted: this is its author's word.
    const will = { tenant: key, ...tenant.spec }
    await remains.expect(object.metadata.uid, will, { isAway: catalog.trouble !== undefined })
    const { compiled, kept } = await this.#compile(object, tenant, signal)
    if ('problems' in compiled) {
      await this.#goOn(object, { keys: kept.plan, signal })
      // Without its Secret the keys are missing too: what stands in the way of the Secret is the cause.
      const accepted = kept.verdict.ok ? refusedBy(compiled.problems) : kept.verdict
      return this.#report(object, { accepted, kept, polls: true, tenant }, signal)
    }
    const { revision } = compiled.policy
    const known = catalog.policyOf(key)?.revision ?? believed(object)
    if (known !== revision) programming.begun(key, revision)
    signal.throwIfAborted()
    await catalog.put(compiled.policy, believed(object))
    return this.#report(object, { accepted, kept, polls: compiled.polls, tenant }, signal)
  }

  /** Gateways keep what was accepted last, but for what was taken back since. */
  async #goOn(
    object: ApiObject,
    { keys, signal }: { keys: KeyPlan | undefined; signal: AbortSignal },
  ): Promise<void> {
    const { catalog, clock, policies } = this.#options
    signal.throwIfAborted()
    const last = await catalog.keep({ key: keyOf(object.metadata), tenantId: object.metadata.uid })
    signal.throwIfAborted()
    if (last) await catalog.put(policies.goOn(last, { object, keys, nowMs: clock.epochMs() }))
  }

  /** In how long status may tell what is measured; undefined: it does. */
  usageDueInMs(key: string): number | undefined {
    const { catalog, clock, cluster } = this.#options
    const object = cluster.caches.tenants.get(key)
    if (!object) return undefined
    const facts = { limits: catalog.policyOf(key)?.limits, nowMs: clock.epochMs() }
    return usageDueInMs(tenantStatusOf(object).usage, catalog.usageOf(key), facts)
  }

  /** Keys are replaced only when gateways will hear of it: the last that was accepted goes on with the keys that it has. */
  async #compile(object: ApiObject, tenant: ChatTenant, signal: AbortSignal) {
    const { catalog, clock, policies } = this.#options
    const before = catalog.policyOf(keyOf(object.metadata))
    const wish = generatedKeys(tenant)
    const kept = await this.#keepSecret({ object, tenant, keys: { wanted: wish.wanted } }, signal)
    const input = { object, tenant, before, nowMs: clock.epochMs() }
    const compiled = await policies.compile({ ...input, keys: kept.plan })
    if ('problems' in compiled || !isReplacing(wish)) return { compiled, kept }

    const after = await this.#keepSecret({ object, tenant, keys: wish }, signal)
    if (!after.plan || after.plan.rotated.length === 0) return { compiled, kept: after }
    return { compiled: await policies.compile({ ...input, keys: after.plan }), kept: after }
  }

  #keepSecret(
    { keys, object: owner, tenant }: { object: ApiObject; tenant: ChatTenant; keys: KeyWish },
    signal: AbortSignal,
  ): Promise<KeptSecret> {
    const { publicUrl, secrets } = this.#options
    const { secretName, template } = tenant.spec.credentials
    const { name, namespace = '' } = owner.metadata
    const wish = {
      name: secretName ?? tenantSecretName(name),
      namespace,
      owner,
      tenant: keyOf(owner.metadata),
      publicUrl,
      labels: template?.labels,
      annotations: template?.annotations,
      keys,
    }
    return secrets.keep(wish, signal)
  }

  /** Writes what was found out, when it is anything new. */
  async #report(object: ApiObject, found: Found, signal: AbortSignal): Promise<Outcome> {
    const { api, catalog, clock, cluster, events, programming, publicUrl } = this.#options
    const { accepted: acceptedVerdict, kept } = found
    const key = keyOf(object.metadata)
    const nowMs = clock.epochMs()
    const was = tenantStatusOf(object)
    const policy = catalog.policyOf(key)
    const standing = catalog.standingOf(key)
    const revision = policy?.revision ?? was.revision
    const programmed = programmedBy(standing, {
      accepted: acceptedVerdict.ok,
      revision,
      suspended: policy?.suspended ?? false,
    })
    // What is refused is on its way nowhere.
    if (!acceptedVerdict.ok) programming.forget(key)
    else if (programmed.ok && revision !== undefined) programming.done(key, revision)
    if (acceptedVerdict.ok && this.#waits(key, policy?.revision ?? '', standing))
      return { requeueAfterMs: patienceMs }

    const measured = catalog.usageOf(key)
    const limits = policy?.limits
    const usage = usageToWrite(was.usage, measured, { limits, nowMs })
    const pressed = was.conditions?.some(({ status, type }) => type === 'QuotaPressure' && status === 'True')
    const findings = tenantConditions({
      suspended: found.tenant?.spec.suspend ?? false,
      accepted: acceptedVerdict,
      credentials: kept?.verdict ?? unknownCredentials,
      programmed,
      conflict: this.#conflictOf(object, standing),
      pressure: pressureOf(usage, limits, { pressed: pressed ?? false }),
    })
    const conditions = conditionsOf(findings, {
      was: was.conditions ?? [],
      generation: object.metadata.generation ?? 0,
      epochMs: nowMs,
    })
    const status = tenantStatus(object, {
      conditions,
      policy,
      planName: (acceptedVerdict.ok ? found.tenant?.spec.planRef.name : was.effective?.plan) ?? '',
      gateways: 'gateways' in standing ? standing : undefined,
      isProgrammed: programmed.ok,
      usage,
      publicUrl,
      secret: secretFacts(kept),
      nowMs,
    })
    signal.throwIfAborted()
    try {
      const { name, namespace, uid } = object.metadata
      const desired = { metadata: { name, namespace, uid }, status }
      const written = await api.applyStatus(chatTenants, desired, { known: object })
      cluster.caches.tenants.wrote(written)
      for (const facts of newTroubles(was.conditions ?? [], conditions)) events.event(object, facts)
    } catch (error) {
      // It went meanwhile, or is another: the watch tells.
      if (!isApiError(error, 'NotFound', 'Conflict')) throw error
    }
    return this.#next(found, { was, usageInMs: usageDueInMs(usage, measured, { limits, nowMs }), nowMs })
  }

  /** True while the gateways may still answer before anybody wants to know. */
  #waits(key: string, revision: string, standing: Standing): boolean {
    if (standing.kind !== 'pending') {
      this.#waiting.delete(key)
      return false
    }
    const nowMs = this.#options.clock.monotonicMs()
    const waiting = this.#waiting.get(key)
    if (waiting?.revision === revision) return nowMs - waiting.sinceMs < patienceMs
    this.#waiting.set(key, { revision, sinceMs: nowMs })
    return true
  }

  #conflictOf(object: ApiObject, standing: Standing) {
    if (standing.kind === 'foreign') {
      const message = `The catalog belongs to the cluster ${standing.owner}, whose controller has the same --installation.`
      return { reason: 'CatalogNotOurs' as const, message }
    }
    const { caches, tenantsByHostname } = this.#options.cluster
    for (const hostname of hostnamesOf(object)) {
      const others = [...tenantsByHostname.keysOf(hostname)].flatMap((key) => caches.tenants.get(key) ?? [])
      const [oldest] = [object, ...others].toSorted(byAge)
      if (oldest && oldest.metadata.uid !== object.metadata.uid) {
        const message = `The host "${hostname}" belongs to the older tenant ${keyOf(oldest.metadata)}.`
        return { reason: 'HostnameTaken' as const, message }
      }
    }
    return undefined
  }

  #next(
    { accepted: { ok }, kept, polls }: Found,
    { nowMs, usageInMs, was }: { nowMs: number; usageInMs: number | undefined; was: Was },
  ): Outcome {
    const since = was.conditions?.find(({ status, type }) => type === 'Ready' && status === 'False')
    const ageMs = since ? nowMs - Date.parse(since.lastTransitionTime) : 0
    const credentialsOk = kept?.verdict.ok ?? true
    const pollInMs =
      ok && credentialsOk ? pollMs.accepted : Math.min(Math.max(ageMs, pollMs.first), pollMs.max)
    const due = [
      ...(polls || !credentialsOk ? [pollInMs] : []),
      ...(kept?.plan?.nextAtMs === undefined ? [] : [Math.max(1, kept.plan.nextAtMs - nowMs)]),
      ...(usageInMs === undefined ? [] : [usageInMs]),
    ]
    return due.length === 0 ? undefined : { requeueAfterMs: Math.min(...due, requeueMsMax) }
  }
}

/** At a time, or because somebody asked. */
function isReplacing({ request, rotation }: KeyWish): boolean {
  return rotation !== undefined || request !== undefined
}

type Was = ReturnType<typeof tenantStatusOf>

interface Found {
  readonly accepted: Verdict
  /** Undefined: the spec does not tell which Secret it would be. */
  readonly kept: KeptSecret | undefined
  readonly polls: boolean
  readonly tenant?: ChatTenant
}

const accepted: Verdict = { ok: true, reason: 'Accepted', message: 'The spec can be met.' }
const unknownCredentials: Verdict = {
  ok: false,
  reason: 'InvalidResource',
  message: 'The spec cannot be read; keys stay as they are.',
  waitsFor: 'somebody',
}

function byAge(a: ApiObject, b: ApiObject): number {
  const [first = '', second = ''] = [a.metadata.creationTimestamp, b.metadata.creationTimestamp]
  return first.localeCompare(second) || keyOf(a.metadata).localeCompare(keyOf(b.metadata))
}

/** What whoever led before saw in force everywhere. */
function believed(object: ApiObject): string | undefined {
  const { conditions, revision } = tenantStatusOf(object)
  return conditions?.some(({ status, type }) => type === 'Programmed' && status === 'True')
    ? revision
    : undefined
}

function secretFacts(kept: KeptSecret | undefined) {
  if (!kept?.secret || !kept.plan) return undefined
  const { name, resourceVersion } = kept.secret.metadata
  return { name, resourceVersion, plan: kept.plan }
}
