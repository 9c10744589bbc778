// The work of the leading controller: it publishes the catalog, and runs the queues and workers that
// reconcile tenants, plans and credentials. Changes in the caches fill the queues.
import { pause } from '../deadline.js'
import { RetentionRecords } from '../catalog/redis/retention.js'
import { CatalogWriter } from '../catalog/redis/writer.js'
import { CatalogPublisher } from './catalog/publisher.js'
import type { Cluster } from './cluster.js'
import type { ControllerOptions } from './options.js'
import { CredentialReconciler } from './credentials/reconciler.js'
import { KeyQueue } from '../kube/key-queue.js'
import { namespaces } from './kinds.js'
import type {
  EventRecorder,
  Leadership,
  ObjectApi,
  ObjectCache,
  ObjectChange,
  Reconcile,
} from '../kube/ports.js'
import { keyOf } from '../kube/object.js'
import { PlanReconciler } from './plan-reconciler.js'
import { RolloutLatency } from './catalog/rollout-latency.js'
import { hostnamesOf, planOf, tenantOf } from './references.js'
import { RetentionPurger } from './retention/purger.js'
import { ScaleIn } from './scaling/scale-in.js'
import { ManagedSecrets } from './credentials/managed-secret.js'
import { TenantPolicies } from './tenants/policy.js'
import { TenantReconciler } from './tenants/reconciler.js'
import { whenAborted, runTaskGroup } from '../kube/task-group.js'
import { Workers } from '../kube/workers.js'

export interface LeaderOptions extends ControllerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  /** Set when `fleet` is set. */
  readonly autoscalers: ObjectCache | undefined
  readonly leadership: Leadership
  readonly events: EventRecorder
}

interface Parts {
  readonly catalog: CatalogPublisher
  readonly purger: RetentionPurger
  readonly scaleIn: ScaleIn | undefined
  readonly reconcilers: Readonly<Record<'tenants' | 'plans' | 'credentials', Reconcile>>
}

/** Controller names in metrics, in the style of controller-runtime. */
const controllers = { tenants: 'chattenant', plans: 'chatplan', credentials: 'chatcredential' } as const
const concurrency = 8
/**
 * The delay before a plan's limits are summed, because hundreds of its tenants may change at the same time.
 */
const planDelayMs = 2_000
const clusterIdRetryMs = 1_000

export class Leader {
  readonly #options: LeaderOptions
  readonly #tenants: KeyQueue
  readonly #plans: KeyQueue
  readonly #credentials: KeyQueue
  #catalog: CatalogPublisher | undefined

  constructor(options: LeaderOptions) {
    this.#options = options
    this.#tenants = this.#queue(controllers.tenants)
    this.#plans = this.#queue(controllers.plans)
    this.#credentials = this.#queue(controllers.credentials)
  }

  /** Returns why this leader cannot do its work, or an empty list. */
  unready(): string[] {
    const reason = this.#catalog?.unavailableReason
    return reason === undefined ? [] : [`The catalog cannot be written: ${reason}`]
  }

  /**
   * Runs until `signal` aborts. The caches must be synced. Rejects with FencedError, with NotLeadingError, or
   * with the error of a bug.
   */
  async run(signal: AbortSignal): Promise<void> {
    const owner = await this.#clusterId(signal)
    if (owner === undefined) return
    const parts = this.#createParts(owner)
    const { catalog } = parts
    this.#catalog = catalog
    this.#enqueueOnChange(this.#options.cluster)
    const { caches } = this.#options.cluster
    const refs = [...caches.tenants.list()].map(({ metadata: { name, namespace, uid } }) => ({
      key: keyOf({ namespace, name }),
      tenantId: uid,
    }))
    catalog.initialize(refs)
    // The publisher stops after the workers, because they write to the catalog.
    const publishing = new AbortController()
    await runTaskGroup(signal, [
      async () => catalog.run(publishing.signal),
      async (ending) => {
        try {
          await this.#runAll(ending, parts)
        } finally {
          publishing.abort()
        }
      },
    ])
  }

