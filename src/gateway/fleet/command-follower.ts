// Receives the commands of tenants' backends from all gateways. Each tenant has a control channel of its own,
// which this gateway follows while it has sessions of the tenant. So a gateway receives no commands that it
// has no use for, and a tenant that sends many commands pushes only its own out of the history.
import {
  generationStart,
  historyLimitMax,
  isSameStream,
  type Broker,
  type ChannelRef,
  type Position,
  type Publication,
} from '../../broker/broker.js'
import { pause } from '../../deadline.js'
import { parseJson } from '../../json.js'
import type { LimitedLog } from '../../log.js'
import { closeCodes, withDetail } from '../../protocol/codes.js'
import type { Session } from '../../session/session.js'
import type { TenantRuntime } from '../../session/tenant/runtime.js'
import { systemAfter, type Clock } from '../../time.js'
import { closeGradually } from './close-gradually.js'
import { CommandBatch, UserCommand } from './control-messages.js'
import type { ReceivedCommand } from './user-commands.js'

/**
 * The name of each tenant's control channel. Clients and backends cannot use it: names of channels do not
 * begin with `$`.
 */
export const commandsChannel = '$control'

/**
 * `ttlMs` is longer than a Redis failover and than most interruptions. `size` is what two gateways send in
 * `ttlMs` at their full rate.
 */
export const commandHistory = { size: 12_000, ttlMs: 120_000 }

/** The longest time that the first client of a tenant waits for the control channel to be followed. */
const firstWaitMs = 1_000
const retryMs = 1_000
/** The shortest time between two passes over the sessions of a tenant: each looks at all of them. */
const passIntervalMs = 50
/** How long a tenant without sessions is followed, so that its next client need not wait. */
const lingerMs = 60_000
/** The clocks of the gateway and of Redis may differ by this much. In doubt a command is applied. */
const clockToleranceMs = 5_000
/** The shortest time over which clients are asked to reconnect after commands were missed. */
const reconnectWindowMs = 5_000

export interface CommandFollowerDeps {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: LimitedLog
  /** Applies the commands to the sessions of the tenant. */
  readonly apply: (tenant: TenantRuntime<Session>, received: readonly ReceivedCommand[]) => void
}

interface Followed {
  readonly tenant: TenantRuntime<Session>
  readonly ref: ChannelRef
  /** Aborted when the tenant is no longer followed. */
  readonly ending: AbortController
  /** Pending while new clients should wait for the channel. Undefined afterwards. */
  ready: Promise<void> | undefined
  /** The position of the last message. Undefined until the channel is followed. */
  position: Position | undefined
  /** When a client last connected. */
  wantedMs: number
  readonly waiting: ReceivedCommand[]
  passedMs: number
  cancelPass: (() => void) | undefined
}

export class CommandFollower {
  readonly #deps: CommandFollowerDeps
  /** By tenant id. */
  readonly #followed = new Map<string, Followed>()
  /** Tenants whose sessions may have missed commands that the history still has. */
  readonly #unchecked = new Set<Followed>()
  #checking = false

  constructor(deps: CommandFollowerDeps) {
    this.#deps = deps
  }

