// One gateway: its tenants, their sessions and what they share. Knows no HTTP and no Kubernetes.
import { randomUUID } from 'node:crypto'
import type { Broker, ClientInfo } from '../broker/broker.js'
import type { Log } from '../log.js'
import { Metrics, type GatewayGauges, type TenantGauges } from '../metrics.js'
import { presenceTtlMs, type Presence } from '../presence/presence.js'
import { closeCodes, withDetail } from '../protocol/codes.js'
import { defaultSessionLimits, type SessionContext, type SessionLimits } from '../session/context.js'
import { Flusher } from '../session/io/flusher.js'
import type { Session } from '../session/session.js'
import { TenantRuntime } from '../session/tenant/runtime.js'
import type { Catalog, CatalogChange } from '../catalog/catalog.js'
import { tenantKey, type TenantPolicy } from '../tenant/policy.js'
import { LocalLedger } from '../quota/local.js'
import type { QuotaLedger } from '../quota/ledger.js'
import { systemAfter, TimerWheel, type Clock } from '../time.js'
import { ControlChannel } from './fleet/control.js'
import { Hub } from './hub.js'
import { UserCommands } from './fleet/user-commands.js'
import { Surveys } from './fleet/surveys.js'

/** A key set is fetched again when it is ten minutes old and somebody asks. */
const keyRecheckMs = 60_000

export interface GatewayOptions {
  readonly broker: Broker
  readonly presence: Presence
  readonly catalog: Catalog
  readonly clock: Clock
  readonly log: Log
  /** Counts connections and divides rates among gateways. Absent: this gateway is alone. */
  readonly ledger?: QuotaLedger
  readonly limits?: Partial<SessionLimits>
  readonly allowPrivateJwks?: boolean
  /** Sessions on this gateway; more are sent elsewhere with 503. */
  readonly sessionsMax?: number
  /** How long a broker subscription outlives its last local subscriber. */
  readonly lingerMs?: number
  /** Manifests that could not be used, for `/metrics`. */
  readonly problems?: () => number
  /** Why new sessions cannot be served just now, as sentences: what the gateway depends on is away. */
  readonly unavailableReasons?: () => readonly string[]
  /** For `/metrics`: since when what the gateway depends on is away or unconfirmed. Absent: it depends on nothing. */
  readonly dependencyStatus?: () => DependencyStatus
  /** When the certificate that clients are shown expires, since the epoch, for `/metrics`. Absent: TLS ends before the gateway. */
  readonly certificateExpiresMs?: (() => number) | undefined
  /** All gateways together, for `/stats`. Absent: this gateway is alone. */
  readonly cluster?: () => Promise<unknown>
  /** Gateways that live, this one included; undefined while nobody can tell. Absent: this gateway is alone. */
  readonly countGateways?: () => Promise<number | undefined>
  readonly random?: () => number
  readonly processMetrics?: boolean
}

/** Undefined where there is no such thing to wait for. */
export interface DependencyStatus {
  readonly redisAwayMs: number | undefined
  readonly catalogAgeMs: number | undefined
}

export class Gateway {
  readonly context: SessionContext
  readonly hub: Hub
  readonly metrics: Metrics
  readonly log: Log
  readonly sessionsMax: number
  /** About users, on whatever gateway they are. */
  readonly userCommands: UserCommands
  readonly surveys: Surveys
  readonly #options: GatewayOptions
  readonly #ledger: QuotaLedger
  readonly #tenants = new Map<string, TenantRuntime>()
  readonly #controlChannel: ControlChannel
  #draining = false
  #refreshingPresence = false