  async #runAll(signal: AbortSignal, { catalog, purger, reconcilers, scaleIn }: Parts): Promise<void> {
    await Promise.race([catalog.firstAttempt, whenAborted(signal)])
    if (!signal.aborted) this.#enqueueAll()
    await runTaskGroup(signal, [
      async (ending) => purger.run(ending),
      ...(scaleIn ? [async (ending: AbortSignal) => scaleIn.run(ending)] : []),
      async (ending) =>
        this.#runWorkers(controllers.tenants, this.#tenants, {
          reconcile: reconcilers.tenants,
          signal: ending,
        }),
      async (ending) =>
        this.#runWorkers(controllers.plans, this.#plans, { reconcile: reconcilers.plans, signal: ending }),
      async (ending) =>
        this.#runWorkers(controllers.credentials, this.#credentials, {
          reconcile: reconcilers.credentials,
          signal: ending,
        }),
    ])
  }

  #createParts(owner: string): Parts {
    const options = this.#options
    const { api, autoscalers, clock, cluster, createLink, events, fleet, installation } = options
    const { leadership, log, metrics, publicUrl } = options
    const fence = () => {
      leadership.assertLeading()
      return leadership.term
    }
    const writer = new CatalogWriter({ ...options, fence, owner })
    const records = new RetentionRecords({ createLink, installation, fence, owner })
    const catalog = new CatalogPublisher({
      writer,
      log,
      onChange: (keys) => this.#enqueueTenants(keys),
      onUsage: (keys) => {
        for (const key of keys) {
          const dueInMs = tenants.usageDueInMs(key)
          if (dueInMs !== undefined) this.#tenants.addAfter(key, dueInMs)
        }
      },
    })
    const purger = new RetentionPurger({
      records,
      masters: options.masters,
      tenants: cluster.caches.tenants,
      api,
      leadership,
      log,
      ...(options.settleMs !== undefined && { settleMs: options.settleMs }),
    })
    const readGateways = () => writer.readGateways()
    const scaleIn =
      fleet && autoscalers ? new ScaleIn({ fleet, autoscalers, api, readGateways, log }) : undefined
    const secrets = new ManagedSecrets({ api, cache: cluster.caches.secrets, clock, events })
    const policies = new TenantPolicies(options)
    const shared = { api, cluster, catalog, secrets, publicUrl, clock, events }
    const rolloutLatency = new RolloutLatency({
      clock,
      meter: (oldest) => metrics.rolloutLatencyMeter(oldest),
    })
    const tenants = new TenantReconciler({ ...shared, purger, policies, rolloutLatency })
    const plans = new PlanReconciler(shared)
    const credentials = new CredentialReconciler(shared)
    const reconcilers = {
      tenants: async (key: string, signal: AbortSignal) => tenants.reconcile(key, signal),
      plans: async (key: string, signal: AbortSignal) => plans.reconcile(key, signal),
      credentials: async (key: string, signal: AbortSignal) => credentials.reconcile(key, signal),
    }
    return { catalog, purger, scaleIn, reconcilers }
  }

  /**
   * Returns the id of this cluster: the uid of the namespace `kube-system`, which is unique and never
   * deleted. Returns undefined when `signal` has aborted.
   */
  async #clusterId(signal: AbortSignal): Promise<string | undefined> {
    const { api, log } = this.#options
    while (!signal.aborted) {
      try {
        return (await api.get(namespaces, { name: 'kube-system' })).metadata.uid
      } catch (error) {
        log.warn({ err: error }, 'cannot read the cluster id (the uid of namespace kube-system): retrying')
        await pause(clusterIdRetryMs, signal)
      }
    }
    return undefined
  }

  #queue(controller: string): KeyQueue {
    const { after, clock, metrics } = this.#options
    const queue = new KeyQueue({ clock, after, meter: metrics.queueMeter(controller) })
    metrics.observeQueue(controller, queue)
    return queue
  }

  #runWorkers(
    controller: string,
    queue: KeyQueue,
    { reconcile, signal }: { reconcile: Reconcile; signal: AbortSignal },
  ): Promise<void> {
    const { after, clock, log, metrics } = this.#options
    const meter = metrics.reconcileMeter(controller, concurrency)
    return new Workers({ queue, reconcile, log, clock, after, meter, concurrency }).run(signal)
  }

  #enqueueAll(): void {
    const { credentials, plans, tenants } = this.#options.cluster.caches
    for (const key of keysOf(tenants)) this.#tenants.add(key)
    for (const key of keysOf(plans)) this.#plans.add(key)
    for (const key of keysOf(credentials)) this.#credentials.add(key)
  }

  /**
   * Enqueues keys when objects change. Called when this process becomes the leader, so that a standby's
   * queues stay empty; `#enqueueAll` covers everything that changed before.
   */
  #enqueueOnChange({
    caches,
    credentialsBySecret,
    credentialsByTenant,
    tenantsByPlan,
    ...by
  }: Cluster): void {
    const { tenantsByHostname, tenantsByNamespace, tenantsBySecret } = by
    const plansOf = ({ current, previous }: ObjectChange) =>
      [current, previous].flatMap((object) => (object ? planOf(object) : []))
    caches.tenants.onChange((change) => {
      this.#tenants.add(change.key)
      for (const key of credentialsByTenant.keysOf(change.key)) this.#credentials.add(key)
      for (const plan of plansOf(change)) this.#plans.addAfter(plan, planDelayMs)
      if (change.previous && !change.current)
        for (const hostname of hostnamesOf(change.previous))
          this.#enqueueTenants(tenantsByHostname.keysOf(hostname))
    })
    caches.plans.onChange(({ current, key, previous }) => {
      this.#plans.add(key)
      // A status update of the plan does not concern its tenants.
      if (current?.metadata.generation !== previous?.metadata.generation || !current || !previous)
        this.#enqueueTenants(tenantsByPlan.keysOf(key))
    })
    caches.credentials.onChange(({ current, key, previous }) => {
      this.#credentials.add(key)
      for (const object of [current, previous]) if (object) this.#enqueueTenants(tenantOf(object))
    })
    caches.secrets.onChange(({ key }) => {
      this.#enqueueTenants(tenantsBySecret.keysOf(key))
      for (const credential of credentialsBySecret.keysOf(key)) {
        this.#credentials.add(credential)
        const object = caches.credentials.get(credential)
        if (object) this.#enqueueTenants(tenantOf(object))
      }
    })
    caches.namespaces.onChange(({ key }) => this.#enqueueTenants(tenantsByNamespace.keysOf(key)))
  }

  /** Enqueues these tenants and the credentials that depend on them. */
  #enqueueTenants(keys: Iterable<string>): void {
    const { credentialsByTenant } = this.#options.cluster
    for (const key of keys) {
      this.#tenants.add(key)
      for (const credential of credentialsByTenant.keysOf(key)) this.#credentials.add(credential)
    }
  }
}

function* keysOf(cache: ObjectCache): Iterable<string> {
  for (const { metadata } of cache.list()) yield keyOf(metadata)
}
