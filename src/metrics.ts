// The metrics of a gateway. Each metric is defined here, once; metrics per tenant are in metrics-tenants.ts,
// and those of the controller in metrics-controller.ts. Only these files import prom-client; they are leaves
// (see errors.ts).
//
// Labels are few and bounded: never a user, never a channel.
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/**
 * Buckets for the age of recovered publications: from the drain of a gateway to a client that was offline for
 * an hour.
 */
const absenceSeconds = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600]
const latencySeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Values of the gateway that are read at each scrape. */
export interface GatewayGauges {
  readonly connections: number
  readonly connectionsMax: number
  readonly unauthenticated: number
  readonly unauthenticatedMax: number
  readonly unauthenticatedOfOneAddress: number
  readonly subscriptions: number
  readonly channels: number
  /** Bytes that clients make the gateway hold, and their limit. */
  readonly memory: { readonly bytes: number; readonly bytesMax: number }
  readonly tenants: number
  readonly manifestProblems: number
  readonly ready: boolean
  readonly draining: boolean
  // Undefined values have no series: no Redis, no catalog, or no TLS.
  readonly redisAwaySeconds: number | undefined
  readonly redisMemory:
    | { readonly usedBytes: number; readonly maxBytes: number; readonly reserved: boolean }
    | undefined
  readonly catalogAgeSeconds: number | undefined
  readonly certificateExpiresSeconds: number | undefined
}

/**
 * A counter for code that runs for every message: a plain number that is read at each scrape. Looking up a
 * series by its labels every time took a twentieth of the time of a publish.
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

/** Counts handled commands by endpoint, command and result. Result is `ok` or an error code. */
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

/** The metrics of one gateway. */
export class Metrics {
  readonly registry = new Registry()

  readonly connects: Counter<'endpoint' | 'result'>
  readonly closes: Counter<'endpoint' | 'code'>
  readonly handshakeRefusals: Counter<'endpoint' | 'code'>
  readonly requestRefusals: Counter<'code'>
  readonly cutConnections: Counter<'reason'>
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
  readonly slowCloses: Counter
  readonly memoryCloses: Counter
  readonly rebalancedSessions: Counter
  readonly bugs: Counter

