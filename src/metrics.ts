// Every metric of a gateway, named once for the dashboards to come. The one door to prom-client. Leaf:
// imports nothing of ours. Labels are few and bounded: never a user, never a channel. Per-tenant series live
// in a registry of their own, scraped from /metrics/tenants.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/** Few: each is a series of every tenant on every gateway. 0.25 is what is promised. */
const tenantLatencySeconds = [0.05, 0.25, 1]
/** Of people who were away: from a gateway's drain to a night's sleep. */
const absenceSeconds = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600]
const latencySeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Numbers that are read when scraped rather than kept up to date. */
export interface GatewayGauges {
  readonly connections: number
  readonly connectionsMax: number
  readonly subscriptions: number
  readonly channels: number
  readonly tenants: number
  readonly manifestProblems: number
  readonly ready: boolean
  readonly draining: boolean
  /** Undefined where there is nothing to wait for: no series then. */
  readonly redisAwaySeconds: number | undefined
  readonly catalogAgeSeconds: number | undefined
  readonly certificateExpiresSeconds: number | undefined
}

/** One tenant's numbers when scraped; totals only grow while the tenant is known to this gateway. */
export interface TenantGauges {
  readonly tenant: string
  readonly connections: number
  readonly connectionsLimit: number
  readonly channels: number
  readonly subscriptions: number
  readonly publications: number
  /** By name of the channel rule. */
  readonly publicationsByRule: ReadonlyMap<string, number>
  readonly deliveries: number
  readonly publishRateLimit: number
  readonly refusals: ReadonlyMap<string, number>
}

/**
 * A counter on a path that every message takes: a plain number, read when it is scraped. Looking a series up
 * by its labels each time was a twentieth of what a publish costs.
 */
export class Tally {
  #total = 0

  get total(): number {
    return this.#total
  }

  add(count = 1): void {
    this.#total += count
  }
}

/** Commands answered, by endpoint, command and result. */
export class CommandTally {
  readonly #byEndpoint = new Map<string, Map<string, Map<string, Tally>>>()

  add(endpoint: string, command: string, result: string): void {
    let byCommand = this.#byEndpoint.get(endpoint)
    if (!byCommand) this.#byEndpoint.set(endpoint, (byCommand = new Map()))
    let byResult = byCommand.get(command)
    if (!byResult) byCommand.set(command, (byResult = new Map()))
    let tally = byResult.get(result)
    if (!tally) byResult.set(result, (tally = new Tally()))
    tally.add()
  }

  *read(): Iterable<{ endpoint: string; command: string; result: string; total: number }> {
    for (const [endpoint, byCommand] of this.#byEndpoint) {
      for (const [command, byResult] of byCommand)
        for (const [result, { total }] of byResult) yield { endpoint, command, result, total }
    }
  }
}

export class Metrics {
  readonly registry = new Registry()
  readonly tenantRegistry = new Registry()

  readonly connects: Counter<'endpoint' | 'result'>
  readonly closes: Counter<'endpoint' | 'code'>
  readonly handshakeRefusals: Counter<'endpoint' | 'code'>
  readonly tlsHandshakeFailures: Counter<'reason'>
  readonly commands = new CommandTally()
  readonly apiRequests: Counter<'method' | 'code'>
  readonly apiSeconds: Histogram<'method'>
  readonly publications = new Tally()
  readonly deliveries = new Tally()
  readonly sentBytes = new Tally()
  readonly publishSeconds: Histogram
  readonly deliverySeconds: Histogram
  readonly connectSeconds: Histogram<'endpoint'>
  readonly recoveries: Counter<'result'>
  readonly recoveryDelaySeconds: Histogram
  readonly tenantDeliverySeconds: Histogram<'tenant'>
  readonly slowCloses: Counter
  readonly rebalancedSessions: Counter
  readonly bugs: Counter

