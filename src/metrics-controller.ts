// Metrics of the controller, under the very names that controller-runtime and client-go give them: the
// dashboards that people have work as they are. Hence no `parley_` before them. Beside metrics.ts a door to
// prom-client. Leaf: imports nothing of ours.
import {
  Counter,
  Gauge,
  Histogram,
  Registry,
  collectDefaultMetrics,
  type GaugeConfiguration,
} from 'prom-client'

/** Numbers of a work queue that are read when scraped. */
export interface QueueGauges {
  readonly depth: number
  /** Of each key being worked on. */
  unfinishedSeconds(): number[]
}

/** What one tenant's status says. */
export interface TenantConditionSample {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  /** Types of its conditions that are True. */
  readonly trueTypes: ReadonlySet<string>
}

/** Those that somebody may want to be told of. Reconciling and Stalled tell how, not what. */
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
 * Keeps no sample from one scrape to the next: thousands of tenants' labels are garbage in between, not
 * memory.
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

export class ControllerMetrics {
  readonly registry = new Registry()
  /** Series of each tenant, scraped less often. */
  readonly tenantRegistry = new Registry()
  readonly #counters = new Map<string, Counter>()
  readonly #queues = new Map<string, QueueGauges>()
  readonly #watches = new Map<string, () => number | undefined>()
  readonly #waited: Histogram<'name' | 'controller'>
  readonly #worked: Histogram<'name' | 'controller'>
  readonly #reconciled: Histogram<'controller'>
  readonly #active: Gauge<'controller'>
  readonly #concurrent: Gauge<'controller'>
  readonly #leading: Gauge<'name'>
  readonly #programmed: Histogram
  /** A fault of our own: by the gateways' name for it, so that one alert tells of all. */
  readonly countBug: () => void
  /** An event that nobody will read. */
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
    this.#waited = histogram('workqueue_queue_duration_seconds', 'How long a key waited for its turn.', {
      labelNames: queue,
      buckets: workSeconds,
    })
    this.#worked = histogram('workqueue_work_duration_seconds', 'How long a key was worked on.', {
      labelNames: queue,
      buckets: workSeconds,
    })
    this.#reconciled = histogram(
      'controller_runtime_reconcile_time_seconds',
      'From the start of a reconcile to its end.',
      {
        labelNames: ['controller'],
        buckets: reconcileSeconds,
      },
    )
    const gauge = <L extends string>(name: string, help: string, labelNames: L[]) =>
      new Gauge<L>({ name, help, labelNames, registers })
    this.#active = gauge('controller_runtime_active_workers', 'Reconciles under way.', ['controller'])
    this.#concurrent = gauge(
      'controller_runtime_max_concurrent_reconciles',
      'Reconciles that may be under way at a time.',
      ['controller'],
    )
    this.#leading = gauge('leader_election_master_status', '1 while this process leads.', ['name'])
    this.#watchGauge()
    this.#programmed = histogram(
      'parley_controller_programmed_seconds',
      'From the controller writing a new revision of a tenant to every live gateway enforcing it.',
      { labelNames: [], buckets: programmedSeconds },
    )
    this.#unprogrammedGauge()
    this.#tenantGauges()
    this.countBug = this.#counter('parley_bugs_total', 'Faults of our own: each has a stack in the log.', {})
    this.countDroppedEvent = this.#counter(
      'parley_controller_events_dropped_total',
      'Events for people that were not written: an object had too many, or the API server refused them.',
      {},
    )
    this.#queueGauge('workqueue_depth', 'Keys that wait for their turn.', ({ depth }) => depth)
    this.#queueGauge(
      'workqueue_unfinished_work_seconds',
      'What the keys being worked on have taken so far, together.',
      (read) => read.unfinishedSeconds().reduce((sum, seconds) => sum + seconds, 0),
    )
    this.#queueGauge(
      'workqueue_longest_running_processor_seconds',
      'What the slowest of them has taken so far.',
      (read) => Math.max(0, ...read.unfinishedSeconds()),
    )
  }

  /** Not among controller-runtime's, hence by our name. */
  #watchGauge(): void {
    const watches = this.#watches
    new Gauge<'kind'>({
      name: 'parley_controller_watch_silent_seconds',
      help: 'Since the API server was last heard of about a kind; bookmarks come every minute.',
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
      help: 'For how long the revision that waits longest is not enforced by every live gateway; 0 when none waits. Only of the leader.',
      registers: [this.registry],
      collect() {
        const now = oldest()
        if (now === undefined) this.remove()
        else this.set(now)
      },
    })
  }

  #tenantGauges(): void {
    const standings = () => this.#tenants()
    new Gauge<'type' | 'status'>({
      name: 'parley_controller_tenants',
      help: 'Tenants whose condition of that type is True, and those whose is not. Only of the leader.',
      labelNames: ['type', 'status'],
      registers: [this.registry],
      collect() {
        this.reset()
        const told = standings()
        if (!told) return
        const all = [...told]
        for (const type of conditionTypes) {
          const count = all.filter(({ trueTypes: holds }) => holds.has(type)).length
          this.set({ type, status: 'true' }, count)
          this.set({ type, status: 'false' }, all.length - count)
        }
      },
    })
    const condition = {
      name: 'parley_tenant_condition',
      help: '1 while the tenant’s condition of that type is True, else 0. Only of the leader.',
      labelNames: ['tenant', 'type'] as const,
      registers: [this.tenantRegistry],
    }
    new ScrapedGauge(condition, function* () {
      for (const { trueTypes: holds, tenant } of standings() ?? [])
        for (const type of conditionTypes) yield { labels: { tenant, type }, value: Number(holds.has(type)) }
    })
  }

  /** Read when scraped. Undefined: this process does not lead, and another tells. */
  readConditions(standings: () => Iterable<TenantConditionSample> | undefined): void {
    this.#tenants = standings
  }

  /** Of new revisions on their way to the gateways. `oldestSeconds` is read when scraped. */
  rolloutLatencyMeter(oldestSeconds: () => number): (seconds: number) => void {
    this.#oldestUnprogrammedSeconds = oldestSeconds
    return (seconds) => this.#programmed.observe(seconds)
  }

  /** A queue of a controller's, which has its name. */
  queueMeter(controller: string) {
    const labels = { name: controller, controller }
    const adds = this.#counter('workqueue_adds_total', 'Keys added.', labels)
    const retries = this.#counter('workqueue_retries_total', 'Keys added again after a failure.', labels)
    return {
      added: () => adds(),
      retried: () => retries(),
      waited: (seconds: number) => this.#waited.observe(labels, seconds),
      worked: (seconds: number) => this.#worked.observe(labels, seconds),
    }
  }

  /** `seconds` since the API server was heard of about that kind; undefined: never. */
  observeWatch(kind: string, seconds: () => number | undefined): void {
    this.#watches.set(kind, seconds)
  }

  observeQueue(controller: string, read: QueueGauges): void {
    this.#queues.set(controller, read)
  }

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
      'Reconciles that failed and will not be tried again.',
      labels,
    )
    const panicked = this.#counter(
      'controller_runtime_reconcile_panics_total',
      'Reconciles that a bug ended.',
      labels,
    )
    const timedOut = this.#counter(
      'controller_runtime_reconcile_timeouts_total',
      'Reconciles that took too long.',
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

  leaseMeter(name: string) {
    this.#leading.set({ name }, 0)
    return {
      leading: (leading: boolean) => this.#leading.set({ name }, Number(leading)),
      slowPath: this.#counter(
        'leader_election_slowpath_total',
        'Renewals of the lease that had to read it first.',
        { name },
      ),
    }
  }

  /** Of calls to the API server at `host`, by method and status (`<error>` when there was no answer). */
  restMeter(host: string) {
    return (method: string, code: string) =>
      this.#counter('rest_client_requests_total', 'Calls to the API server, by status, method and host.', {
        code,
        method,
        host,
      })()
  }

  /**
   * Counts one up for each call of what it returns; there from the beginning, as 0, since `rate()` needs a
   * first value.
   */
  #counter(name: string, help: string, labels: Record<string, string>): () => void {
    const counter =
      this.#counters.get(name) ??
      new Counter<string>({ name, help, labelNames: Object.keys(labels), registers: [this.registry] })
    this.#counters.set(name, counter)
    counter.inc(labels, 0)
    return () => counter.inc(labels)
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
