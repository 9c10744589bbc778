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
  type AnnouncementOptions,
  type DeliveryCost,
  type FanOutState,
  type PublicationOptions,
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

/** The events of a tenant that wait for its turn. */
interface Backlog {
  events: number
  bytes: number
}

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
  readonly #backlogs = new WeakMap<TenantRuntime, Backlog>()
  readonly #fanOut: FanOutState = { isInStep: false }
  readonly #announcementOptions: AnnouncementOptions<LocalChannel> = {
    state: this.#fanOut,
    onStep: ({ tenant }, { deliveries }) => tenant.quota.rates.chargeDeliveries(0, deliveries),
  }
  readonly #publicationOptions: PublicationOptions<LocalChannel> = {
    state: this.#fanOut,
    onStep: (channel, cost) => this.#stepEnded(channel, cost),
    onDone: (channel, publication, deliveries) => this.#delivered(channel, publication, deliveries),
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
    const { epoch, offset } = publication
    const position = offset > 0 ? { epoch, offset } : undefined
    const bytes = publication.data.byteLength
    // A publication must not come before the news that others before it are lost.
    if (channel.pendingLoss || this.#isFull(channel.tenant)) return this.#lose(channel, position)
    const work = new PublicationFanOut(channel, publication, this.#publicationOptions)
    this.#deliver(channel.tenant, work, bytes)
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
    if (this.#isFull(channel.tenant)) return this.#logFull(channel.tenant)
    this.#deliver(channel.tenant, new AnnouncementFanOut(channel, announcement, this.#announcementOptions), 0)
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
    let backlog = this.#backlogs.get(tenant)
    if (!backlog) this.#backlogs.set(tenant, (backlog = { events: 0, bytes: 0 }))
    const counted = backlog
    const count = (sign: 1 | -1): void => {
      counted.events += sign
      counted.bytes += sign * bytes
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

  #isFull(tenant: TenantRuntime): boolean {
    const backlog = this.#backlogs.get(tenant)
    return backlog !== undefined && (backlog.events >= waitingEventsMax || backlog.bytes >= waitingBytesMax)
  }

  /** `position` is undefined for a publication that is not stored: its subscribers miss it. */
  #lose(channel: LocalChannel, position: Position | undefined): void {
    this.#logFull(channel.tenant)
    if (position) this.#announceLoss(channel, position)
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
      'deliveries of the tenant are behind by more than a gateway keeps: subscribers recover from history or miss publications',
    )
  }

  #stepEnded({ tenant }: LocalChannel, { deliveries, filterNodes }: DeliveryCost): void {
    // Evaluated filters are charged too: a tenant whose filters match nothing would otherwise use the CPU for
    // free.
    tenant.quota.rates.chargeDeliveries(deliveries, filterNodes)
    if (deliveries > 0) this.#deps.metrics.deliveries.add(deliveries)
  }

  #delivered({ tenant }: LocalChannel, { timeMs }: Publication, deliveries: number): void {
    if (deliveries === 0) return
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

function* subscriptionsOf(channel: LocalChannel): Iterable<Subscription> {
  for (const subscriptions of channel.byCodec.values()) yield* subscriptions
}
