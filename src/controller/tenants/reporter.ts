// Writes the status and the Events of ChatTenants, from the findings of the reconciler and the rollout on the
// gateways. It runs apart from the reconciler, so that no policy waits for a status in the API server.
import type { Clock } from '../../time.js'
import { isApiError } from '../../kube/api-error.js'
import type { CatalogPublisher, RolloutState } from '../catalog/publisher.js'
import type { Cluster } from '../cluster.js'
import { abnormalConditionTypes, conditionsOf } from '../../kube/conditions.js'
import type { Condition } from '../../resources/status.js'
import type { PublicUrl } from '../credentials/endpoints.js'
import { chatTenants } from '../kinds.js'
import type { EventRecorder, ObjectApi, ReconcileOutcome } from '../../kube/ports.js'
import { conditionEvents } from './condition-events.js'
import { compareAge, keyOf, type ApiObject } from '../../kube/object.js'
import { hostnamesOf } from '../references.js'
import type { RolloutLatency } from '../catalog/rollout-latency.js'
import { tenantConditions } from './conditions.js'
import type { TenantFindings } from './findings.js'
import { programmedVerdict } from './programmed.js'
import { tenantStatus, tenantStatusOf } from './status.js'
import { pressureOf, usageDueInMs, usageToWrite } from './usage.js'

export interface TenantReporterOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  readonly catalog: CatalogPublisher
  readonly publicUrl: PublicUrl | undefined
  readonly clock: Clock
  readonly events: EventRecorder
  readonly rolloutLatency: RolloutLatency
  /** Called when the status of a tenant may have to be written. */
  readonly onDue: (key: string) => void
}

/** Most gateways report within this time. Waiting for them saves one write of status with `Pending`. */
const ackWaitMs = 1_000

export class TenantReporter {
  readonly #options: TenantReporterOptions
  readonly #findings = new Map<string, TenantFindings>()
  /** The revision that each tenant waits for the gateways to report, and the start of that wait. */
  readonly #awaited = new Map<string, { revision: string; sinceMs: number }>()

  constructor(options: TenantReporterOptions) {
    this.#options = options
  }

  /** Stores the findings of a finished pass. Status shows them soon. */
  found(key: string, findings: TenantFindings): void {
    this.#findings.set(key, findings)
    this.#options.onDue(key)
  }

  /** Drops what is known about a deleted tenant. */
  forget(key: string): void {
    this.#findings.delete(key)
    this.#awaited.delete(key)
    this.#options.rolloutLatency.forget(key)
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
   * Applies the status; the API client sends nothing when it is unchanged. Records Events for new failures.
   * Writes nothing for an object that was edited since: the reconciler's next pass causes another report.
   */
  async report(key: string, signal: AbortSignal): Promise<ReconcileOutcome> {
    const { catalog, clock, cluster, rolloutLatency, publicUrl } = this.#options
    const object = cluster.caches.tenants.get(key)
    const found = this.#findings.get(key)
    if (!object || !found) return undefined
    const { generation, uid } = object.metadata
    if (found.uid !== uid || found.generation !== generation) return undefined
    const nowMs = clock.epochMs()
    const previous = tenantStatusOf(object)
    const policy = catalog.policyOf(key)
    const rollout = catalog.rolloutOf(key)
    const revision = policy?.revision ?? previous.revision
    const programmed = programmedVerdict(rollout, {
      accepted: found.accepted.ok,
      revision,
      suspended: policy?.suspended ?? false,
    })
    // A rejected revision is not being rolled out.
    if (!found.accepted.ok) rolloutLatency.forget(key)
    else if (programmed.ok && revision !== undefined) rolloutLatency.finish(key, revision)
    if (found.accepted.ok && this.#awaitsAcks(key, policy?.revision ?? '', rollout))
      return { requeueAfterMs: ackWaitMs }

    const measured = catalog.usageOf(key)
    const limits = policy?.limits
    const usage = usageToWrite(previous.usage, measured, { limits, nowMs })
    const underPressure = previous.conditions?.some(
      ({ status, type }) => type === 'QuotaPressure' && status === 'True',
    )
    const facts = tenantConditions({
      suspended: found.suspended,
      accepted: found.accepted,
      credentials: found.credentials,
      programmed,
      conflict: this.#conflictOf(object, rollout),
      pressure: pressureOf(usage, limits, { underPressure: underPressure ?? false }),
    })
    const conditions = conditionsOf(facts, {
      previous: previous.conditions ?? [],
      generation: generation ?? 0,
      epochMs: nowMs,
      abnormalTypes: [...abnormalConditionTypes, 'Conflict'],
    })
    const status = tenantStatus(object, {
      conditions,
      policy,
      planName: found.planName ?? previous.effective?.plan ?? '',
      gateways: 'gateways' in rollout ? rollout : undefined,
      isProgrammed: programmed.ok,
      usage,
      publicUrl,
      secret: found.secret,
      nowMs,
    })
    signal.throwIfAborted()
    await this.#write(object, status, previous.conditions ?? [])
    const usageInMs = usageDueInMs(usage, measured, { limits, nowMs })
    return usageInMs === undefined ? undefined : { requeueAfterMs: Math.max(1, usageInMs) }
  }

  /** `before` are the conditions of the current status. */
  async #write(
    object: ApiObject,
    status: ReturnType<typeof tenantStatus>,
    before: readonly Condition[],
  ): Promise<void> {
    const { api, cluster, events } = this.#options
    const { name, namespace, uid } = object.metadata
    try {
      const desired = { metadata: { name, namespace, uid }, status }
      const written = await api.applyStatus(chatTenants, desired, { known: object })
      cluster.caches.tenants.recordWrite(written)
      for (const facts of conditionEvents(before, status.conditions ?? [])) events.event(object, facts)
    } catch (error) {
      // The object was deleted or recreated before the write. The watch reports that change.
      if (!isApiError(error, 'NotFound', 'Conflict')) throw error
    }
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
      let oldest = object
      for (const key of tenantsByHostname.keysOf(hostname)) {
        const other = caches.tenants.get(key)
        if (other && compareAge(other, oldest) < 0) oldest = other
      }
      if (oldest.metadata.uid !== object.metadata.uid) {
        const owner = keyOf(oldest.metadata)
        const message = `The hostname "${hostname}" belongs to the older tenant ${owner}. Remove it from one of the two.`
        return { reason: 'HostnameTaken' as const, message }
      }
    }
    return undefined
  }
}
