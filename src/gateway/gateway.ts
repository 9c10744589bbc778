// The gateway: accepts the connections of clients and the requests of backends, keeps the tenants' runtimes
// and their sessions, and delivers the broker's publications to the sessions. This class connects the parts
// and knows neither HTTP nor Kubernetes.
//
// The room src/gateway has three folders: `http/` (the servers, the handshake and the pages for operators),
// `api/` (the server API for backends) and `fleet/` (what gateways do together: control commands, surveys,
// rebalancing, drain). It may import session, protocol, catalog, quota, tenant, auth, and the interfaces of
// broker and presence; only src/cli imports it, except for the HTTP helpers. Start reading here, then follow
// a connection through `http/server.ts`, `http/websocket-endpoints.ts`, `http/handshake.ts` and
// `websocket.ts`, and a delivery through `demultiplexer.ts` and `hub.ts`.
import { randomUUID } from 'node:crypto'
import type { Broker } from '../broker/broker.js'
import { LimitedLog, type Log } from '../log.js'
import { TenantMetrics } from '../metrics-tenants.js'
import { Metrics, type GatewayGauges } from '../metrics.js'
import { presenceTtlMs, type Presence } from '../presence/presence.js'
import { closeCodes, withDetail } from '../protocol/codes.js'
import { ArrivalDelay } from '../session/arrival-delay.js'
import {
  defaultSessionLimits,
  type OpenSession,
  type SessionContext,
  type SessionLimits,
} from '../session/context.js'
import { Flusher } from '../session/io/flusher.js'
import { FairScheduler } from '../session/sharing/fair-scheduler.js'
import { MemoryCeiling, type MemoryHolder, type TenantMemory } from '../session/sharing/memory-ceiling.js'
import type { Session } from '../session/session.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'
import type { Catalog } from '../catalog/catalog.js'
import type { RevocationStore } from '../revocation/store.js'
import type { QuotaLedger } from '../quota/ledger.js'
import { systemAfter, TimerWheel, type Clock } from '../time.js'
import { Demultiplexer } from './demultiplexer.js'
import { CommandFollower, commandHistory, commandsChannel } from './fleet/command-follower.js'
import { CommandSender } from './fleet/command-sender.js'
import { ControlChannel } from './fleet/control.js'
import { Surveys } from './fleet/surveys.js'
import { UserCommands } from './fleet/user-commands.js'
import { UnauthenticatedSockets, type UnauthenticatedLimits } from './http/unauthenticated-sockets.js'
import { GatewayHistoryPolicies } from './history-policies.js'
import { Hub } from './hub.js'
import { GatewayTenants } from './tenants.js'
import { memoryWarnings, tenantGauges } from './tenant-gauges.js'
import { PresenceRefresher } from './presence-refresher.js'

/** How often sessions recheck their keys. The check fetches a key set again when it is ten minutes old. */
const keyRecheckMs = 60_000
/** How often the gateway ends subscriptions to control channels that it needs no longer. */
const commandSweepMs = 10_000

const defaultMemoryBytesMax = 268_435_456

export interface GatewayOptions {
  readonly broker: Broker
  readonly presence: Presence
  readonly catalog: Catalog
  readonly clock: Clock
  readonly log: Log
  /** Counts connections and divides rates among gateways. Absent: this is the only gateway. */
  readonly ledger?: QuotaLedger
  /** Holds the revocations that are made by the server API. Absent: this is the only gateway. */
  readonly revocations?: RevocationStore
  /** Default: `defaultSessionLimits`. */
  readonly limits?: Partial<SessionLimits>
  /**
   * Secrets that sign guest tokens: see `GuestTokensOptions`. Default: a random one, so that guests get a new
   * identity when they reach another gateway.
   */
  readonly guestSecrets?: readonly Uint8Array[] | undefined
  /** True: JWKS URLs may lead to private addresses, for development. Default: false. */
  readonly allowPrivateJwks?: boolean
  /**
   * The largest number of sessions on this gateway; further handshakes are refused with 503. Default:
   * 100,000.
   */
  readonly sessionsMax?: number
  /** Limits of connections without an authenticated client. Default: `defaultUnauthenticatedLimits`. */
  readonly unauthenticatedLimits?: Partial<UnauthenticatedLimits>
  /** The time for which a broker subscription outlives its last local subscriber. Default: 5 s. */
  readonly lingerMs?: number
  /** The number of manifests that could not be used, for `/metrics`. Default: 0. */
  readonly problems?: () => number
  /**
   * Sentences that say which dependency is unavailable, so that the gateway cannot serve new sessions.
   * Default: none.
   */
  readonly unavailableReasons?: () => readonly string[]
  /** The state of the gateway's dependencies, for `/metrics`. Absent: it has none. */
  readonly dependencyStatus?: () => DependencyStatus
  /**
   * When the server certificate expires, in milliseconds since the epoch, for `/metrics`. Absent: the gateway
   * does not speak TLS.
   */
  readonly certificateExpiresMs?: (() => number) | undefined
  /** Reads the state of all gateways, for `/stats`. Absent: this is the only gateway. */
  readonly cluster?: () => Promise<unknown>
  /**
   * Counts the live gateways, this one included; undefined while Redis does not answer. Absent: this is the
   * only gateway.
   */
  readonly countGateways?: () => Promise<number | undefined>
  /**
   * The memory that clients can make the gateway hold, in bytes, before connections are closed. Default: 256
   * MiB.
   */
  readonly memoryBytesMax?: number | undefined
  /** Returns a random number from 0 (inclusive) to 1 (exclusive). Default: `Math.random`. */
  readonly random?: () => number
  /** True: `/metrics` includes the metrics of the process. Default: true. */
  readonly processMetrics?: boolean
}

