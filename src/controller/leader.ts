// What the leader does, from the first snapshot of the catalog to the last status: queues, their workers, and what fills them.
import { pause } from '../deadline.js'
import { Remains } from '../catalog/redis/retention.js'
import { CatalogWriter } from '../catalog/redis/writer.js'
import { CatalogKeeper } from './catalog/publisher.js'
import type { Cluster } from './cluster.js'
import type { ControllerOptions } from './controller.js'
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
import { Programming } from './catalog/rollout-latency.js'
import { hostnamesOf, planOf, tenantOf } from './references.js'
import { RemainsKeeper } from './retention/purger.js'
import { ScaleIn } from './scaling/scale-in.js'
import { SecretKeeper } from './credentials/managed-secret.js'
import { TenantPolicies } from './tenants/policy.js'
import { TenantReconciler } from './tenants/reconciler.js'
import { ended, together } from '../kube/task-group.js'
import { Workers } from '../kube/workers.js'

export interface LeaderOptions extends ControllerOptions {
  readonly api: ObjectApi
  readonly cluster: Cluster
  /** There when there is a fleet. */
  readonly autoscalers: ObjectCache | undefined
  readonly leadership: Leadership
  readonly events: EventRecorder
}

interface Parts {
  readonly catalog: CatalogKeeper
  readonly remains: RemainsKeeper
  readonly scaleIn: ScaleIn | undefined
  readonly reconcilers: Readonly<Record<'tenants' | 'plans' | 'credentials', Reconcile>>
}

/** In controller-runtime's way of naming them. */
const controllers = { tenants: 'chattenant', plans: 'chatplan', credentials: 'chatcredential' } as const
const concurrency = 8
/** Hundreds of tenants may move at once; what a plan has given is told when they have. */
const planDelayMs = 2_000
const retryMs = 1_000

export class Leader {
  readonly #options: LeaderOptions
  readonly #tenants: KeyQueue
  readonly #plans: KeyQueue
  readonly #credentials: KeyQueue
  #catalog: CatalogKeeper | undefined

  constructor(options: LeaderOptions) {
    this.#options = options
    this.#tenants = this.#queue(controllers.tenants)
    this.#plans = this.#queue(controllers.plans)
    this.#credentials = this.#queue(controllers.credentials)
  }

  troubles(): string[] {
    const trouble = this.#catalog?.trouble
    return trouble === undefined ? [] : [`The catalog cannot be written: ${trouble}`]
  }

  /** The caches must be synced. Until `signal` ends it. Rejects with FencedError, or for a bug. */
  async run(signal: AbortSignal): Promise<void> {
    const owner = await this.#clusterId(signal)
    if (owner === undefined) return
    const parts = this.#parts(owner)
    const { catalog } = parts
    this.#catalog = catalog
    this.#listen(this.#options.cluster)
    const { caches } = this.#options.cluster
    const refs = [...caches.tenants.list()].map(({ metadata: { name, namespace, uid } }) => ({
      key: keyOf({ namespace, name }),
      tenantId: uid,
    }))
    catalog.begin(refs)
    // The catalog is kept until the last worker has ended.
    const keeping = new AbortController()
    await together(signal, [
      async () => catalog.run(keeping.signal),
      async (ending) => {
        try {
          await this.#workAll(ending, parts)
        } finally {
          keeping.abort()
        }
      },
    ])
  }