  constructor(
    read: { gateway(): GatewayGauges; tenants(): Iterable<TenantGauges> },
    options: { process?: boolean } = {},
  ) {
    const registers = [this.registry]
    if (options.process ?? true) collectDefaultMetrics({ register: this.registry })
    const counter = <L extends string = never>(
      name: string,
      help: string,
      labelNames: L[] = [],
    ): Counter<L> => new Counter<L>({ name, help, labelNames, registers })

    this.connects = counter(
      'parley_connects_total',
      'Sessions that asked to connect, by endpoint and result (ok, or an error code).',
      ['endpoint', 'result'],
    )
    this.closes = counter(
      'parley_closes_total',
      'Sessions ended, by endpoint and close code (1006: the line was cut; other: a number of the client’s own).',
      ['endpoint', 'code'],
    )
    this.handshakeRefusals = counter(
      'parley_handshake_refusals_total',
      'Upgrades refused with an HTTP status, by endpoint and error code.',
      ['endpoint', 'code'],
    )
    this.tlsHandshakeFailures = counter(
      'parley_tls_handshake_failures_total',
      'TLS handshakes that came to nothing, by reason (timeout, cut, plain_http, refused). None where TLS ends before the gateway.',
      ['reason'],
    )
    const { commands } = this
    new Counter({
      name: 'parley_commands_total',
      help: 'Commands answered, by endpoint, command and result (ok, or an error code).',
      labelNames: ['endpoint', 'command', 'result'],
      registers,
      collect() {
        this.reset()
        for (const { total, ...labels } of commands.read()) this.inc(labels, total)
      },
    })
    this.apiRequests = counter(
      'parley_api_requests_total',
      'Requests to the server API answered, by method and code (ok, or an error code). Those inside a batch count too.',
      ['method', 'code'],
    )
    this.#tallyCounter(
      'parley_publications_total',
      'Publications that the broker accepted from this gateway.',
      this.publications,
    )
    this.#tallyCounter(
      'parley_deliveries_total',
      'Publications handed to subscribers’ outboxes.',
      this.deliveries,
    )
    this.#tallyCounter('parley_sent_bytes_total', 'Bytes handed to sockets.', this.sentBytes)
    this.recoveries = counter(
      'parley_recoveries_total',
      'Subscriptions that asked to recover, by result (recovered, or why not).',
      ['result'],
    )
    this.slowCloses = counter('parley_slow_closes_total', 'Sessions cut because they read too slowly.')
    this.rebalancedSessions = counter(
      'parley_rebalanced_sessions_total',
      'Sessions sent away (3001) since other gateways had more room.',
    )
    this.bugs = counter('parley_bugs_total', 'Faults of our own: each has a stack in the log.')
    this.publishSeconds = new Histogram({
      name: 'parley_publish_duration_seconds',
      help: 'From a publish command to its acknowledgement.',
      buckets: latencySeconds,
      registers,
    })
    this.apiSeconds = new Histogram({
      name: 'parley_api_request_duration_seconds',
      help: 'From a request to the server API to its answer, by method.',
      labelNames: ['method'],
      buckets: latencySeconds,
      registers,
    })
    this.deliverySeconds = new Histogram({
      name: 'parley_delivery_delay_seconds',
      help: 'From the broker taking a publication (its gateway’s clock) to this gateway handing it to its subscribers’ outboxes.',
      buckets: latencySeconds,
      registers,
    })
    this.recoveryDelaySeconds = new Histogram({
      name: 'parley_recovery_delay_seconds',
      help: 'Of subscriptions that came back and had missed something: how old the oldest of that was when they got it. They were away at least as long.',
      buckets: absenceSeconds,
      registers,
    })
    this.tenantDeliverySeconds = new Histogram({
      name: 'parley_tenant_delivery_delay_seconds',
      help: 'As parley_delivery_delay_seconds, of the tenant’s publications.',
      labelNames: ['tenant'],
      buckets: tenantLatencySeconds,
      registers: [this.tenantRegistry],
    })
    this.connectSeconds = new Histogram({
      name: 'parley_connect_duration_seconds',
      help: 'From the connect command (or the upgrade request) to the session being open, by endpoint.',
      labelNames: ['endpoint'],
      buckets: latencySeconds,
      registers,
    })
    this.#gauge(
      'parley_gateway_connections',
      'Open sessions on this gateway: what autoscaling looks at.',
      () => read.gateway().connections,
    )
    this.#gauge(
      'parley_gateway_connections_limit',
      'Sessions that this gateway takes; more are sent elsewhere.',
      () => read.gateway().connectionsMax,
    )
    this.#gauge(
      'parley_gateway_subscriptions',
      'Subscriptions of this gateway’s sessions.',
      () => read.gateway().subscriptions,
    )
    this.#gauge(
      'parley_gateway_channels',
      'Channels with a subscriber on this gateway.',
      () => read.gateway().channels,
    )
    this.#gauge('parley_gateway_ready', '1 when the gateway takes new sessions.', () =>
      Number(read.gateway().ready),
    )
    this.#gauge('parley_gateway_draining', '1 while the gateway sends its sessions elsewhere.', () =>
      Number(read.gateway().draining),
    )
    this.#gauge('parley_catalog_tenants', 'Tenants that this gateway serves.', () => read.gateway().tenants)
    this.#gauge(
      'parley_catalog_problems',
      'Manifests that could not be used.',
      () => read.gateway().manifestProblems,
    )
    this.#gauge(
      'parley_redis_away_seconds',
      'For how long the Redis connection that is missing longest is away; 0 when all are there. No series without Redis.',
      () => read.gateway().redisAwaySeconds,
    )
    this.#gauge(
      'parley_catalog_age_seconds',
      'Since what is in force was known to be what the controller wants (+Inf: never). No series where tenants come from files.',
      () => read.gateway().catalogAgeSeconds,
    )
    this.#gauge(
      'parley_tls_certificate_expiry_timestamp_seconds',
      'When the certificate that clients are shown expires, since the epoch. No series where TLS ends before the gateway.',
      () => read.gateway().certificateExpiresSeconds,
    )
    this.#tenantMetrics(() => read.tenants())
  }

  /** Its series end with it: those that are not read anew at each scrape. */
  removeTenant(tenant: string): void {
    this.tenantDeliverySeconds.remove({ tenant })
  }

  #tallyCounter(name: string, help: string, tally: Tally): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(tally.total)
      },
    })
  }

  #gauge(name: string, help: string, value: () => number | undefined): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        const now = value()
        if (now === undefined) this.remove()
        else this.set(now)
      },
    })
  }

  /** Set anew at each scrape from the tenants that exist, so that a removed tenant's series end with it. */
  #tenantMetrics(tenants: () => Iterable<TenantGauges>): void {
    const series: [name: string, help: string, value: (tenant: TenantGauges) => number][] = [
      ['parley_tenant_connections', 'Open sessions of the tenant on this gateway.', (t) => t.connections],
      [
        'parley_tenant_connections_limit',
        'Sessions that the tenant’s quota allows.',
        (t) => t.connectionsLimit,
      ],
      ['parley_tenant_channels', 'Channels of the tenant in use on this gateway.', (t) => t.channels],
      [
        'parley_tenant_subscriptions',
        'Subscriptions of the tenant’s sessions on this gateway.',
        (t) => t.subscriptions,
      ],
      [
        'parley_tenant_publish_rate_limit',
        'Publications per second that the tenant’s quota allows.',
        (t) => t.publishRateLimit,
      ],
      [
        'parley_tenant_publications_total',
        'Publications accepted from the tenant on this gateway.',
        (t) => t.publications,
      ],
      [
        'parley_tenant_deliveries_total',
        'Deliveries to the tenant’s subscribers on this gateway.',
        (t) => t.deliveries,
      ],
    ]
    for (const [name, help, value] of series) {
      new (name.endsWith('_total') ? Counter : Gauge)<'tenant'>({
        name,
        help,
        labelNames: ['tenant'],
        registers: [this.tenantRegistry],
        collect() {
          this.reset()
          for (const tenant of tenants()) this.inc({ tenant: tenant.tenant }, value(tenant))
        },
      })
    }
    this.#labelledTenantCounter('parley_tenant_refusals_total', {
      help: 'Commands and connections of the tenant refused on this gateway, by error code.',
      label: 'code',
      parts: (tenant) => tenant.refusals,
      tenants,
    })
    this.#labelledTenantCounter('parley_tenant_rule_publications_total', {
      help: 'Publications accepted from the tenant on this gateway, by the channel rule (its name) that the channel has its settings from.',
      label: 'rule',
      parts: (tenant) => tenant.publicationsByRule,
      tenants,
    })
  }

  /** Counters of a tenant's, told apart by one more label. */
  #labelledTenantCounter(
    name: string,
    {
      help,
      label,
      parts,
      tenants,
    }: {
      help: string
      label: string
      parts: (tenant: TenantGauges) => ReadonlyMap<string, number>
      tenants: () => Iterable<TenantGauges>
    },
  ): void {
    new Counter({
      name,
      help,
      labelNames: ['tenant', label],
      registers: [this.tenantRegistry],
      collect() {
        this.reset()
        for (const gauges of tenants())
          for (const [part, count] of parts(gauges)) this.inc({ tenant: gauges.tenant, [label]: part }, count)
      },
    })
  }
}