  constructor(options: GatewayOptions) {
    const { broker, catalog, clock, log, presence } = options
    const wheel = new TimerWheel({ clock, onError: (error) => this.reportBug(error, 'a timer failed') })
    this.#options = options
    this.#ledger = options.ledger ?? new LocalLedger()
    this.log = log
    this.sessionsMax = options.sessionsMax ?? 100_000
    this.metrics = new Metrics(
      { gateway: () => this.#gauges(), tenants: () => this.#tenantGauges() },
      { process: options.processMetrics ?? true },
    )
    this.hub = new Hub({
      broker,
      clock,
      wheel,
      log,
      metrics: this.metrics,
      lingerMs: options.lingerMs ?? 5_000,
    })
    this.context = {
      sessions: new Set<Session>(),
      pendingLeaves: new Set<Promise<void>>(),
      broker,
      presence,
      hub: this.hub,
      clock,
      wheel,
      flusher: new Flusher({ clock, after: systemAfter }),
      metrics: this.metrics,
      log,
      limits: { ...defaultSessionLimits, ...options.limits },
      random: options.random ?? Math.random,
    }
    const id = randomUUID()
    const control = new ControlChannel({
      broker,
      id,
      listener: this.hub,
      log,
      onCommand: (order) =>
        order.kind === 'survey' ? this.surveys.answer(order) : this.userCommands.apply(order),
      onSurveyAnswer: (answer) => this.surveys.onAnswer(answer),
    })
    this.#controlChannel = control
    const tenant = (key: string): TenantRuntime | undefined => this.#tenants.get(key)
    this.userCommands = new UserCommands({ send: (order) => control.send(order), tenant })
    this.surveys = new Surveys({
      id,
      wheel,
      sendRequest: (survey) => control.send(survey),
      sendAnswer: (gateway, answer) => control.answer(gateway, answer),
      countGateways: options.countGateways ?? (async () => 1),
      tenant,
      onAnswerFailed: (error) => log.warn({ err: error }, 'a question of another gateway could not be answered'),
    })
    broker.listen(this.#controlChannel)
    for (const policy of catalog.all()) this.#putTenant(policy)
    catalog.listen({ changed: (change) => this.#onCatalogChange(change) })
  }

  /** Timers and presence, until `signal` ends them. */
  run(signal: AbortSignal): void {
    this.context.wheel.run(signal)
    this.#controlChannel.run(signal).catch((error: unknown) => this.reportBug(error, 'orders are not heard'))
    const refresh = setInterval(() => void this.#refreshPresence(), presenceTtlMs / 3)
    const recheck = setInterval(() => {
      for (const tenant of this.#tenants.values()) tenant.recheckKeys()
    }, keyRecheckMs)
    const stop = (): void => {
      clearInterval(refresh)
      clearInterval(recheck)
    }
    signal.addEventListener('abort', stop, { once: true })
  }

  /** By `<namespace>/<name>`. */
  tenant(key: string): TenantRuntime | undefined {
    return this.#tenants.get(key)
  }

  get tenants(): Iterable<TenantRuntime> {
    return this.#tenants.values()
  }

  /** What all gateways together say of themselves; undefined when this one is alone. */
  async readCluster(): Promise<unknown> {
    return this.#options.cluster?.()
  }

  get draining(): boolean {
    return this.#draining
  }

  /** No new sessions from here on; `/readyz` says so. */
  startDraining(): void {
    this.#draining = true
  }

  /** Why no new sessions can be taken; empty when all is well. */
  unreadyReasons(): string[] {
    const draining = this.#draining ? ['draining: the gateway is shutting down'] : []
    const { unavailableReason: trouble } = this.#controlChannel
    return [...draining, ...(trouble === undefined ? [] : [trouble]), ...(this.#options.unavailableReasons?.() ?? [])]
  }

  /** Our own fault: counted, and in the log with its stack. */
  reportBug(error: unknown, what: string, facts: object = {}): void {
    this.metrics.bugs.inc()
    this.log.error({ ...facts, err: error }, what)
  }

  #onCatalogChange(change: CatalogChange): void {
    if (change.kind === 'put') this.#putTenant(change.policy)
    else this.#removeTenant(tenantKey(change.policy))
  }

  #putTenant(policy: TenantPolicy): void {
    const key = tenantKey(policy)
    const existing = this.#tenants.get(key)
    // The same name with another identity is another tenant: nothing is inherited, least of all connections.
    if (existing && existing.policy.tenantId !== policy.tenantId) this.#removeTenant(key)
    else if (existing) return existing.update(policy)
    const { clock, log } = this.context
    this.#tenants.set(
      key,
      new TenantRuntime(policy, {
        clock,
        log,
        allowPrivateJwks: this.#options.allowPrivateJwks ?? false,
        ledger: this.#ledger,
      }),
    )
  }

  #removeTenant(key: string): void {
    const tenant = this.#tenants.get(key)
    if (!tenant) return
    this.#tenants.delete(key)
    for (const session of this.context.sessions) {
      if (session.tenant === tenant)
        session.close(withDetail(closeCodes.forceDisconnect, 'the tenant was removed'))
    }
    tenant.close()
    this.metrics.removeTenant(key)
  }

  /** All channels at once: the presence bounds what it has under way. */
  async #refreshPresence(): Promise<void> {
    // Away for longer than an interval: one round of questions is enough.
    if (this.#refreshingPresence) return
    this.#refreshingPresence = true
    const refreshes: Promise<void>[] = []
    for (const { ref, subscriptions } of this.hub.liveChannels()) {
      const entries = new Map<string, ClientInfo>()
      for (const subscription of subscriptions) {
        if (subscription.live && subscription.present) entries.set(subscription.session.id, subscription.info)
      }
      if (entries.size > 0) refreshes.push(this.context.presence.refresh(ref, entries))
    }
    const failed = (await Promise.allSettled(refreshes)).filter((result) => result.status === 'rejected')
    this.#refreshingPresence = false
    if (failed.length > 0)
      this.log.warn(
        { err: failed[0]?.reason, channels: failed.length },
        'cannot refresh presence; it is tried again',
      )
  }

  #gauges(): GatewayGauges {
    const { catalogAgeMs, redisAwayMs } = this.#options.dependencyStatus?.() ?? {}
    return {
      connections: this.context.sessions.size,
      connectionsMax: this.sessionsMax,
      subscriptions: this.hub.subscriptions,
      channels: this.hub.channels,
      tenants: this.#tenants.size,
      manifestProblems: this.#options.problems?.() ?? 0,
      ready: this.unreadyReasons().length === 0,
      draining: this.#draining,
      redisAwaySeconds: inSeconds(redisAwayMs),
      catalogAgeSeconds: inSeconds(catalogAgeMs),
      certificateExpiresSeconds: inSeconds(this.#options.certificateExpiresMs?.()),
    }
  }

  *#tenantGauges(): Iterable<TenantGauges> {
    for (const tenant of this.#tenants.values()) {
      const { connections, messages } = tenant.policy.limits
      yield {
        tenant: tenant.key,
        connections: tenant.connections,
        connectionsLimit: connections.max,
        channels: tenant.channels.count(),
        subscriptions: tenant.subscriptionsTotal,
        publications: tenant.publicationsTotal,
        publicationsByRule: tenant.publicationsByRule,
        deliveries: tenant.deliveriesTotal,
        publishRateLimit: messages.publishPerSecond,
        refusals: tenant.refusals,
      }
    }
  }
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}