  async #workAll(signal: AbortSignal, { catalog, reconcilers, remains, scaleIn }: Parts): Promise<void> {
    await Promise.race([catalog.begun, ended(signal)])
    if (!signal.aborted) this.#fill()
    await together(signal, [
      async (ending) => remains.run(ending),
      ...(scaleIn ? [async (ending: AbortSignal) => scaleIn.run(ending)] : []),
      async (ending) =>
        this.#work(controllers.tenants, this.#tenants, { reconcile: reconcilers.tenants, signal: ending }),
      async (ending) =>
        this.#work(controllers.plans, this.#plans, { reconcile: reconcilers.plans, signal: ending }),
      async (ending) =>
        this.#work(controllers.credentials, this.#credentials, {
          reconcile: reconcilers.credentials,
          signal: ending,
        }),
    ])
  }

  #parts(owner: string): Parts {
    const options = this.#options
    const { api, autoscalers, clock, cluster, createLink, events, fleet, installation } = options
    const { leadership, log, metrics, publicUrl } = options
    const fence = () => {
      leadership.assertLeading()
      return leadership.term
    }
    const writer = new CatalogWriter({ ...options, fence, owner })
    const remains = new Remains({ createLink, installation, fence, owner })
    const catalog = new CatalogKeeper({
      writer,
      log,
      onChange: (keys) => this.#look(keys),
      onUsage: (keys) => {
        for (const key of keys) {
          const dueInMs = tenants.usageDueInMs(key)
          if (dueInMs !== undefined) this.#tenants.addAfter(key, dueInMs)
        }
      },
    })
    const keeper = new RemainsKeeper({
      remains,
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
    const secrets = new SecretKeeper({ api, cache: cluster.caches.secrets, clock, events })
    const policies = new TenantPolicies(options)
    const shared = { api, cluster, catalog, secrets, publicUrl, clock, events }
    const programming = new Programming({ clock, meter: (oldest) => metrics.programmingMeter(oldest) })
    const tenants = new TenantReconciler({ ...shared, remains: keeper, policies, programming })
    const plans = new PlanReconciler(shared)
    const credentials = new CredentialReconciler(shared)
    const reconcilers = {
      tenants: async (key: string, signal: AbortSignal) => tenants.reconcile(key, signal),
      plans: async (key: string, signal: AbortSignal) => plans.reconcile(key, signal),
      credentials: async (key: string, signal: AbortSignal) => credentials.reconcile(key, signal),
    }
    return { catalog, remains: keeper, scaleIn, reconcilers }
  }

  /** What only this cluster has, and keeps: the uid of a namespace that is never deleted. Undefined: `signal` ended. */
  async #clusterId(signal: AbortSignal): Promise<string | undefined> {
    const { api, log } = this.#options
    while (!signal.aborted) {
      try {
        return (await api.get(namespaces, { name: 'kube-system' })).metadata.uid
      } catch (error) {
        log.warn({ err: error }, 'the cluster cannot be told from others yet')
        await pause(retryMs, signal)
      }
    }
    return undefined
  }

  #queue(controller: string): KeyQueue {
    const { after, clock, metrics } = this.#options
    const queue = new KeyQueue({ clock, after, meter: metrics.queueMeter(controller) })
    metrics.readQueue(controller, queue)
    return queue
  }

  #work(
    controller: string,
    queue: KeyQueue,
    { reconcile, signal }: { reconcile: Reconcile; signal: AbortSignal },
  ): Promise<void> {
    const { after, clock, log, metrics } = this.#options
    const meter = metrics.reconcileMeter(controller, concurrency)
    return new Workers({ queue, reconcile, log, clock, after, meter, concurrency }).run(signal)
  }

  #fill(): void {
    const { credentials, plans, tenants } = this.#options.cluster.caches
    for (const key of keysOf(tenants)) this.#tenants.add(key)
    for (const key of keysOf(plans)) this.#plans.add(key)
    for (const key of keysOf(credentials)) this.#credentials.add(key)
  }

  /** Changes only name what to look at. From now on: while another leads nothing is queued, and all is looked at in the beginning. */
  #listen({ caches, credentialsBySecret, credentialsByTenant, tenantsByPlan, ...by }: Cluster): void {
    const { tenantsByHostname, tenantsByNamespace, tenantsBySecret } = by
    const plansOf = ({ is, was }: ObjectChange) =>
      [is, was].flatMap((object) => (object ? planOf(object) : []))
    caches.tenants.onChange((change) => {
      this.#tenants.add(change.key)
      for (const key of credentialsByTenant.keysOf(change.key)) this.#credentials.add(key)
      for (const plan of plansOf(change)) this.#plans.addAfter(plan, planDelayMs)
      if (change.was && !change.is)
        for (const hostname of hostnamesOf(change.was)) this.#look(tenantsByHostname.keysOf(hostname))
    })
    caches.plans.onChange(({ is, key, was }) => {
      this.#plans.add(key)
      // Its own status is no news to its tenants.
      if (is?.metadata.generation !== was?.metadata.generation || !is || !was)
        this.#look(tenantsByPlan.keysOf(key))
    })
    caches.credentials.onChange(({ is, key, was }) => {
      this.#credentials.add(key)
      for (const object of [is, was]) if (object) this.#look(tenantOf(object))
    })
    caches.secrets.onChange(({ key }) => {
      this.#look(tenantsBySecret.keysOf(key))
      for (const credential of credentialsBySecret.keysOf(key)) {
        this.#credentials.add(credential)
        const object = caches.credentials.get(credential)
        if (object) this.#look(tenantOf(object))
      }
    })
    caches.namespaces.onChange(({ key }) => this.#look(tenantsByNamespace.keysOf(key)))
  }

  /** At these tenants, and at whatever depends on their standing. */
  #look(keys: Iterable<string>): void {
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
