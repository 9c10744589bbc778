// Decides which keys are reconciled when objects change, and which of them are urgent: those by which a
// tenant may lose rights.
import { hostnamesOf, planOf, tenantOf } from './references.js'
import type { Cluster } from './cluster.js'
import type { KeyPriority, ObjectCache, ObjectChange, WorkQueue } from '../kube/ports.js'
import { keyOf } from '../kube/object.js'
import { isUnreportedEdit, mayTakeRightsAway } from './tenants/restriction.js'

export interface Queues {
  /** Publishes the policies of tenants. */
  readonly tenants: WorkQueue
  /** Writes the status of tenants. */
  readonly reports: WorkQueue
  readonly plans: WorkQueue
  readonly credentials: WorkQueue
}

/**
 * The delay before a plan's limits are summed, because hundreds of its tenants may change at the same time.
 */
const planDelayMs = 2_000

export class Enqueueing {
  readonly #cluster: Cluster
  readonly #queues: Queues

  constructor(cluster: Cluster, queues: Queues) {
    this.#cluster = cluster
    this.#queues = queues
  }

  /**
   * Enqueues keys when objects change. Called when this process becomes the leader, so that a standby's
   * queues stay empty; `addAll` covers everything that changed before.
   */
  start(): void {
    const { caches, tenantsByNamespace, tenantsByPlan } = this.#cluster
    caches.tenants.onChange((change) => this.#tenantChanged(change))
    caches.plans.onChange((change) => {
      this.#queues.plans.add(change.key)
      // A status update of the plan does not concern its tenants.
      if (isEdit(change)) this.#addTenants(tenantsByPlan.keysOf(change.key))
    })
    caches.credentials.onChange((change) => this.#credentialChanged(change))
    caches.secrets.onChange((change) => this.#secretChanged(change))
    caches.namespaces.onChange(({ key }) => this.#addTenants(tenantsByNamespace.keysOf(key)))
  }

  /** Enqueues all objects. Tenants that were edited while no controller led come first. */
  addAll(): void {
    const { credentials, plans, tenants } = this.#cluster.caches
    for (const object of tenants.list())
      this.#queues.tenants.add(keyOf(object.metadata), isUnreportedEdit(object) ? 'urgent' : 'normal')
    for (const key of keysOf(plans)) this.#queues.plans.add(key)
    for (const key of keysOf(credentials)) this.#queues.credentials.add(key)
  }

  /** Enqueues the reports about these tenants, and the credentials whose status depends on them. */
  addReports(keys: Iterable<string>): void {
    for (const key of keys) {
      this.#queues.reports.add(key)
      this.#addCredentialsOf(key)
    }
  }

  #tenantChanged(change: ObjectChange): void {
    const { current, key, previous } = change
    const { tenantsByHostname } = this.#cluster
    // A change of the status alone is undone or completed by a report, without compiling the tenant.
    this.#queues.reports.add(key)
    const restricts = mayTakeRightsAway(previous, current)
    if (restricts || isEdit(change)) {
      this.#queues.tenants.add(key, restricts ? 'urgent' : 'normal')
      this.#addCredentialsOf(key)
    }
    for (const object of [current, previous])
      for (const plan of object ? planOf(object) : []) this.#queues.plans.addAfter(plan, planDelayMs)
    if (!previous || current) return
    for (const hostname of hostnamesOf(previous)) this.addReports(tenantsByHostname.keysOf(hostname))
  }

  #credentialChanged(change: ObjectChange): void {
    const { current, key, previous } = change
    this.#queues.credentials.add(key)
    if (!isEdit(change)) return
    // A key that existed may have lost rights, or is gone.
    const priority = previous ? 'urgent' : 'normal'
    for (const object of [current, previous]) if (object) this.#addTenants(tenantOf(object), priority)
  }

  #secretChanged({ key, previous }: ObjectChange): void {
    const { caches, credentialsBySecret, tenantsBySecret } = this.#cluster
    // A Secret that existed may have lost a key, or is gone.
    const priority = previous ? 'urgent' : 'normal'
    this.#addTenants(tenantsBySecret.keysOf(key), priority)
    for (const credential of credentialsBySecret.keysOf(key)) {
      this.#queues.credentials.add(credential)
      const object = caches.credentials.get(credential)
      if (object) this.#addTenants(tenantOf(object), priority)
    }
  }

  /** Enqueues these tenants and the credentials that depend on them. */
  #addTenants(keys: Iterable<string>, priority: KeyPriority = 'normal'): void {
    for (const key of keys) {
      this.#queues.tenants.add(key, priority)
      this.#addCredentialsOf(key)
    }
  }

  #addCredentialsOf(tenant: string): void {
    for (const key of this.#cluster.credentialsByTenant.keysOf(tenant)) this.#queues.credentials.add(key)
  }
}

/** Returns whether the object was created, deleted or edited: not only its status or its metadata changed. */
function isEdit({ current, previous }: ObjectChange): boolean {
  return !current || !previous || current.metadata.generation !== previous.metadata.generation
}

function* keysOf(cache: ObjectCache): Iterable<string> {
  for (const { metadata } of cache.list()) yield keyOf(metadata)
}
