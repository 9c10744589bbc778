// The options of the controller, which the process that runs it supplies.
import type { LiveRedis, Prepare, RedisLink } from '../redis/link.js'
import type { Log } from '../log.js'
import type { ControllerMetrics } from '../metrics-controller.js'
import type { SealingKeys } from '../catalog/redis/sealing.js'
import type { After, Clock } from '../time.js'
import type { ObjectKey } from '../kube/object.js'
import type { PublicUrl } from './credentials/endpoints.js'
import type { GatewayFleet } from './scaling/scale-in.js'

export interface ControllerOptions {
  /** Parley's version, for the user agent of calls to the API server. */
  readonly version: string
  /** The path of a kubeconfig file. Default: KUBECONFIG, ~/.kube/config, or the pod's service account. */
  readonly kubeconfig?: string | undefined
  /** The Lease that decides which controller leads. */
  readonly lease: ObjectKey
  /** The holder identity of this process in the Lease. No two processes may share one. */
  readonly identity: string
  /** How long the Lease lasts and how often it is renewed. Default: the defaults of `LeaseElector`. */
  readonly leaseTiming?: { durationMs: number; renewDeadlineMs: number; retryMs: number } | undefined
  /** The name of the catalog in Redis. The gateways of this installation use the same name. */
  readonly installation: string
  /** The keys that seal the secrets in the catalog. */
  readonly sealing: SealingKeys
  /** The id of a cluster whose catalog this controller may take over. Default: none. */
  readonly takesOver?: string | undefined
  /** The public address of the gateways. When undefined, status and Secrets contain no address. */
  readonly publicUrl: PublicUrl | undefined
  /** Returns why a JWKS URL of valid form may not be used, or undefined when it may be used. */
  readonly addressProblem: (uri: string) => string | undefined
  /** Creates a link to the master that holds the catalog. The caller keeps the link open and closes it. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  /** Returns a connection to every master: the data of a tenant is spread over all of them. */
  readonly masters: () => Promise<readonly LiveRedis[]>
  /** The gateways whose autoscaler is watched. When undefined, no pod deletion costs are written. */
  readonly fleet?: GatewayFleet | undefined
  /**
   * The shortest time, in milliseconds, between the deletion of a tenant and the purge of its data. Default
   * 15,000.
   */
  readonly settleMs?: number
  /** The number of reconciles at one time, for each kind. Default 8. */
  readonly workers?: number
  /** The limits on calls to the API server, for the whole process. Default 100 per second, burst 200. */
  readonly apiCalls?: ApiCallLimits
  readonly metrics: ControllerMetrics
  readonly clock: Clock
  readonly after: After
  readonly log: Log
}

/** The limits on calls to the API server. */
export interface ApiCallLimits {
  /** The sustained rate, in calls per second. */
  readonly perSecond: number
  /** The number of calls that may start immediately after an idle time. */
  readonly burst: number
}
