// Delivers the broker's publications and announcements to the subscriptions on this gateway. Each publication
// is encoded once per codec, and all subscribers of that codec share the frame.
import type {
  Announcement,
  Broker,
  BrokerListener,
  ChannelRef,
  Position,
  Publication,
} from '../broker/broker.js'
import type { LimitedLog } from '../log.js'
import type { TenantMetrics } from '../metrics-tenants.js'
import type { Metrics } from '../metrics.js'
import type { Codec } from '../protocol/commands.js'
import type { ChannelHub } from '../session/context.js'
import type { FairScheduler } from '../session/sharing/fair-scheduler.js'
import type { MemoryCeiling } from '../session/sharing/memory-ceiling.js'
import type { Work } from '../session/sharing/work-queue.js'
import { LatestEachSecond } from '../session/latest-each-second.js'
import type { Subscription } from '../session/subscription.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'
import type { Clock, Timer, TimerWheel } from '../time.js'
import {
  AnnouncementFanOut,
  ContinuityLostFanOut,
  PublicationFanOut,
  type FanOutOptions,
  type FanOutState,
} from './fan-out.js'

/** The subscriptions of this gateway to one channel, by codec. */
class LocalChannel {
  readonly ref: ChannelRef
  /**
   * The tenant of the newest subscriber. A tenant that is removed and added again within the linger time is a
   * new object.
   */
  tenant: TenantRuntime
  readonly byCodec = new Map<Codec, Set<Subscription>>()
  /** Set when the channel becomes empty for the first time, and rescheduled each time after. */
  unsubscribeTimer: Timer | undefined
  /** The announced numbers of connections. Set once the channel is large. */
  counts: LatestEachSecond<Announcement> | undefined
  size = 0
  /** The position up to which subscriptions are about to be notified of a loss. */
  pendingLoss: Position | undefined
  /** Settles with the broker's subscription. Every new subscription waits for it. */
  ready: Promise<void>

  constructor(ref: ChannelRef, tenant: TenantRuntime, ready: Promise<void>) {
    this.ref = ref
    this.tenant = tenant
    this.ready = ready
  }

  add(subscription: Subscription): void {
    const { codec, tenant } = subscription.client
    this.tenant = tenant
    const subscriptions = this.byCodec.get(codec)
    if (subscriptions) subscriptions.add(subscription)
    else this.byCodec.set(codec, new Set([subscription]))
    this.size += 1
  }

  remove(subscription: Subscription): void {
    const { codec } = subscription.client
    const subscriptions = this.byCodec.get(codec)
    if (!subscriptions?.delete(subscription)) return
    this.size -= 1
    if (subscriptions.size === 0) this.byCodec.delete(codec)
  }
}

/**
 * Publications and announcements of one tenant that may wait for its turn on the event loop, and their bytes.
 * Above it, subscriptions that track a position recover from history, and the others miss publications.
 */
const [waitingEventsMax, waitingBytesMax] = [1_000, 4_194_304]

export interface HubDeps {
  readonly broker: Broker
  readonly clock: Clock
  readonly wheel: TimerWheel
  readonly log: LimitedLog
  readonly metrics: Metrics
  readonly tenantMetrics: TenantMetrics
  /**
   * The time for which the broker's subscription outlives the last local subscriber, because users reload
   * pages.
   */
  readonly lingerMs: number
  readonly scheduler: FairScheduler
  readonly memory: MemoryCeiling
}