  /**
   * Called before a client of the tenant is admitted. Returns undefined when commands for it reach this
   * gateway; otherwise a promise that resolves when they do, or after a second without an answer of Redis.
   * Commands from the time in between are applied when Redis answers. The promise never rejects.
   */
  follow(tenant: TenantRuntime<Session>): Promise<void> | undefined {
    const nowMs = this.#deps.clock.monotonicMs()
    const { tenantId } = tenant.policy
    const known = this.#followed.get(tenantId)
    if (known) {
      known.wantedMs = nowMs
      return known.ready
    }
    const followed: Followed = {
      tenant,
      ref: { tenantId, channel: commandsChannel },
      ending: new AbortController(),
      ready: undefined,
      position: undefined,
      wantedMs: nowMs,
      waiting: [],
      passedMs: -Infinity,
      cancelPass: undefined,
    }
    this.#followed.set(tenantId, followed)
    const subscribed = new AbortController()
    const { signal } = followed.ending
    this.#subscribe(followed)
      .catch((error: unknown) => this.#reportBug(error))
      .finally(() => subscribed.abort())
    followed.ready = pause(firstWaitMs, subscribed.signal, signal).finally(() => (followed.ready = undefined))
    return followed.ready
  }

  /** Ends the subscription of a tenant that was removed. */
  unfollow(tenantId: string): void {
    const followed = this.#followed.get(tenantId)
    if (followed) this.#end(followed)
  }

  /** Ends the subscriptions of tenants that have had no session for a minute. Called periodically. */
  sweep(): void {
    const nowMs = this.#deps.clock.monotonicMs()
    for (const followed of this.#followed.values()) {
      if (followed.tenant.sessions.size > 0) followed.wantedMs = nowMs
      else if (nowMs - followed.wantedMs >= lingerMs) this.#end(followed)
    }
  }

  /** Ends all subscriptions. */
  close(): void {
    for (const followed of this.#followed.values()) this.#end(followed)
  }

  /** Handles a message on the control channel of a tenant. */
  onPublication({ tenantId }: ChannelRef, { data, epoch, offset }: Publication): void {
    const followed = this.#followed.get(tenantId)
    if (!followed) return
    followed.position = { epoch, offset }
    for (const command of this.#parse(tenantId, data)) followed.waiting.push({ command })
    this.#schedulePass(followed)
  }

  /** Handles the broker's notice that messages on the control channel of a tenant are missing. */
  onContinuityLost({ tenantId }: ChannelRef, top: Position): void {
    const followed = this.#followed.get(tenantId)
    if (!followed) return
    const { position, tenant } = followed
    followed.position = top
    const { log } = this.#deps
    const fields = { tenant: tenant.key, sessions: tenant.sessions.size }
    if (position && isSameStream(position.epoch, top.epoch)) {
      // Offsets start again at the first one of a generation after a failover.
      const missed = top.offset - Math.max(position.offset, generationStart(top.offset))
      log.warn(
        `trimmed ${tenant.key}`,
        { ...fields, missed },
        `control stream trimmed: ${missed} messages with commands of tenant ${tenant.key} missed; ` +
          'its clients on this gateway are asked to reconnect',
      )
      this.#reconnectAll(followed).catch((error: unknown) => this.#reportBug(error))
    } else {
      const message =
        'Redis lost its data, so commands about users may be lost; those that it has are applied again'
      log.warn(`lost ${tenant.key}`, fields, message)
      this.#check(followed)
    }
  }

  async #subscribe(followed: Followed): Promise<void> {
    const { broker, log } = this.#deps
    const { ending, ref, tenant } = followed
    while (!ending.signal.aborted) {
      try {
        await broker.subscribe(ref)
        if (ending.signal.aborted) return
        const top = broker.confirmedPosition(ref) ?? (await broker.history(ref, { limit: 0 })).top
        followed.position ??= top
        if (ending.signal.aborted) return
        // Sessions that were opened without waiting any longer may have missed commands.
        if (tenant.sessions.size > 0) this.#check(followed)
        return
      } catch (error) {
        if (ending.signal.aborted) return
        log.warn(
          'follow',
          { err: error, tenant: tenant.key },
          'cannot subscribe to the control channel of the tenant; retrying',
        )
        await pause(retryMs, ending.signal)
      }
    }
  }

  #end(followed: Followed): void {
    const { broker, log } = this.#deps
    const { ending, ref } = followed
    this.#followed.delete(ref.tenantId)
    this.#unchecked.delete(followed)
    followed.cancelPass?.()
    ending.abort()
    // A subscription in progress is dropped too.
    broker
      .unsubscribe(ref)
      .catch((error: unknown) =>
        log.warn(
          'unfollow',
          { err: error, tenantId: ref.tenantId },
          'cannot unsubscribe from the control channel of a tenant',
        ),
      )
  }

  #parse(tenantId: string, data: Uint8Array): UserCommand[] {
    const { log } = this.#deps
    const fields = { tenantId, bytes: data.byteLength }
    const batch = CommandBatch.safeParse(parseJson(Buffer.from(data).toString())).data
    if (!batch) {
      log.warn(`unreadable command ${tenantId}`, fields, 'ignored an unreadable control message')
      return []
    }
    const parsed = batch.commands.map((one) => UserCommand.safeParse(one).data)
    const commands = parsed.filter((command) => command !== undefined)
    // During an upgrade, newer gateways may send kinds that this one does not know.
    if (commands.length < parsed.length)
      log.warn(`command kind ${tenantId}`, fields, 'ignored a control command of an unknown kind')
    return commands
  }

