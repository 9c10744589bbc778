// What all sessions of a gateway share.
import type { Broker } from '../broker/broker.js'
import type { Log } from '../log.js'
import type { Metrics } from '../metrics.js'
import type { Presence } from '../presence/presence.js'
import type { Clock, TimerWheel } from '../time.js'
import type { HeartbeatTiming } from './io/heartbeat.js'
import type { InboxBounds } from './io/command-queue.js'
import type { Flusher } from './io/flusher.js'
import type { OutboxBounds } from './io/outbox.js'
import type { Session } from './session.js'
import type { Subscription } from './subscription.js'

/** Who on this gateway gets what the broker brings. The gateway's hub is one. */
export interface ChannelHub {
  /** Resolves when every later publication on the channel reaches the subscription. */
  add(subscription: Subscription): Promise<void>
  remove(subscription: Subscription): void
}

/** Fixed bounds of this gateway, the same for all tenants. */
export interface SessionLimits extends InboxBounds {
  readonly heartbeat: HeartbeatTiming
  readonly outbox: OutboxBounds
  /** From the upgrade to a good connect command; then 3502. */
  readonly connectTimeoutMs: number
  /** A connection with an expired token is closed this long after the expiry, where its client can refresh. */
  readonly expiredCloseDelayMs: number
  /** Publications in one recovery or one history answer, and their bytes. */
  readonly pageMax: number
  readonly pageBytesMax: number
  /** Members in one presence answer. */
  readonly membersMax: number
  /** Above so many people in the lobby, comings and goings are counted and not sent. */
  readonly lobbyAnnounceMax: number
}

export const defaultSessionLimits: SessionLimits = {
  heartbeat: { pingIntervalMs: 25_000, pongTimeoutMs: 8_000 },
  outbox: { bytesMax: 1_048_576, ageMaxMs: 10_000 },
  connectTimeoutMs: 10_000,
  expiredCloseDelayMs: 25_000,
  queuedCommandsMax: 1024,
  publishesInFlightMax: 256,
  errorsInRowMax: 20,
  pageMax: 300,
  pageBytesMax: 524_288,
  membersMax: 1000,
  lobbyAnnounceMax: 200,
}

export interface SessionContext {
  /** All that are not closed, also those that have not connected yet. */
  readonly sessions: Set<Session>
  /** Leaves that are not announced yet: they outlive their sessions, and none of them rejects. */
  readonly departures: Set<Promise<void>>
  readonly broker: Broker
  readonly presence: Presence
  readonly hub: ChannelHub
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly flusher: Flusher
  readonly metrics: Metrics
  readonly log: Log
  readonly limits: SessionLimits
  readonly random: () => number
}
