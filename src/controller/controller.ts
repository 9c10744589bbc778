// The room of the controller, which turns ChatTenants, ChatPlans and ChatCredentials into the catalog that
// gateways enforce. `Controller` connects the parts of the process: the watches, which every replica keeps
// warm; the election; and `Leader`, whose work starts and ends with the Lease. Subfolders: `tenants` and
// `credentials` hold the reconcilers, `catalog` publishes to Redis and follows the rollout on the gateways,
// `retention` purges the data of deleted tenants, and `scaling` ranks gateway pods before a scale-in. The
// room may import kube, compile, catalog, resources, tenant, redis and the leaf files of src. Only cli
// imports it. Start reading at `leader.ts`, then `tenants/reconciler.ts`.
import { KubeConfigTarget, loadKubeConfig } from '../kube/api-target.js'
import { ApiTransport, userAgentOf } from '../kube/api-transport.js'
import { Cluster } from './cluster.js'
import { Events } from '../kube/events.js'
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
import type { ControllerOptions } from './options.js'
import { LeaseElector } from '../kube/lease.js'
import { KubeObjectApi } from '../kube/object-api.js'
import type { ResourceKind } from '../kube/object.js'
import { Reflector } from '../kube/reflector.js'
import { conditionMetrics } from './tenants/condition-metrics.js'
import { whenAborted } from '../kube/task-group.js'

/** Thrown when this process lost the Lease. The process must exit immediately, and may be started again. */
export class LostLeadershipError extends Error {
  override readonly name = 'LostLeadershipError'
}

/**
 * The field manager of all fields that the controller applies. It also names the controller in audit logs.
 */
const fieldManager = 'parley-controller'
/** One call in flight for each 25 calls per second: a call takes 5 to 40 ms. */
const callsInFlightMin = 4
const callsPerSecondInFlight = 25
/** Sockets for the calls of the leader election, which skip the throttle. */
const electionSockets = 4

export class Controller {
  readonly #options: ControllerOptions
  readonly #transport: ApiTransport
  readonly #reflectors: Readonly<
    Record<'plans' | 'tenants' | 'credentials' | 'secrets' | 'namespaces', Reflector>
  >
  /**
   * Watches the gateways' autoscaler. Health ignores this watch, because the controller serves tenants
   * without it.
   */
  readonly #autoscaler: Reflector | undefined
  readonly #health: Health
  readonly #elector: LeaseElector
  readonly #events: Events
  readonly #leader: Leader
  #onLeading: () => void = () => {}
  #onLost: (reason: string) => void = () => {}

  /** Throws ConfigError when no cluster is configured. */
  constructor(options: ControllerOptions) {
    const { after, clock, identity, lease, log, metrics } = options
    this.#options = options
    const { perSecond, burst } = options.apiCalls ?? { perSecond: 100, burst: 200 }
    const concurrency = Math.max(callsInFlightMin, Math.ceil(perSecond / callsPerSecondInFlight))
    const target = new KubeConfigTarget(() => loadKubeConfig({ path: options.kubeconfig }), {
      socketsMax: concurrency + electionSockets,
    })
    this.#transport = new ApiTransport({
      target,
      userAgent: userAgentOf({ name: fieldManager, version: options.version }),
      fieldManager,
      onResponse: metrics.restMeter(target.url.host),
      perSecond,
      burst,
      concurrency,
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
    for (const reflector of this.#allReflectors)
      metrics.observeWatch(reflector.kind, () => {
        const { silentMs } = reflector
        return silentMs === undefined ? undefined : silentMs / 1000
      })
    this.#health = new Health(Object.values(this.#reflectors), clock)
    metrics.observeConditions(() =>
      this.leading && tenants.cache.synced ? conditionMetrics(tenants.cache) : undefined,
    )
    const meter = metrics.leaseMeter(lease.name)
    this.#elector = new LeaseElector({
      objects: new KubeObjectApi(this.#transport, { unthrottled: { deadlineMs: 5_000 } }),
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
    const guard = () => this.#elector.assertLeading()
    const apis = {
      urgent: new KubeObjectApi(this.#transport, { guard, priority: 'urgent' }),
      normal: new KubeObjectApi(this.#transport, { guard, priority: 'normal' }),
      background: new KubeObjectApi(this.#transport, { guard, priority: 'background' }),
    }
    this.#events = new Events({
      objects: apis.background,
      reportingController: 'parley.chat/controller',
      reportingInstance: identity,
      clock,
      after,
      log,
      onDropped: metrics.countDroppedEvent,
    })
    this.#leader = new Leader({
      ...options,
      apis,
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

  /** Returns why the controller is not ready, or an empty list when it leads or can take over the Lease. */
  unready(): string[] {
    return [...this.#health.readinessProblems(), ...this.#leader.unready()]
  }

  /** Returns why the process should be restarted, or an empty list. */
  dead(): string[] {
    return this.#health.livenessProblems()
  }

  get leading(): boolean {
    return this.#elector.leading
  }

  /**
   * Runs until `signal` aborts. Then it finishes the work in progress, releases the Lease and resolves.
   * Rejects with LostLeadershipError, or with the error that ended the leader's work: FencedError, or
   * NotLeadingError when a write noticed the loss before the elector did. After a rejection the process must
   * exit immediately.
   */
  async run(signal: AbortSignal): Promise<void> {
    // The watches run longer than the leader's work, so that the caches still receive its last writes.
    const watching = new AbortController()
    const electing = new AbortController()
    const failing = new AbortController()
    this.#health.run(watching.signal)
    const watches = this.#allReflectors.map((reflector) => reflector.run(watching.signal))
    const leading = this.#lead(AbortSignal.any([signal, failing.signal]))
    const lost = new Promise<never>((_, reject) => {
      this.#onLost = (reason) => reject(new LostLeadershipError(`The leader lost the Lease: ${reason}`))
    })
    const election = this.#elector.run(electing.signal)
    try {
      await Promise.race([leading, lost])
      await this.#events.close()
    } finally {
      failing.abort()
      electing.abort()
      await election
      watching.abort()
      await Promise.all([...watches, leading.catch(() => {})])
    }
  }

  /**
   * Waits until this process leads and the caches are synced, then does the leader's work until `signal`
   * aborts.
   */
  async #lead(signal: AbortSignal): Promise<void> {
    const elected = new Promise<void>((resolve) => (this.#onLeading = resolve))
    await Promise.race([elected, whenAborted(signal)])
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

  get #allReflectors(): Reflector[] {
    return [...Object.values(this.#reflectors), ...(this.#autoscaler ? [this.#autoscaler] : [])]
  }

  #reflector(kind: ResourceKind, selection: Selection = {}): Reflector {
    const { after, clock, log, metrics } = this.#options
    return new Reflector({
      transport: this.#transport,
      kind,
      log,
      onListenerError: metrics.countBug,
      clock,
      after,
      ...selection,
    })
  }
}
