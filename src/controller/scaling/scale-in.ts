// Tells Kubernetes which gateways to take first when it is about to take some: once for each time that it is, since costs that follow every
// connection would be a write to the API server for every connection.
import { z } from 'zod'
import { pause } from '../../deadline.js'
import type { Log } from '../../log.js'
import { isRedisTrouble } from '../../catalog/redis/scripts.js'
import { ApiError, ApiUnreachableError, isApiError } from '../../kube/api-error.js'
import { deletionCosts, type GatewayLoad } from './deletion-costs.js'
import { isBeingDeleted, pods } from '../kinds.js'
import type { ObjectApi, ObjectCache } from '../../kube/ports.js'
import { keyOf, type ApiObject } from '../../kube/object.js'

/** The gateways of this installation, as Kubernetes has them. */
export interface GatewayFleet {
  readonly namespace: string
  /** Name of their HorizontalPodAutoscaler. */
  readonly autoscaler: string
  /** Label selector of their pods. */
  readonly selector: string
}

export interface ScaleInOptions {
  readonly fleet: GatewayFleet
  readonly autoscalers: ObjectCache
  readonly api: Pick<ObjectApi, 'apply' | 'list'>
  /** Throws what `isRedisTrouble` knows. */
  readonly readGateways: () => Promise<readonly GatewayLoad[]>
  readonly log: Log
  /** Default 5,000. */
  readonly retryMs?: number
}

export const costAnnotation = 'controller.kubernetes.io/pod-deletion-cost'

/** Changes are told; this is for those that were not. */
const lookEveryMs = 60_000

const Autoscaler = z.looseObject({
  status: z.looseObject({
    conditions: z.array(z.looseObject({ type: z.string(), reason: z.string().optional() })),
  }),
})

/**
 * It wants fewer pods, and waits out its window. Later is too late: when it asks for fewer, they are chosen in the same moment.
 */
export function isAboutToShrink(autoscaler: ApiObject | undefined): boolean {
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

  /** Until `signal` ends it. Rejects with NotLeadingError. */
  async run(signal: AbortSignal): Promise<void> {
    const { autoscalers, fleet, retryMs = 5_000 } = this.#options
    const key = keyOf({ namespace: fleet.namespace, name: fleet.autoscaler })
    let isTold = false
    while (!signal.aborted) {
      this.#changed = new AbortController()
      const isNear = isAboutToShrink(autoscalers.get(key))
      isTold = isNear && (isTold || (await this.#tell()))
      await pause(isNear && !isTold ? retryMs : lookEveryMs, signal, this.#changed.signal)
    }
  }

  /** False: not all could be told. */
  async #tell(): Promise<boolean> {
    const { log } = this.#options
    try {
      const told = await this.#writeCosts()
      log.info({ costs: told }, 'fewer gateways are wanted: the emptiest go first')
      return true
    } catch (error) {
      const passes = error instanceof ApiError || error instanceof ApiUnreachableError
      if (!passes && !isRedisTrouble(error)) throw error
      log.warn({ err: error }, 'Kubernetes could not be told which gateways are to go first')
      return false
    }
  }

  /** By pod, those that were written: the others had theirs. */
  async #writeCosts(): Promise<Record<string, number>> {
    const { api, fleet, readGateways } = this.#options
    const { namespace, selector: labelSelector } = fleet
    const listed = await api.list(pods, { namespace, labelSelector })
    const staying = new Map(
      listed.filter((pod) => !isBeingDeleted(pod)).map((pod) => [pod.metadata.name, pod.metadata]),
    )
    const costs = deletionCosts([...staying.keys()], await readGateways())
    const told: Record<string, number> = {}
    for (const [name, cost] of costs) {
      const { annotations = {}, uid } = staying.get(name) ?? {}
      if (Number(annotations[costAnnotation] ?? 0) === cost) continue
      const metadata = { name, namespace, uid, annotations: { [costAnnotation]: String(cost) } }
      try {
        await api.apply(pods, { metadata })
        told[name] = cost
      } catch (error) {
        // It went meanwhile.
        if (!isApiError(error, 'NotFound', 'Conflict')) throw error
      }
    }
    return told
  }
}
