// The controller put together: caches that are warm from the start, and a leader's work that begins and ends with the lease.
import type { LiveRedis, Prepare, RedisLink } from '../redis/link.js'
import type { Log } from '../log.js'
import type { ControllerMetrics } from '../metrics-controller.js'
import type { SealingKeys } from '../catalog/redis/sealing.js'
import type { After, Clock } from '../time.js'
import { KubeConfigTarget, loadKubeConfig } from '../kube/api-target.js'
import { ApiTransport, userAgentOf } from '../kube/api-transport.js'
import { Cluster } from './cluster.js'
import { Events } from '../kube/events.js'
import type { PublicUrl } from './credentials/endpoints.js'
import { Health } from '../kube/health.js'
import {
  autoscalers,
  chatCredentials,
  chatPlans,
  chatTenants,
  namespaces,
  secretLabel,
  secrets,
} from './kinds.js'
import type { Selection } from '../kube/ports.js'
import { Leader } from './leader.js'
import { Elector } from '../kube/lease.js'
import { KubeObjects } from '../kube/object-api.js'
import type { ObjectName, ResourceKind } from '../kube/object.js'
import { Reflector } from '../kube/reflector.js'
import type { GatewayFleet } from './scaling/scale-in.js'
import { tenantStandings } from './tenants/condition-metrics.js'
import { ended } from '../kube/task-group.js'

export interface ControllerOptions {
  readonly version: string
  /** Default: KUBECONFIG, ~/.kube/config, or the pod's service account. */
  readonly kubeconfig?: string | undefined
  readonly lease: ObjectName
  /** Of this process, other than any other's. */
  readonly identity: string
  readonly leaseTiming?: { durationMs: number; renewDeadlineMs: number; retryMs: number } | undefined
  readonly installation: string
  readonly sealing: SealingKeys
  readonly takesOver?: string | undefined
  readonly publicUrl: PublicUrl | undefined
  /** What is wrong with an address of keys beyond its form; undefined: nothing. */
  readonly addressProblem: (uri: string) => string | undefined
  /** A link to the master that has the catalog, kept open by the caller. */
  readonly createLink: (role: string, prepare: Prepare) => RedisLink
  /** A connection to each master: what a tenant leaves lies on all of them. */
  readonly masters: () => Promise<readonly LiveRedis[]>
  /** Undefined: nobody is told which gateways should go first. */
  readonly fleet?: GatewayFleet | undefined
  /** How long deleted tenants' data is kept at least. Default 15,000. */
  readonly settleMs?: number
  readonly metrics: ControllerMetrics
  readonly clock: Clock
  readonly after: After
  readonly log: Log
}

/** The lease was lost, or another wrote in this one's place: the process must end, and may be started again. */
export class LostLeadershipError extends Error {
  override readonly name = 'LostLeadershipError'
}

const callsPerSecond = 100
const callsAtOnce = 200

export class Controller {
  readonly #options: ControllerOptions
  readonly #transport: ApiTransport
  readonly #reflectors: Readonly<
    Record<'plans' | 'tenants' | 'credentials' | 'secrets' | 'namespaces', Reflector>
  >
  /** Serving needs none of it: it is asked neither whether it was read nor whether it is stuck. */
  readonly #autoscaler: Reflector | undefined
  readonly #health: Health
  readonly #elector: Elector
  readonly #events: Events
  readonly #leader: Leader
  #onLeading: () => void = () => {}
  #onLost: (reason: string) => void = () => {}