/** The state of what a gateway depends on. A value is undefined when the gateway has no such dependency. */
export interface DependencyStatus {
  /** Milliseconds since Redis became unavailable; 0 while it is available. */
  readonly redisAwayMs: number | undefined
  /** Milliseconds since the catalog was last confirmed. */
  readonly catalogAgeMs: number | undefined
}

export class Gateway {
  readonly context: SessionContext
  readonly hub: Hub
  readonly metrics: Metrics
  readonly tenantMetrics: TenantMetrics
  readonly log: Log
  readonly sessionsMax: number
  /** Counts the connections to the clients' port whose clients are not authenticated. */
  readonly unauthenticatedSockets: UnauthenticatedSockets
  /** Commands about users on all gateways. */
  readonly userCommands: UserCommands
  readonly surveys: Surveys
  readonly #options: GatewayOptions
  readonly #tenants: GatewayTenants
  readonly #controlChannel: ControlChannel
  readonly #commandFollower: CommandFollower
  #draining = false
  readonly #presenceRefresher: PresenceRefresher

  constructor(options: GatewayOptions) {
    const { broker, catalog, clock, log, presence } = options
    const wheel = new TimerWheel({ clock, onError: (error) => this.reportBug(error, 'a timer failed') })
    const limitedLog = new LimitedLog(log, clock)
    this.#options = options
    this.log = log
    this.sessionsMax = options.sessionsMax ?? 100_000
    this.unauthenticatedSockets = new UnauthenticatedSockets(options.unauthenticatedLimits ?? {}, {
      clock,
      onMajority: (holding) =>
        log.warn(
          holding,
          'one address has more than half of the unauthenticated connections; if it is a proxy, name it in --trusted-proxies',
        ),
    })
    this.metrics = new Metrics(() => this.#gauges(), { process: options.processMetrics ?? true })
    this.tenantMetrics = new TenantMetrics(() => tenantGauges(this.#tenants, broker.storage))
    const scheduler = new FairScheduler({
      clock,
      onError: (error) => this.reportBug(error, 'the work of a tenant failed'),
    })
    const memory = new MemoryCeiling({
      bytesMax: options.memoryBytesMax ?? defaultMemoryBytesMax,
      holdersOf: (held) => this.#holdersOf(held),
      onCut: (connections) => this.metrics.memoryCloses.inc(connections),
      log: limitedLog,
    })
    this.hub = new Hub({
      scheduler,
      memory,
      broker,
      clock,
      wheel,
      log: limitedLog,
      metrics: this.metrics,
      tenantMetrics: this.tenantMetrics,
      lingerMs: options.lingerMs ?? 5_000,
    })
    this.context = {
      sessions: new Set<OpenSession>(),
      pendingLeaves: new Set<Promise<void>>(),
      broker,
      presence,
      hub: this.hub,
      clock,
      arrivalDelay: new ArrivalDelay(clock),
      wheel,
      flusher: new Flusher({ clock, after: systemAfter, scheduler }),
      scheduler,
      memory,
      metrics: this.metrics,
      log,
      limitedLog,
      limits: { ...defaultSessionLimits, ...options.limits },
      random: options.random ?? Math.random,
    }
    this.#presenceRefresher = new PresenceRefresher({ hub: this.hub, presence, log })
    const id = randomUUID()
    const control = new ControlChannel({
      broker,
      id,
      log: limitedLog,
      onSurvey: (survey) => this.surveys.answer(survey),
      onSurveyAnswer: (answer) => this.surveys.onAnswer(answer),
    })
    this.#controlChannel = control
    const sender = new CommandSender({
      clock,
      publish: async ({ policy: { tenantId } }, data) => {
        const ref = { tenantId, channel: commandsChannel }
        await broker.publish(ref, { data }, { history: commandHistory })
      },
    })
    this.userCommands = new UserCommands((tenant, command) => sender.send(tenant, command))
    this.#commandFollower = new CommandFollower({
      broker,
      clock,
      log: limitedLog,
      apply: (tenant, received) => this.userCommands.apply(tenant, received),
    })
    this.surveys = new Surveys({
      id,
      clock,
      wheel,
      sendRequest: (survey) => control.survey(survey),
      sendAnswer: (gateway, answer) => control.answer(gateway, answer),
      countGateways: options.countGateways ?? (async () => 1),
      tenant: (key) => this.#tenants.get(key),
      onAnswerFailed: (error) =>
        limitedLog.warn('survey', { err: error }, 'cannot answer the survey of another gateway'),
    })
    broker.listen(new Demultiplexer({ hub: this.hub, control, commands: this.#commandFollower }))
    broker.storage.govern(
      new GatewayHistoryPolicies({
        tenants: () => this.#tenants,
        byId: (tenantId) => this.#tenants.byId(tenantId),
      }),
    )
    this.#tenants = new GatewayTenants(options, this.context, {
      followCommands: (tenant) => this.#commandFollower.follow(tenant),
      onRemoved: (tenant) => this.#onTenantRemoved(tenant),
    })
    this.#tenants.follow(catalog)
  }

  /** Runs the timers, the control channel and the presence refresh until `signal` aborts. */
  run(signal: AbortSignal): void {
    this.context.wheel.run(signal)
    this.context.arrivalDelay.run(signal)
    this.#controlChannel
      .run(signal)
      .catch((error: unknown) => this.reportBug(error, 'the subscription to the control channel failed'))
    const refresh = setInterval(() => void this.#presenceRefresher.refresh(), presenceTtlMs / 3)
    const recheck = setInterval(() => {
      for (const tenant of this.#tenants) tenant.recheckKeys()
    }, keyRecheckMs)
    const sweep = setInterval(() => this.#commandFollower.sweep(), commandSweepMs)
    const stop = (): void => {
      this.#commandFollower.close()
      clearInterval(refresh)
      clearInterval(sweep)
      clearInterval(recheck)
    }
    signal.addEventListener('abort', stop, { once: true })
  }

  /** Finds a tenant by `<namespace>/<name>`. */
  tenant(key: string): TenantRuntime<Session> | undefined {
    return this.#tenants.get(key)
  }

  get tenants(): Iterable<TenantRuntime<Session>> {
    return this.#tenants
  }

  /** Reads the state of all gateways; undefined when this is the only one. */
  async readCluster(): Promise<unknown> {
    return this.#options.cluster?.()
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Refuses new sessions from now on and makes `/readyz` fail. */
  startDraining(): void {
    this.#draining = true
  }

  /** What operators should know although the gateway is ready, as sentences for `/readyz`. */
  warnings(): string[] {
    return memoryWarnings(this.context.broker.storage)
  }

  /** The reasons why the gateway accepts no new sessions; empty when it is ready. */
  unreadyReasons(): string[] {
    const draining = this.#draining ? ['draining: the gateway is shutting down'] : []
    const { unavailableReason } = this.#controlChannel
    return [
      ...draining,
      ...(unavailableReason === undefined ? [] : [unavailableReason]),
      ...(this.#options.unavailableReasons?.() ?? []),
    ]
  }

  /** Counts a bug in Parley and logs it with its stack, at most one line in ten seconds for each place. */
  reportBug(error: unknown, message: string, fields: object = {}): void {
    this.metrics.bugs.inc()
    this.context.limitedLog.bug('', { ...fields, err: error }, message)
  }

  #onTenantRemoved(tenant: TenantRuntime<Session>): void {
    for (const session of this.context.sessions) {
      if (session.tenant === tenant)
        session.close(withDetail(closeCodes.forceDisconnect, 'the tenant was removed'))
    }
    this.#commandFollower.unfollow(tenant.policy.tenantId)
    this.tenantMetrics.remove(tenant.key)
  }

  /** Finds the sessions of the tenant, those that have not connected yet included. Called rarely. */
  #holdersOf(memory: TenantMemory): { tenant: string; holders: MemoryHolder[] } {
    const holders = [...this.context.sessions].filter((session) => session.tenant.memory === memory)
    return { tenant: holders[0]?.tenant.key ?? '', holders }
  }

  #gauges(): GatewayGauges {
    const { unauthenticatedSockets } = this
    const { catalogAgeMs, redisAwayMs } = this.#options.dependencyStatus?.() ?? {}
    return {
      connections: this.context.sessions.size,
      connectionsMax: this.sessionsMax,
      unauthenticated: unauthenticatedSockets.total,
      unauthenticatedMax: unauthenticatedSockets.limits.max,
      // Each metric reads all gauges, and this one takes time.
      get unauthenticatedOfOneAddress() {
        return unauthenticatedSockets.largest
      },
      subscriptions: this.hub.subscriptions,
      channels: this.hub.channels,
      memory: this.context.memory,
      tenants: this.#tenants.size,
      manifestProblems: this.#options.problems?.() ?? 0,
      ready: this.unreadyReasons().length === 0,
      draining: this.#draining,
      redisAwaySeconds: inSeconds(redisAwayMs),
      redisMemory: this.context.broker.storage.memory(),
      catalogAgeSeconds: inSeconds(catalogAgeMs),
      certificateExpiresSeconds: inSeconds(this.#options.certificateExpiresMs?.()),
    }
  }
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}