export class Hub implements ChannelHub, BrokerListener {
  readonly #deps: HubDeps
  readonly #tenants = new Map<string, Map<string, LocalChannel>>()
  readonly #fanOut: FanOutState = { isInStep: false }
  readonly #fanOutOptions: FanOutOptions<LocalChannel> = {
    state: this.#fanOut,
    onStep: (channel, deliveries, other) => this.#stepEnded(channel, deliveries, other),
    onDone: (channel, publication) => this.#delivered(channel, publication),
  }
  #channels = 0
  #subscriptions = 0

  constructor(deps: HubDeps) {
    this.#deps = deps
  }

  /** The number of channels with a broker subscription. */
  get channels(): number {
    return this.#channels
  }

  /** The number of subscriptions on this gateway. */
  get subscriptions(): number {
    return this.#subscriptions
  }

  /** Resolves when the broker delivers the channel to this gateway. Rejects like `Broker.subscribe`. */
  async add(subscription: Subscription): Promise<void> {
    const { client, ref } = subscription
    const channel = this.#find(ref) ?? this.#create(ref, client.tenant)
    channel.add(subscription)
    this.#subscriptions += 1
    await channel.ready
  }

  /** Removes the subscription. After the linger time, an empty channel is unsubscribed from the broker. */
  remove(subscription: Subscription): void {
    const channel = this.#find(subscription.ref)
    if (!channel) return
    const before = channel.size
    channel.remove(subscription)
    this.#subscriptions -= before - channel.size
    if (channel.size > 0) return
    const { lingerMs, wheel } = this.#deps
    if (channel.unsubscribeTimer) wheel.reschedule(channel.unsubscribeTimer, lingerMs)
    else channel.unsubscribeTimer = wheel.after(lingerMs, () => this.#unsubscribeIfEmpty(channel))
  }

  /** Yields all channels with their subscriptions, so that the gateway can refresh their presence. */
  *liveChannels(): Iterable<{ ref: ChannelRef; subscriptions: Iterable<Subscription> }> {
    for (const channels of this.#tenants.values()) {
      for (const channel of channels.values())
        yield { ref: channel.ref, subscriptions: subscriptionsOf(channel) }
    }
  }

  // ——— BrokerListener ———

  onPublication(ref: ChannelRef, publication: Publication): void {
    const channel = this.#find(ref)
    if (!channel) return
    const isFull = isBehind(channel.tenant)
    if (isFull) this.#logFull(channel.tenant)
    // A publication must not come before the news that others before it are lost.
    if (channel.pendingLoss || isFull) {
      const { epoch, offset } = publication
      // The subscribers miss a publication that is not stored.
      if (offset > 0) this.#announceLoss(channel, { epoch, offset })
      return
    }
    const work = new PublicationFanOut(channel, publication, this.#fanOutOptions)
    this.#deliver(channel.tenant, work, publication.data.byteLength)
  }

  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    const channel = this.#find(ref)
    if (!channel) return
    if (announcement.clients === undefined) return this.#announce(channel, announcement)
    // Each gateway announces counts once a second.
    channel.counts ??= new LatestEachSecond(this.#deps.wheel, {
      deliver: (latest) => this.#announce(channel, latest),
    })
    channel.counts.offer(announcement)
  }

  #announce(channel: LocalChannel, announcement: Announcement): void {
    if (isBehind(channel.tenant)) return this.#logFull(channel.tenant)
    this.#deliver(channel.tenant, new AnnouncementFanOut(channel, announcement, this.#fanOutOptions), 0)
  }

  /** Notifies the subscriptions that track a position; see `ContinuityLostFanOut`. */
  onContinuityLost(ref: ChannelRef, top: Position): void {
    const channel = this.#find(ref)
    if (channel) this.#announceLoss(channel, top)
  }

  // ——— Turns ———

  /** Delivers now if the tenant has time, and counts what waits. */
  #deliver(tenant: TenantRuntime, work: Work, bytes: number): void {
    const { memory, scheduler } = this.#deps
    if (!this.#fanOut.isInStep && scheduler.hasTime(tenant.work)) {
      scheduler.run(tenant.work, work)
      return
    }
    const count = (sign: 1 | -1): void => {
      tenant.backlog.events += sign
      tenant.backlog.bytes += sign * bytes
      memory.add(tenant.memory, sign * bytes)
    }
    count(1)
    scheduler.enqueue(tenant.work, {
      step: () => {
        let isUnfinished = false
        try {
          isUnfinished = work.step()
        } finally {
          if (!isUnfinished) count(-1)
        }
        return isUnfinished
      },
    })
  }

  /** One notice of a loss waits in each channel; further losses move its position. */
  #announceLoss(channel: LocalChannel, top: Position): void {
    const isNew = channel.pendingLoss === undefined
    channel.pendingLoss = top
    if (!isNew) return
    const readTop = (): Position => {
      const newest = channel.pendingLoss ?? top
      channel.pendingLoss = undefined
      return newest
    }
    this.#deliver(channel.tenant, new ContinuityLostFanOut(channel, readTop, this.#fanOut), 0)
  }

  #logFull(tenant: TenantRuntime): void {
    this.#deps.log.warn(
      `fan-out ${tenant.key}`,
      { tenant: tenant.key },
      'dropped deliveries: more events of the tenant wait than this gateway keeps. Subscribers that track a ' +
        'position recover from history; the others miss publications',
    )
  }

  /**
   * `other`: evaluated filters and announcements. A tenant whose filters match nothing would otherwise use
   * the CPU for free.
   */
  #stepEnded({ tenant }: LocalChannel, deliveries: number, other: number): void {
    tenant.quota.rates.chargeDeliveries(deliveries, other)
    if (deliveries > 0) this.#deps.metrics.deliveries.add(deliveries)
  }

  #delivered({ tenant }: LocalChannel, { timeMs }: Publication): void {
    const { clock, metrics, tenantMetrics } = this.#deps
    const delaySeconds = Math.max(0, clock.epochMs() - timeMs) / 1000
    metrics.deliverySeconds.observe(delaySeconds)
    tenantMetrics.deliverySeconds.observe({ tenant: tenant.key }, delaySeconds)
  }

  #find(ref: ChannelRef): LocalChannel | undefined {
    return this.#tenants.get(ref.tenantId)?.get(ref.channel)
  }

  #create(ref: ChannelRef, tenant: TenantRuntime): LocalChannel {
    const channel = new LocalChannel(ref, tenant, this.#deps.broker.subscribe(ref))
    let channels = this.#tenants.get(ref.tenantId)
    if (!channels) this.#tenants.set(ref.tenantId, (channels = new Map()))
    channels.set(ref.channel, channel)
    this.#channels += 1
    // A failed broker subscription is dropped, so that the next subscriber tries again.
    channel.ready.catch(() => {
      this.#subscriptions -= channel.size
      this.#forget(channel)
    })
    return channel
  }

  #unsubscribeIfEmpty(channel: LocalChannel): void {
    if (channel.size > 0 || this.#find(channel.ref) !== channel) return
    this.#forget(channel)
    this.#deps.broker
      .unsubscribe(channel.ref)
      .catch((error: unknown) =>
        this.#deps.log.warn('unsubscribe', { err: error }, 'cannot unsubscribe from the broker'),
      )
  }

  #forget(channel: LocalChannel): void {
    const channels = this.#tenants.get(channel.ref.tenantId)
    if (channels?.get(channel.ref.channel) !== channel) return
    channels.delete(channel.ref.channel)
    if (channels.size === 0) this.#tenants.delete(channel.ref.tenantId)
    this.#channels -= 1
  }
}

/** Returns whether as many events of the tenant wait as may. */
function isBehind({ backlog }: TenantRuntime): boolean {
  return backlog.events >= waitingEventsMax || backlog.bytes >= waitingBytesMax
}

function* subscriptionsOf(channel: LocalChannel): Iterable<Subscription> {
  for (const subscriptions of channel.byCodec.values()) yield* subscriptions
}
