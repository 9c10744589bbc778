// The work of the leading controller: it publishes the catalog, and runs the queues and workers that
// reconcile tenants, plans and credentials. Changes in the caches fill the queues (see enqueueing.ts).
import { pause } from '../deadline.js'
import { RetentionRecords } from '../catalog/redis/retention.js'
import { CatalogWriter } from '../catalog/redis/writer.js'
import { CatalogPublisher } from './catalog/publisher.js'
import type { Cluster } from './cluster.js'
import { Enqueueing } from './enqueueing.js'
import { reportFloods } from './flood-report.js'
import type { ControllerOptions } from './options.js'
import { CredentialReconciler } from './credentials/reconciler.js'
import { KeyQueue } from '../kube/key-queue.js'
import type { Priority } from '../kube/fair-queue.js'
import { namespaces } from './kinds.js'
import type { EventRecorder, Leadership, ObjectApi, ObjectCache, Reconcile } from '../kube/ports.js'
import { keyOf, namespaceOfKey } from '../kube/object.js'
import { PlanReconciler } from './plan-reconciler.js'
import { RolloutLatency } from './catalog/rollout-latency.js'
import { RetentionPurger } from './retention/purger.js'
import { ScaleIn } from './scaling/scale-in.js'
import { ManagedSecrets } from './credentials/managed-secret.js'
import { TenantPolicies } from './tenants/policy.js'
import { TenantReconciler } from './tenants/reconciler.js'
import { TenantReporter } from './tenants/reporter.js'
import { whenAborted, runTaskGroup } from '../kube/task-group.js'
import { Workers } from '../kube/workers.js'

export interface LeaderOptions extends ControllerOptions {
  /** The objects in the API server, by the priority in which the calls wait. */
  readonly apis: Readonly<Record<Priority, ObjectApi>>
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
  readonly reconcilers: Readonly<Record<QueueName, Reconcile>>
}

/** `tenants` publishes policies, and `reports` writes the status of tenants. */
const queueNames = ['tenants', 'reports', 'plans', 'credentials'] as const
type QueueName = (typeof queueNames)[number]
/** Controller names in metrics, in the style of controller-runtime. */
const controllers: Readonly<Record<QueueName, string>> = {
  tenants: 'chattenant',
  reports: 'chattenant-status',
  plans: 'chatplan',
  credentials: 'chatcredential',
}
/**
 * Urgent changes do not wait for workers that are busy with other changes: each kind has these in addition.
 */
const urgentExtra = 2
const clusterIdRetryMs = 1_000

export class Leader {
  readonly #options: LeaderOptions
  readonly #queues: Readonly<Record<QueueName, KeyQueue>>
  readonly #enqueueing: Enqueueing
  #catalog: CatalogPublisher | undefined

  constructor(options: LeaderOptions) {
    this.#options = options
    this.#queues = {
      tenants: this.#queue(controllers.tenants),
      reports: this.#queue(controllers.reports),
      plans: this.#queue(controllers.plans),
      credentials: this.#queue(controllers.credentials),
    }
    this.#enqueueing = new Enqueueing(options.cluster, this.#queues)
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
    this.#enqueueing.start()
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
    if (!signal.aborted) this.#enqueueing.addAll()
    const queues = new Map(queueNames.map((name) => [controllers[name], this.#queues[name]]))
    await runTaskGroup(signal, [
      async (ending) => purger.run(ending),
      ...(scaleIn ? [async (ending: AbortSignal) => scaleIn.run(ending)] : []),
      async (ending) => reportFloods(queues, { ...this.#options, signal: ending }),
      ...queueNames.map(
        (name) => async (ending: AbortSignal) => this.#runWorkers(name, reconcilers[name], ending),
      ),
    ])
  }

  #createParts(owner: string): Parts {
    const options = this.#options
    const { apis, autoscalers, clock, cluster, createLink, events, fleet, installation } = options
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
      onChange: (keys) => this.#enqueueing.addReports(keys),
      onUsage: (keys) => {
        for (const key of keys) {
          const dueInMs = reporter.usageDueInMs(key)
          if (dueInMs !== undefined) this.#queues.reports.addAfter(key, dueInMs)
        }
      },
    })
    const purger = new RetentionPurger({
      records,
      masters: options.masters,
      tenants: cluster.caches.tenants,
      api: apis.background,
      leadership,
      log,
      ...(options.settleMs !== undefined && { settleMs: options.settleMs }),
    })
    const readGateways = () => writer.readGateways()
    const scaleIn =
      fleet && autoscalers
        ? new ScaleIn({ fleet, autoscalers, api: apis.normal, readGateways, log })
        : undefined
    const secrets = new ManagedSecrets({ api: apis.normal, cache: cluster.caches.secrets, clock, events })
    const policies = new TenantPolicies({ ...options, api: apis.urgent })
    const shared = { api: apis.background, cluster, catalog, secrets, publicUrl, clock, events }
    const rolloutLatency = new RolloutLatency({
      clock,
      meter: (oldest) => metrics.rolloutLatencyMeter(oldest),
    })
    const onDue = (key: string) => this.#queues.reports.add(key)
    const reporter = new TenantReporter({ ...shared, rolloutLatency, onDue })
    const onPublished = (key: string) => this.#enqueueing.addReports([key])
    const tenants = new TenantReconciler({
      ...shared,
      purger,
      policies,
      rolloutLatency,
      reporter,
      onPublished,
    })
    const plans = new PlanReconciler(shared)
    const credentials = new CredentialReconciler(shared)
    const reconcilers = {
      tenants: async (key: string, signal: AbortSignal) => tenants.reconcile(key, signal),
      reports: async (key: string, signal: AbortSignal) => reporter.report(key, signal),
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
    const { apis, log } = this.#options
    while (!signal.aborted) {
      try {
        return (await apis.urgent.get(namespaces, { name: 'kube-system' })).metadata.uid
      } catch (error) {
        log.warn({ err: error }, 'cannot read the cluster id (the uid of namespace kube-system): retrying')
        await pause(clusterIdRetryMs, signal)
      }
    }
    return undefined
  }

  #queue(controller: string): KeyQueue {
    const { after, clock, metrics } = this.#options
    const queue = new KeyQueue({
      clock,
      after,
      groupOf: namespaceOfKey,
      meter: metrics.queueMeter(controller),
    })
    metrics.observeQueue(controller, queue)
    return queue
  }

  #runWorkers(name: QueueName, reconcile: Reconcile, signal: AbortSignal): Promise<void> {
    const { after, clock, log, metrics, workers: concurrency = 8 } = this.#options
    const controller = controllers[name]
    const meter = metrics.reconcileMeter(controller, concurrency + urgentExtra)
    return new Workers({
      queue: this.#queues[name],
      reconcile,
      log,
      clock,
      after,
      meter,
      concurrency,
      urgentExtra,
      // One namespace, whose reconciles may all be slow, never occupies every worker.
      perGroupMax: Math.ceil(concurrency / 2),
    }).run(signal)
  }
}
