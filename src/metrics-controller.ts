// The metrics of the controller. They have the names that controller-runtime and client-go use, so that
// existing dashboards work; metrics that those libraries do not have begin with `parley_`. This file is a
// leaf (see errors.ts).
import {
  Counter,
  Gauge,
  Histogram,
  Registry,
  collectDefaultMetrics,
  type GaugeConfiguration,
} from 'prom-client'

/** The priorities of the keys in a work queue, the highest first. */
const priorities = ['urgent', 'normal'] as const
type Priority = (typeof priorities)[number]

/** Values of a work queue that are read at each scrape. */
export interface QueueGauges {
  /** Number of keys that wait. */
  readonly depth: number
  /** Number of keys that wait with this priority, and how long the oldest of them has waited. */
  waitingIn(priority: Priority): { depth: number; oldestSeconds: number }
  /** For each key that is being processed: the seconds since its processing began. */
  unfinishedSeconds(): number[]
}

/** The conditions of one tenant. */
export interface TenantConditionSample {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  /** Types of the tenant's conditions that are True. */
  readonly trueTypes: ReadonlySet<string>
}

/** Condition types that are worth an alert. Reconciling and Stalled are left out: they describe progress. */
const conditionTypes = [
  'Ready',
  'Accepted',
  'Programmed',
  'CredentialsReady',
  'QuotaPressure',
  'Conflict',
] as const

interface Sample<Label extends string> {
  readonly labels: Record<Label, string>
  readonly value: number
}

/**
 * A gauge that computes its samples at each scrape and keeps none, so that the labels of thousands of tenants
 * take no memory between scrapes.
 */
class ScrapedGauge<Label extends string> extends Gauge<Label> {
  readonly #samples: () => Iterable<Sample<Label>>

  constructor(options: GaugeConfiguration<Label>, samples: () => Iterable<Sample<Label>>) {
    super(options)
    this.#samples = samples
  }

  override async get() {
    return { ...(await super.get()), values: [...this.#samples()] }
  }
}

const workSeconds = Array.from({ length: 12 }, (_, power) => 1e-8 * 10 ** power)
const reconcileSeconds = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5,
  1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
]

const programmedSeconds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

/** The metrics of one controller process. */
export class ControllerMetrics {
  readonly registry = new Registry()
  /** Metrics per tenant, which are scraped less often. */
  readonly tenantRegistry = new Registry()
  readonly #counters = new Map<string, Counter>()
  readonly #queues = new Map<string, QueueGauges>()
  readonly #watches = new Map<string, () => number | undefined>()
  readonly #waited: Histogram<'name' | 'controller' | 'priority'>
  readonly #worked: Histogram<'name' | 'controller'>
  readonly #reconciled: Histogram<'controller'>
  readonly #active: Gauge<'controller'>
  readonly #concurrent: Gauge<'controller'>
  readonly #leading: Gauge<'name'>
  readonly #programmed: Histogram
  /** Counts a bug in `parley_bugs_total`, which gateways use too, so that one alert covers both. */
  readonly countBug: () => void
  /** Counts a Kubernetes Event that was not written. */
  readonly countDroppedEvent: () => void
  #oldestUnprogrammedSeconds: (() => number) | undefined
  #tenants: () => Iterable<TenantConditionSample> | undefined = () => undefined