  /** `readGauges` is called at each scrape. `process` adds the metrics of the Node process; default true. */
  constructor(readGauges: () => GatewayGauges, options: { process?: boolean } = {}) {
    const registers = [this.registry]
    if (options.process ?? true) collectDefaultMetrics({ register: this.registry })
    const counter = <L extends string = never>(
      name: string,
      help: string,
      labelNames: L[] = [],
    ): Counter<L> => new Counter<L>({ name, help, labelNames, registers })

    this.connects = counter(
      'parley_connects_total',
      'Connect attempts that reached the session, by endpoint and result (ok, or an error code).',
      ['endpoint', 'result'],
    )
    this.closes = counter(
      'parley_closes_total',
      'Closed sessions, by endpoint and close code. 1006 means the connection was lost; other means a code that only the client defines.',
      ['endpoint', 'code'],
    )
    this.handshakeRefusals = counter(
      'parley_handshake_refusals_total',
      'WebSocket handshakes refused with an HTTP status, by endpoint and error code.',
      ['endpoint', 'code'],
    )
    this.requestRefusals = counter(
      'parley_request_refusals_total',
      'Plain HTTP requests refused because of the rate of their address or of the gateway, by error code (ADDRESS_LIMIT, OVERLOADED).',
      ['code'],
    )
    this.cutConnections = counter(
      'parley_cut_connections_total',
      'Connections that the gateway closed before their client was authenticated, by reason: unauthenticated_max and unauthenticated_per_address (too many such connections), pipelining (too many requests before the response to an earlier one), unread_response (the client did not read its response), early_frames (too many bytes before the response to an upgrade), api_key_guessing (too many API calls without a valid key), small_chunks (a body in too many chunks of a few bytes), unread_body (more of a body after the response to its request), proxy_header_missing, proxy_header_malformed and proxy_header_timeout (no valid header of the PROXY protocol).',
      ['reason'],
    )
    this.tlsHandshakeFailures = counter(
      'parley_tls_handshake_failures_total',
      'Failed TLS handshakes, by reason (timeout, cut, plain_http, refused). Always 0 when TLS is terminated before the gateway.',
      ['reason'],
    )
    const { commands } = this
    new Counter({
      name: 'parley_commands_total',
      help: 'Handled commands, by endpoint, command and result (ok, or an error code).',
      labelNames: ['endpoint', 'command', 'result'],
      registers,
      collect() {
        this.reset()
        for (const { total, ...labels } of commands.read()) this.inc(labels, total)
      },
    })
    this.apiRequests = counter(
      'parley_api_requests_total',
      'Requests to the server API, by method and code (ok, or an error code). Each command of a batch counts as a request.',
      ['method', 'code'],
    )
    this.#tallyCounter(
      'parley_publications_total',
      'Publications from this gateway that the broker accepted.',
      this.publications,
    )
    this.#tallyCounter(
      'parley_deliveries_total',
      'Publications written to the outboxes of subscribers.',
      this.deliveries,
    )
    this.#tallyCounter('parley_sent_bytes_total', 'Bytes written to sockets.', this.sentBytes)
    this.recoveries = counter(
      'parley_recoveries_total',
      'Subscriptions that asked to recover missed publications, by result (recovered, or the reason of the failure).',
      ['result'],
    )
    this.slowCloses = counter(
      'parley_slow_closes_total',
      'Sessions closed because the client read too slowly.',
    )
    this.memoryCloses = counter(
      'parley_memory_closes_total',
      'Sessions that the gateway closed with 3008 because parley_gateway_held_bytes exceeded its limit.',
    )
    this.rebalancedSessions = counter(
      'parley_rebalanced_sessions_total',
      'Sessions closed with 3001 to move them to gateways with fewer connections.',
    )
    this.bugs = counter('parley_bugs_total', 'Internal errors caused by bugs. Each is logged with its stack.')
    this.publishSeconds = new Histogram({
      name: 'parley_publish_duration_seconds',
      help: 'Time from a publish command to its acknowledgement.',
      buckets: latencySeconds,
      registers,
    })
    this.apiSeconds = new Histogram({
      name: 'parley_api_request_duration_seconds',
      help: 'Time from a request to the server API to its response, by method.',
      labelNames: ['method'],
      buckets: latencySeconds,
      registers,
    })
    this.deliverySeconds = new Histogram({
      name: 'parley_delivery_delay_seconds',
      help: 'Time from the broker accepting a publication (by the clock of its gateway) to this gateway writing it to the outboxes of subscribers.',
      buckets: latencySeconds,
      registers,
    })
    this.recoveryDelaySeconds = new Histogram({
      name: 'parley_recovery_delay_seconds',
      help: 'Age of the oldest missed publication at the time of its recovery, for subscriptions that missed at least one. The client was disconnected for at least that long.',
      buckets: absenceSeconds,
      registers,
    })
    this.connectSeconds = new Histogram({
      name: 'parley_connect_duration_seconds',
      help: 'Time from the connect command, or the WebSocket handshake on the chat endpoint, to the open session, by endpoint.',
      labelNames: ['endpoint'],
      buckets: latencySeconds,
      registers,
    })
    this.#gatewayGauges(readGauges)
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

  #gatewayGauges(readGauges: () => GatewayGauges): void {
    const gauges: [name: string, help: string, value: (gateway: GatewayGauges) => number | undefined][] = [
      [
        'parley_gateway_connections',
        'Open sessions on this gateway. Autoscaling uses this metric.',
        (gateway) => gateway.connections,
      ],
      [
        'parley_gateway_connections_limit',
        'Largest number of sessions on this gateway; further clients are refused with 503.',
        (gateway) => gateway.connectionsMax,
      ],
      [
        'parley_gateway_unauthenticated_connections',
        'Open connections to the clients’ port whose clients are not authenticated.',
        (gateway) => gateway.unauthenticated,
      ],
      [
        'parley_gateway_unauthenticated_connections_limit',
        'Largest number of unauthenticated connections; the gateway closes further ones at once.',
        (gateway) => gateway.unauthenticatedMax,
      ],
      [
        'parley_gateway_unauthenticated_connections_of_one_address',
        'Unauthenticated connections of the client address that has the most.',
        (gateway) => gateway.unauthenticatedOfOneAddress,
      ],
      [
        'parley_gateway_subscriptions',
        'Subscriptions of this gateway’s sessions.',
        (gateway) => gateway.subscriptions,
      ],
      [
        'parley_gateway_channels',
        'Channels with a subscriber on this gateway.',
        (gateway) => gateway.channels,
      ],
      [
        'parley_gateway_held_bytes',
        'Memory that clients make this gateway hold, in bytes: frames that they have not read yet, and commands and publishes that wait.',
        ({ memory }) => memory.bytes,
      ],
      [
        'parley_gateway_held_bytes_limit',
        'Largest value of parley_gateway_held_bytes; above it, the gateway closes connections of the tenant that holds the most with 3008.',
        ({ memory }) => memory.bytesMax,
      ],
      [
        'parley_gateway_ready',
        '1 when the gateway accepts new sessions, else 0.',
        (gateway) => Number(gateway.ready),
      ],
      [
        'parley_gateway_draining',
        '1 while the gateway drains its sessions before it shuts down, else 0.',
        (gateway) => Number(gateway.draining),
      ],
      ['parley_catalog_tenants', 'Tenants that this gateway serves.', (gateway) => gateway.tenants],
      [
        'parley_catalog_problems',
        'Tenants or manifests whose newest revision this gateway cannot use.',
        (gateway) => gateway.manifestProblems,
      ],
      [
        'parley_redis_away_seconds',
        'Seconds since the first of the missing Redis connections was lost; 0 when all are established. Absent without Redis.',
        (gateway) => gateway.redisAwaySeconds,
      ],
      [
        'parley_redis_memory_used_bytes',
        'Memory that the fullest Redis master uses, in bytes. Absent without Redis.',
        (gateway) => gateway.redisMemory?.usedBytes,
      ],
      [
        'parley_redis_memory_limit_bytes',
        'The maxmemory of the fullest Redis master, in bytes; 0 when it has none. Absent without Redis.',
        (gateway) => gateway.redisMemory?.maxBytes,
      ],
      [
        'parley_redis_memory_reserved',
        '1 while publications with history are refused because Redis is almost full, else 0. Absent without Redis.',
        (gateway) => gateway.redisMemory && Number(gateway.redisMemory.reserved),
      ],
      [
        'parley_catalog_age_seconds',
        'Seconds since the controller last confirmed the tenants that this gateway enforces (+Inf: never). Absent when tenants come from files.',
        (gateway) => gateway.catalogAgeSeconds,
      ],
      [
        'parley_tls_certificate_expiry_timestamp_seconds',
        'Expiry of the TLS certificate that clients see, in seconds since the Unix epoch. Absent when TLS is terminated before the gateway.',
        (gateway) => gateway.certificateExpiresSeconds,
      ],
    ]
    for (const [name, help, value] of gauges) {
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          const now = value(readGauges())
          if (now === undefined) this.remove()
          else this.set(now)
        },
      })
    }
  }
}