  #schedulePass(followed: Followed): void {
    if (followed.cancelPass) return
    const waitMs = followed.passedMs + passIntervalMs - this.#deps.clock.monotonicMs()
    if (waitMs <= 0) this.#pass(followed)
    else followed.cancelPass = systemAfter(waitMs, () => this.#pass(followed))
  }

  #pass(followed: Followed): void {
    followed.cancelPass = undefined
    followed.passedMs = this.#deps.clock.monotonicMs()
    try {
      this.#deps.apply(followed.tenant, followed.waiting.splice(0))
    } catch (error) {
      this.#reportBug(error)
    }
  }

  /** Applies the commands in the history to the sessions that were open before them. Retries until it can. */
  #check(followed: Followed): void {
    this.#unchecked.add(followed)
    if (!this.#checking) this.#checkAll().catch((error: unknown) => this.#reportBug(error))
  }

  /** Checks one tenant after the other, because there may be thousands after a loss of data. */
  async #checkAll(): Promise<void> {
    this.#checking = true
    try {
      for (const followed of this.#unchecked) {
        this.#unchecked.delete(followed)
        const { signal } = followed.ending
        if (signal.aborted || (await this.#applyHistory(followed))) continue
        // A tenant that is added again is visited again by this loop.
        await pause(retryMs, signal)
        this.#unchecked.add(followed)
      }
    } finally {
      this.#checking = false
    }
  }

  /** Returns false when the history could not be read. */
  async #applyHistory(followed: Followed): Promise<boolean> {
    const { broker, log } = this.#deps
    const received: ReceivedCommand[] = []
    try {
      let since: Position | undefined
      for (let more = true; more;) {
        const { publications } = await broker.history(followed.ref, { limit: historyLimitMax, since })
        for (const { data, epoch, offset, timeMs } of publications) {
          const openedBeforeMs = timeMs + clockToleranceMs
          received.push(
            ...this.#parse(followed.ref.tenantId, data).map((command) => ({ command, openedBeforeMs })),
          )
          since = { epoch, offset }
        }
        more = publications.length === historyLimitMax
      }
    } catch (error) {
      log.warn(
        'check',
        { err: error, tenant: followed.tenant.key },
        'cannot read the missed commands of the tenant from history; retrying',
      )
      return false
    }
    if (received.length === 0 || followed.ending.signal.aborted) return true
    followed.waiting.push(...received)
    this.#schedulePass(followed)
    return true
  }

  /** The missed commands are gone, so the state of every session is built again from its token and policy. */
  async #reconnectAll({ ending, tenant }: Followed): Promise<void> {
    const sessions = [...tenant.sessions]
    if (sessions.length === 0) return
    const { connectsPerSecond } = tenant.policy.limits.connections
    await closeGradually(sessions, {
      code: withDetail(closeCodes.insufficientState, 'commands of the backend were missed'),
      // Half of the rate is left for clients that connect for other reasons.
      windowMs: Math.max(reconnectWindowMs, (2_000 * sessions.length) / Math.max(1, connectsPerSecond)),
      sleep: (ms) => pause(ms, ending.signal),
      isStopped: () => ending.signal.aborted,
    })
  }

  #reportBug(error: unknown): void {
    this.#deps.log.bug('control', { err: error }, 'handling control commands failed')
  }
}