  constructor(options: { process?: boolean } = {}) {
    const registers = [this.registry]
    if (options.process ?? true) collectDefaultMetrics({ register: this.registry })
    const queue = ['name', 'controller'] as const
    const histogram = <L extends string>(
      name: string,
      help: string,
      { labelNames, buckets }: { labelNames: readonly L[]; buckets: number[] },
    ) => new Histogram<L>({ name, help, labelNames, buckets, registers })
    this.#waited = histogram('workqueue_queue_duration_seconds', 'Time a key waited in the queue.', {
      labelNames: [...queue, 'priority'],
      buckets: workSeconds,
    })
    this.#worked = histogram('workqueue_work_duration_seconds', 'Time a key was processed.', {
      labelNames: queue,
      buckets: workSeconds,
    })
    this.#reconciled = histogram('controller_runtime_reconcile_time_seconds', 'Duration of a reconcile.', {
      labelNames: ['controller'],
      buckets: reconcileSeconds,
    })
    const gauge = <L extends string>(name: string, help: string, labelNames: L[]) =>
      new Gauge<L>({ name, help, labelNames, registers })
    this.#active = gauge('controller_runtime_active_workers', 'Number of running reconciles.', ['controller'])
    this.#concurrent = gauge(
      'controller_runtime_max_concurrent_reconciles',
      'Largest number of concurrent reconciles.',
      ['controller'],
    )
    this.#leading = gauge('leader_election_master_status', '1 while this process is the leader, else 0.', [
      'name',
    ])
    this.#watchGauge()
    this.#programmed = histogram(
      'parley_controller_programmed_seconds',
      'Time from the controller writing a new revision of a tenant to every live gateway enforcing it.',
      { labelNames: [], buckets: programmedSeconds },
    )
    this.#unprogrammedGauge()
    this.#tenantGauges()
    this.countBug = this.#counter(
      'parley_bugs_total',
      'Internal errors caused by bugs. Each is logged with its stack.',
      {},
    )
    this.countDroppedEvent = this.#counter(
      'parley_controller_events_dropped_total',
      'Kubernetes Events that were not written, because an object had too many or the API server refused them.',
      {},
    )
    this.#queueGauge('workqueue_depth', 'Number of keys waiting in the queue.', ({ depth }) => depth)
    this.#priorityGauge(
      'parley_controller_queue_depth',
      'Number of keys waiting in the queue, by priority. Changes that may take rights away are urgent.',
      ({ depth }) => depth,
    )
    this.#priorityGauge(
      'parley_controller_queue_oldest_seconds',
      'How long the oldest key has waited in the queue, by priority; 0 when none waits.',
      ({ oldestSeconds }) => oldestSeconds,
    )
    this.#queueGauge(
      'workqueue_unfinished_work_seconds',
      'Total time of the keys that are being processed, so far.',
      (read) => read.unfinishedSeconds().reduce((sum, seconds) => sum + seconds, 0),
    )
    this.#queueGauge(
      'workqueue_longest_running_processor_seconds',
      'Time of the key that has been processed longest, so far.',
      (read) => Math.max(0, ...read.unfinishedSeconds()),
    )
  }

  /** controller-runtime has no metric like this one. */
  #watchGauge(): void {
    const watches = this.#watches
    new Gauge<'kind'>({
      name: 'parley_controller_watch_silent_seconds',
      help: 'Seconds since the watch of a kind last received anything from the API server, which sends a bookmark every minute.',
      labelNames: ['kind'],
      registers: [this.registry],
      collect() {
        for (const [kind, seconds] of watches) this.set({ kind }, seconds() ?? Infinity)
      },
    })
  }

  #unprogrammedGauge(): void {
    const oldest = () => this.#oldestUnprogrammedSeconds?.()
    new Gauge({
      name: 'parley_controller_unprogrammed_seconds',
      help: 'Age of the oldest tenant revision that not every live gateway enforces; 0 when there is none. Reported by the leader only.',
      registers: [this.registry],
      collect() {
        const now = oldest()
        if (now === undefined) this.remove()
        else this.set(now)
      },
    })
  }

  #tenantGauges(): void {
    const read = () => this.#tenants()
    new Gauge<'type' | 'status'>({
      name: 'parley_controller_tenants',
      help: 'Number of tenants by condition type and by whether the condition is True. Reported by the leader only.',
      labelNames: ['type', 'status'],
      registers: [this.registry],
      collect() {
        this.reset()
        const tenants = read()
        if (!tenants) return
        const all = [...tenants]
        for (const type of conditionTypes) {
          const count = all.filter(({ trueTypes }) => trueTypes.has(type)).length
          this.set({ type, status: 'true' }, count)
          this.set({ type, status: 'false' }, all.length - count)
        }
      },
    })
    const condition = {
      name: 'parley_tenant_condition',
      help: '1 while the condition of the tenant is True, else 0. Reported by the leader only.',
      labelNames: ['tenant', 'type'] as const,
      registers: [this.tenantRegistry],
    }
    new ScrapedGauge(condition, function* () {
      for (const { tenant, trueTypes } of read() ?? [])
        for (const type of conditionTypes)
          yield { labels: { tenant, type }, value: Number(trueTypes.has(type)) }
    })
  }

  /**
   * Sets the source of the tenants' conditions, which is read at each scrape. It returns undefined while
   * another process leads.
   */
  observeConditions(read: () => Iterable<TenantConditionSample> | undefined): void {
    this.#tenants = read
  }

  /**
   * Returns the function that records how many seconds a revision took to reach every gateway.
   * `oldestSeconds` is the age of the oldest pending revision and is read at each scrape.
   */
  rolloutLatencyMeter(oldestSeconds: () => number): (seconds: number) => void {
    this.#oldestUnprogrammedSeconds = oldestSeconds
    return (seconds) => this.#programmed.observe(seconds)
  }

  /** Returns the meter of a controller's queue, which is named after the controller. */
  queueMeter(controller: string) {
    const labels = { name: controller, controller }
    const adds = this.#counter('workqueue_adds_total', 'Keys added to the queue.', labels)
    const retries = this.#counter('workqueue_retries_total', 'Keys added again after a failure.', labels)
    return {
      added: () => adds(),
      retried: () => retries(),
      waited: (seconds: number, priority: Priority) => this.#waited.observe({ ...labels, priority }, seconds),
      worked: (seconds: number) => this.#worked.observe(labels, seconds),
    }
  }

  /**
   * Sets the source of the seconds since the watch of `kind` last received anything; it returns undefined
   * when it never has.
   */
  observeWatch(kind: string, seconds: () => number | undefined): void {
    this.#watches.set(kind, seconds)
  }

  /** Sets the source of a queue's gauges, which is read at each scrape. */
  observeQueue(controller: string, read: QueueGauges): void {
    this.#queues.set(controller, read)
  }

  /**
   * Returns the meter of a controller's reconciles. `concurrency` is the largest number of concurrent ones.
   */
  reconcileMeter(controller: string, concurrency: number) {
    const labels = { controller }
    this.#concurrent.set(labels, concurrency)
    this.#active.set(labels, 0)
    const failed = this.#counter(
      'controller_runtime_reconcile_errors_total',
      'Reconciles that failed.',
      labels,
    )
    const terminal = this.#counter(
      'controller_runtime_terminal_reconcile_errors_total',
      'Reconciles that failed and are not retried.',
      labels,
    )
    const panicked = this.#counter(
      'controller_runtime_reconcile_panics_total',
      'Reconciles ended by a bug.',
      labels,
    )
    const timedOut = this.#counter(
      'controller_runtime_reconcile_timeouts_total',
      'Reconciles that exceeded their time limit.',
      labels,
    )
    const results = ['success', 'requeue', 'requeue_after', 'error'] as const
    const ended = new Map<string, () => void>(
      results.map((result) => [
        result,
        this.#counter('controller_runtime_reconcile_total', 'Reconciles, by result.', { controller, result }),
      ]),
    )
    return {
      started: () => this.#active.inc(labels),
      ended: (result: string, seconds: number) => {
        this.#active.dec(labels)
        this.#reconciled.observe(labels, seconds)
        ended.get(result)?.()
        if (result === 'error') failed()
      },
      terminal: () => terminal(),
      panicked: () => {
        panicked()
        this.countBug()
      },
      timedOut: () => timedOut(),
    }
  }

  /** Returns the meter of a leader-election lease. */
  leaseMeter(name: string) {
    this.#leading.set({ name }, 0)
    return {
      leading: (leading: boolean) => this.#leading.set({ name }, Number(leading)),
      slowPath: this.#counter(
        'leader_election_slowpath_total',
        'Lease renewals that had to read the lease first.',
        { name },
      ),
    }
  }

  /**
   * Returns the function that counts a request to the API server at `host`. `code` is the status, or
   * `<error>` when there was no response.
   */
  restMeter(host: string) {
    return (method: string, code: string) =>
      this.#counter('rest_client_requests_total', 'Requests to the API server, by status, method and host.', {
        code,
        method,
        host,
      })()
  }

  /**
   * Returns a function that adds one to the counter. The series exists from the start with the value 0,
   * because `rate()` needs it.
   */
  #counter(name: string, help: string, labels: Record<string, string>): () => void {
    const counter =
      this.#counters.get(name) ??
      new Counter<string>({ name, help, labelNames: Object.keys(labels), registers: [this.registry] })
    this.#counters.set(name, counter)
    counter.inc(labels, 0)
    return () => counter.inc(labels)
  }

  #priorityGauge(
    name: string,
    help: string,
    value: (waiting: ReturnType<QueueGauges['waitingIn']>) => number,
  ): void {
    const queues = this.#queues
    new Gauge<'controller' | 'priority'>({
      name,
      help,
      labelNames: ['controller', 'priority'],
      registers: [this.registry],
      collect() {
        for (const [controller, read] of queues)
          for (const priority of priorities)
            this.set({ controller, priority }, value(read.waitingIn(priority)))
      },
    })
  }

  #queueGauge(name: string, help: string, value: (read: QueueGauges) => number): void {
    const queues = this.#queues
    new Gauge<'name' | 'controller'>({
      name,
      help,
      labelNames: ['name', 'controller'],
      registers: [this.registry],
      collect() {
        for (const [controller, read] of queues) this.set({ name: controller, controller }, value(read))
      },
    })
  }
}
