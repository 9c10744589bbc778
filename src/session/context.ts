// The dependencies and fixed limits that all sessions of a gateway share.
import type { Broker } from '../broker/broker.js'
import type { LimitedLog, Log } from '../log.js'
import type { Metrics } from '../metrics.js'
import type { Presence } from '../presence/presence.js'
import type { CloseCode } from '../protocol/codes.js'
import type { Clock, TimerWheel } from '../time.js'
import type { ArrivalDelay } from './arrival-delay.js'
import type { Flusher } from './io/flusher.js'
import type { HeartbeatTiming } from './io/heartbeat.js'
import type { OutboxBounds } from './io/outbox.js'
import type { FairScheduler } from './sharing/fair-scheduler.js'
import type { MemoryCeiling, MemoryHolder } from './sharing/memory-ceiling.js'
import type { Subscription } from './subscription.js'
import type { TenantRuntime } from './tenant/runtime.js'

/** Delivers the broker's publications to local subscriptions. Implemented by the gateway's hub. */
export interface ChannelHub {
  /** Resolves when every later publication on the channel reaches the subscription. */
  add(subscription: Subscription): Promise<void>
  remove(subscription: Subscription): void
}

/** A session as the gateway counts, moves and closes it. */
export interface OpenSession extends MemoryHolder {
  readonly tenant: TenantRuntime
  readonly connected: boolean
  /** Advises the client to reconnect in `afterMs` milliseconds, where its protocol can express that. */
  adviseReconnect(afterMs: number): void
  close(code: CloseCode): void
}

/** Fixed limits of a gateway, the same for all tenants. */
export interface SessionLimits {
  readonly heartbeat: HeartbeatTiming
  readonly outbox: OutboxBounds
  /** Time from the upgrade to a successful connect command. When it passes, the session closes with 3502. */
  readonly connectTimeoutMs: number
  /**
   * A session with an expired token closes this long after the expiry, where its client can refresh the
   * token.
   */
  readonly expiredCloseDelayMs: number
  /** Commands that may wait in one session; more close it with 3013. */
  readonly queuedCommandsMax: number
  /**
   * Publishes of one session that may wait for their acknowledgement; the next publish waits in the queue.
   */
  readonly publishesInFlightMax: number
  /** Bytes of the publishes of one session that may wait for their acknowledgement. */
  readonly publishBytesInFlightMax: number
  /** Refused or unreadable commands in a row that close the session with 3509. */
  readonly errorsInRowMax: number
  /** Publications in one recovery or one history reply. */
  readonly pageMax: number
  /** Bytes of one recovery, history reply or presence reply, with all fields of its entries. */
  readonly pageBytesMax: number
  /** Members in one presence reply. */
  readonly membersMax: number
  /** With more clients than this in a channel, joins and leaves are counted instead of announced by name. */
  readonly announceMax: number
}

export const defaultSessionLimits: SessionLimits = {
  heartbeat: { pingIntervalMs: 25_000, pongTimeoutMs: 8_000 },
  outbox: { bytesMax: 1_048_576, ageMaxMs: 10_000 },
  connectTimeoutMs: 10_000,
  expiredCloseDelayMs: 25_000,
  queuedCommandsMax: 1024,
  publishesInFlightMax: 256,
  publishBytesInFlightMax: 262_144,
  errorsInRowMax: 20,
  pageMax: 300,
  pageBytesMax: 524_288,
  membersMax: 1000,
  announceMax: 200,
}

export interface SessionContext {
  /** All sessions that are not closed, those that have not connected yet included. */
  readonly sessions: Set<OpenSession>
  /** Leaves that are not announced yet. They outlive their sessions, and none of them rejects. */
  readonly pendingLeaves: Set<Promise<void>>
  readonly broker: Broker
  readonly presence: Presence
  readonly hub: ChannelHub
  readonly clock: Clock
  readonly arrivalDelay: ArrivalDelay
  readonly wheel: TimerWheel
  readonly flusher: Flusher
  /** Divides the time of the event loop among the tenants. */
  readonly scheduler: FairScheduler
  /** Bounds the memory that clients can make the gateway hold. */
  readonly memory: MemoryCeiling
  readonly metrics: Metrics
  readonly log: Log
  /** For lines that one command of a client can cause. */
  readonly limitedLog: LimitedLog
  readonly limits: SessionLimits
  /** Returns a number from 0 to 1, 1 excluded. */
  readonly random: () => number
}
