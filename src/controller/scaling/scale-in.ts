// Tells Kubernetes which gateway pods to delete first when their autoscaler is about to remove some. The
// costs are written once per scale-in: costs that followed every connection would cause a write to the API
// server for every connection.
import { z } from 'zod'
import { pause } from '../../deadline.js'
import type { Log } from '../../log.js'
import { isRedisUnavailable } from '../../redis/run-script.js'
import { ApiError, ApiUnreachableError, isApiError } from '../../kube/api-error.js'
import { deletionCosts, type GatewayLoad } from './deletion-costs.js'
import { isBeingDeleted, pods } from '../kinds.js'
import type { ObjectApi, ObjectCache } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'

/** The gateways of this installation in Kubernetes. */
export interface GatewayFleet {
  readonly namespace: string
  /** The name of their HorizontalPodAutoscaler. */
  readonly autoscaler: string
  /** The label selector of their pods. */
  readonly selector: string
}

export interface ScaleInOptions {
  readonly fleet: GatewayFleet
  readonly autoscalers: ObjectCache
  readonly api: Pick<ObjectApi, 'apply' | 'list'>
  /** Throws errors that `isRedisUnavailable` accepts when Redis is unavailable. */
  readonly readGateways: () => Promise<readonly GatewayLoad[]>
  readonly log: Log
  /** Milliseconds before costs that could not be written are tried again. Default 5,000. */
  readonly retryMs?: number
}

export const costAnnotation = 'controller.kubernetes.io/pod-deletion-cost'

/** The interval of an additional check, which covers changes that the watch missed. */
const recheckMs = 60_000

const Autoscaler = z.looseObject({
  status: z.looseObject({
    conditions: z.array(z.looseObject({ type: z.string(), reason: z.string().optional() })),
  }),
})

/**
 * Returns true while the autoscaler wants fewer pods and waits for its stabilization window to end.
 * Afterwards it is too late, because the pods are chosen at the moment when the replica count falls.
 */
export function isAboutToScaleIn(autoscaler: ApiObject | undefined): boolean {
  const parsed = Autoscaler.safeParse(autoscaler)
  return (parsed.data?.status.conditions ?? []).some(
    ({ reason, type }) => type === 'AbleToScale' && reason === 'ScaleDownStabilized',
  )
}

export class ScaleIn {
  readonly #options: ScaleInOptions
  #changed = new AbortController()

  constructor(options: ScaleInOptions) {
    this.#options = options
    options.autoscalers.onChange(() => this.#changed.abort())
  }

  /** Runs until `signal` aborts. Rejects with NotLeadingError. */
  async run(signal: AbortSignal): Promise<void> {
    const { autoscalers, fleet, retryMs = 5_000 } = this.#options
    const key = keyOf({ namespace: fleet.namespace, name: fleet.autoscaler })
    let isWritten = false
    while (!signal.aborted) {
      this.#changed = new AbortController()
      const isShrinking = isAboutToScaleIn(autoscalers.get(key))
      isWritten = isShrinking && (isWritten || (await this.#tryWriteCosts()))
      await pause(isShrinking && !isWritten ? retryMs : recheckMs, signal, this.#changed.signal)
    }
  }

  /** Returns false when not all costs could be written. */
  async #tryWriteCosts(): Promise<boolean> {
    const { log } = this.#options
    try {
      const costs = await this.#writeCosts()
      log.info({ costs }, 'the autoscaler is about to remove gateways: wrote pod deletion costs')
      return true
    } catch (error) {
      const isTemporary = error instanceof ApiError || error instanceof ApiUnreachableError
      if (!isTemporary && !isRedisUnavailable(error)) throw error
      log.warn({ err: error }, 'cannot write pod deletion costs of the gateways: retrying')
      return false
    }
  }

  /** Returns the costs that were written, by pod. Pods that had the right cost before are left out. */
  async #writeCosts(): Promise<Record<string, number>> {
    const { api, fleet, readGateways } = this.#options
    const { namespace, selector: labelSelector } = fleet
    const listed = await api.list(pods, { namespace, labelSelector })
    const staying = new Map(
      listed.filter((pod) => !isBeingDeleted(pod)).map((pod) => [pod.metadata.name, pod.metadata]),
    )
    const costs = deletionCosts([...staying.keys()], await readGateways())
    const written: Record<string, number> = {}
    for (const [name, cost] of costs) {
      const { annotations = {}, uid } = staying.get(name) ?? {}
      if (Number(annotations[costAnnotation] ?? 0) === cost) continue
      const metadata = { name, namespace, uid, annotations: { [costAnnotation]: String(cost) } }
      try {
        await api.apply(pods, { metadata })
        written[name] = cost
      } catch (error) {
        // The pod was deleted before the write.
        if (!isApiError(error, 'NotFound', 'Conflict')) throw error
      }
    }
    return written
  }
}