  /** Throws ConfigError when there is no cluster. */
  constructor(options: ControllerOptions) {
    const { after, clock, identity, lease, log, metrics } = options
    this.#options = options
    const target = new KubeConfigTarget(() => loadKubeConfig({ path: options.kubeconfig }))
    this.#transport = new ApiTransport({
      target,
      userAgent: userAgentOf(options.version),
      onAnswer: metrics.restMeter(target.url.host),
      perSecond: callsPerSecond,
      burst: callsAtOnce,
    })
    this.#reflectors = {
      plans: this.#reflector(chatPlans),
      tenants: this.#reflector(chatTenants),
      credentials: this.#reflector(chatCredentials),
      secrets: this.#reflector(secrets, { labelSelector: secretLabel }),
      namespaces: this.#reflector(namespaces),
    }
    const { credentials, plans, secrets: watched, namespaces: spaces, tenants } = this.#reflectors
    const { fleet } = options
    this.#autoscaler =
      fleet &&
      this.#reflector(autoscalers, {
        namespace: fleet.namespace,
        fieldSelector: `metadata.name=${fleet.autoscaler}`,
      })
    for (const reflector of this.#watching)
      metrics.readWatch(reflector.kind, () => {
        const { heardAgoMs } = reflector
        return heardAgoMs === undefined ? undefined : heardAgoMs / 1000
      })
    this.#health = new Health(Object.values(this.#reflectors), clock)
    metrics.readStandings(() =>
      this.leading && tenants.cache.synced ? tenantStandings(tenants.cache) : undefined,
    )
    const meter = metrics.leaseMeter(lease.name)
    this.#elector = new Elector({
      objects: new KubeObjects(this.#transport, { urgent: { deadlineMs: 5_000 } }),
      name: lease,
      identity,
      clock,
      log,
      ...options.leaseTiming,
      onLeading: () => {
        meter.leading(true)
        this.#onLeading()
      },
      onLost: (reason) => {
        meter.leading(false)
        this.#onLost(reason)
      },
      onSlowPath: meter.slowPath,
    })
    const api = new KubeObjects(this.#transport, { guard: () => this.#elector.assertLeading() })
    this.#events = new Events({
      objects: api,
      reportingController: 'parley.chat/controller',
      reportingInstance: identity,
      clock,
      after,
      log,
      onDropped: metrics.eventDropped,
    })
    this.#leader = new Leader({
      ...options,
      api,
      cluster: new Cluster({
        plans: plans.cache,
        tenants: tenants.cache,
        credentials: credentials.cache,
        secrets: watched.cache,
        namespaces: spaces.cache,
      }),
      autoscalers: this.#autoscaler?.cache,
      leadership: this.#elector,
      events: this.#events,
    })
  }

  /** Why nothing can be done yet; empty: it leads, or is ready to. */
  unready(): string[] {
    return [...this.#health.unready(), ...this.#leader.troubles()]
  }

  /** Why it should be restarted. */
  dead(): string[] {
    return this.#health.dead()
  }

  get leading(): boolean {
    return this.#elector.leading
  }

  /**
   * Until `signal` ends it: what is under way ends, then the lease is handed over. Rejects with LostLeadershipError, or with whatever ended
   * the leader's work (FencedError; NotLeadingError when a write came before the elector knew): then the process must end at once.
   */
  async run(signal: AbortSignal): Promise<void> {
    // What watches outlives what works: the last writes are still seen.
    const watching = new AbortController()
    const electing = new AbortController()
    const failing = new AbortController()
    this.#health.run(watching.signal)
    const watches = this.#watching.map((reflector) => reflector.run(watching.signal))
    const led = this.#lead(AbortSignal.any([signal, failing.signal]))
    const lost = new Promise<never>((_, reject) => {
      this.#onLost = (reason) => reject(new LostLeadershipError(`The lease was lost: ${reason}`))
    })
    const election = this.#elector.run(electing.signal)
    try {
      await Promise.race([led, lost])
      await this.#events.close()
    } finally {
      failing.abort()
      electing.abort()
      await election
      watching.abort()
      await Promise.all([...watches, led.catch(() => {})])
    }
  }

  /** Waits for its turn, and works until `signal` ends. */
  async #lead(signal: AbortSignal): Promise<void> {
    const turn = new Promise<void>((resolve) => (this.#onLeading = resolve))
    await Promise.race([turn, ended(signal)])
    if (signal.aborted) return
    const synced = Object.values(this.#reflectors).map(({ cache }) => cache.whenSynced(signal))
    try {
      await Promise.all(synced)
    } catch (error) {
      if (signal.aborted) return
      throw error
    }
    await this.#leader.run(signal)
  }

  get #watching(): Reflector[] {
    return [...Object.values(this.#reflectors), ...(this.#autoscaler ? [this.#autoscaler] : [])]
  }

  #reflector(kind: ResourceKind, selection: Selection = {}): Reflector {
    const { after, clock, log, metrics } = this.#options
    return new Reflector({
      transport: this.#transport,
      kind,
      log,
      onBug: metrics.bug,
      clock,
      after,
      ...selection,
    })
  }
}
