// The metrics per tenant of a gateway. They have a registry of their own, which is served at /metrics/tenants
// and scraped less often. This file is a leaf (see errors.ts).
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/**
 * Buckets of delays per tenant. Few, because each is a series for every tenant on every gateway. 0.25 s is
 * the objective.
 */
const tenantLatencySeconds = [0.05, 0.25, 1]

/**
 * Values of one tenant that are read at each scrape. Totals only grow while this gateway knows the tenant.
 */
export interface TenantGauges {
  readonly tenant: string
  readonly connections: number
  readonly connectionsLimit: number
  readonly guests: number
  readonly guestsLimit: number
  readonly channels: number
  readonly subscriptions: number
  readonly publications: number
  /** Publications by the name of the channel rule. */
  readonly publicationsByRule: ReadonlyMap<string, number>
  readonly deliveries: number
  /** Bytes of frames and API responses that were sent. */
  readonly bytesOut: number
  /** Reads, subscriptions and API calls, refused ones included. */
  readonly reads: number
  readonly joins: number
  readonly apiRequests: number
  readonly publishRateLimit: number
  readonly revocations: number
  /** What the tenant's histories occupy in Redis, the same on all gateways. */
  readonly storedBytes: number
  readonly storedBytesLimit: number
  /** Refused commands and connections by error code. */
  readonly refusals: ReadonlyMap<string, number>
  /** Requests above a limit by the limit's name, also where the plan does not enforce it. */
  readonly excesses: ReadonlyMap<string, number>
}

/** The metrics of all tenants on one gateway. */
export class TenantMetrics {
  readonly registry = new Registry()
  readonly deliverySeconds: Histogram<'tenant'>

  /** `readTenants` is called at each scrape. */
  constructor(readTenants: () => Iterable<TenantGauges>) {
    this.deliverySeconds = new Histogram({
      name: 'parley_tenant_delivery_delay_seconds',
      help: 'Like parley_delivery_delay_seconds, for the publications of the tenant.',
      labelNames: ['tenant'],
      buckets: tenantLatencySeconds,
      registers: [this.registry],
    })
    this.#defineGauges(readTenants)
  }

  /** Removes the series of a tenant that are not rebuilt at each scrape. */
  remove(tenant: string): void {
    this.deliverySeconds.remove({ tenant })
  }

  /**
   * Defines metrics that are rebuilt from the existing tenants at each scrape, so that the series of a
   * removed tenant end.
   */
  #defineGauges(tenants: () => Iterable<TenantGauges>): void {
    const series: [name: string, help: string, value: (tenant: TenantGauges) => number][] = [
      ['parley_tenant_connections', 'Open sessions of the tenant on this gateway.', (t) => t.connections],
      [
        'parley_tenant_connections_limit',
        'Largest number of sessions in the tenant’s quota.',
        (t) => t.connectionsLimit,
      ],
      ['parley_tenant_guests', 'Open sessions of guests of the tenant on this gateway.', (t) => t.guests],
      [
        'parley_tenant_guests_limit',
        'Largest number of sessions of guests in the tenant’s quota.',
        (t) => t.guestsLimit,
      ],
      ['parley_tenant_channels', 'Channels of the tenant in use on this gateway.', (t) => t.channels],
      [
        'parley_tenant_subscriptions',
        'Subscriptions of the tenant’s sessions on this gateway.',
        (t) => t.subscriptions,
      ],
      [
        'parley_tenant_publish_rate_limit',
        'Largest number of publications per second in the tenant’s quota.',
        (t) => t.publishRateLimit,
      ],
      [
        'parley_tenant_revocations',
        'Revocations of the tenant that this gateway holds: of the resource, and those made by the server API.',
        (t) => t.revocations,
      ],
      [
        'parley_tenant_stored_bytes',
        'What the histories of the tenant’s channels occupy in Redis, in bytes. Every gateway reports the same sum.',
        (t) => t.storedBytes,
      ],
      [
        'parley_tenant_stored_bytes_limit',
        'Largest number of bytes that the tenant’s quota allows in histories.',
        (t) => t.storedBytesLimit,
      ],
      [
        'parley_tenant_publications_total',
        'Publications of the tenant accepted on this gateway.',
        (t) => t.publications,
      ],
      [
        'parley_tenant_deliveries_total',
        'Deliveries to subscribers of the tenant on this gateway.',
        (t) => t.deliveries,
      ],
      [
        'parley_tenant_bytes_out_total',
        'Bytes that this gateway has sent to clients and backends of the tenant.',
        (t) => t.bytesOut,
      ],
      [
        'parley_tenant_reads_total',
        'Reads of history and presence by the tenant on this gateway, refused ones included.',
        (t) => t.reads,
      ],
      [
        'parley_tenant_joins_total',
        'Subscriptions of the tenant that began on this gateway, refused ones included.',
        (t) => t.joins,
      ],
      [
        'parley_tenant_api_requests_total',
        'Calls of the server API by the tenant on this gateway, refused ones included.',
        (t) => t.apiRequests,
      ],
    ]
    for (const [name, help, value] of series) {
      new (name.endsWith('_total') ? Counter : Gauge)<'tenant'>({
        name,
        help,
        labelNames: ['tenant'],
        registers: [this.registry],
        collect() {
          this.reset()
          for (const tenant of tenants()) this.inc({ tenant: tenant.tenant }, value(tenant))
        },
      })
    }
    this.#labelledCounter('parley_tenant_refusals_total', {
      help: 'Refused commands and connections of the tenant on this gateway, by error code.',
      label: 'code',
      parts: (tenant) => tenant.refusals,
      tenants,
    })
    this.#labelledCounter('parley_tenant_limit_excesses_total', {
      help: 'Requests of the tenant above a limit on this gateway, by the name of the limit. They are refused where the plan enforces its limits.',
      label: 'limit',
      parts: (tenant) => tenant.excesses,
      tenants,
    })
    this.#labelledCounter('parley_tenant_rule_publications_total', {
      help: 'Publications of the tenant accepted on this gateway, by the name of the channel rule that applies to the channel.',
      label: 'rule',
      parts: (tenant) => tenant.publicationsByRule,
      tenants,
    })
  }

  /**
   * Defines a counter per tenant and one more label. `parts` returns the totals by the value of that label.
   */
  #labelledCounter(
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
      registers: [this.registry],
      collect() {
        this.reset()
        for (const gauges of tenants())
          for (const [part, count] of parts(gauges)) this.inc({ tenant: gauges.tenant, [label]: part }, count)
      },
    })
  }
}
