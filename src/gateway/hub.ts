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
import { unsubscribeCodes } from '../protocol/codes.js'
import type { Codec, DeltaBase } from '../protocol/commands.js'
import type { TagsFilter } from '../protocol/tags-filter.js'
import type { ChannelHub } from '../session/context.js'
import type { Subscription } from '../session/subscription.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'
import type { Frame } from '../session/transport.js'
import type { Clock, Timer, TimerWheel } from '../time.js'

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
  size = 0
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
 * The frames of one publication in one codec: one with the full data, and one delta for each publication that
 * subscribers have as their base (mostly the previous one).
 */
class PublicationFrames {
  readonly #codec: Codec
  readonly #ref: ChannelRef
  readonly #publication: Publication
  #full: Frame | undefined
  readonly #byBase = new Map<DeltaBase, Frame>()

  constructor(codec: Codec, ref: ChannelRef, publication: Publication) {
    this.#codec = codec
    this.#ref = ref
    this.#publication = publication
  }

  for(subscription: Subscription): Frame {
    return subscription.delta ? this.#deltaFor(subscription) : (this.#full ??= this.#frame())
  }

  /** Also makes this publication the base of the subscription's next delta. */
  #deltaFor(subscription: Subscription): Frame {
    const { base } = subscription
    subscription.base = this.#publication
    let frame = this.#byBase.get(base)
    if (!frame) this.#byBase.set(base, (frame = this.#frame(base)))
    return frame
  }

  #frame(base?: DeltaBase): Frame {
    return { payload: this.#codec.publication(this.#ref.channel, this.#publication, base) }
  }
}

/** The results of the tags filters for one publication. Equal filters are evaluated once. */
class FilterResults {
  readonly #publication: Publication
  readonly #byKey = new Map<string, boolean>()
  /** The number of nodes in all evaluated filters. */
  evaluatedNodes = 0

  constructor(publication: Publication) {
    this.#publication = publication
  }

  matches(filter: TagsFilter): boolean {
    let verdict = this.#byKey.get(filter.key)
    if (verdict === undefined) {
      verdict = filter.matches(this.#publication.tags)
      this.#byKey.set(filter.key, verdict)
      this.evaluatedNodes += filter.nodes
    }
    return verdict
  }
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
}

export class Hub implements ChannelHub, BrokerListener {
  readonly #deps: HubDeps
  readonly #tenants = new Map<string, Map<string, LocalChannel>>()
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
    let deliveries = 0
    // Created for the first subscription with a filter: most channels have none.
    let filterResults: FilterResults | undefined
    for (const [codec, subscriptions] of channel.byCodec) {
      const frames = new PublicationFrames(codec, ref, publication)
      for (const subscription of subscriptions) {
        if (!subscription.accepts(publication)) continue
        if (subscription.filter) {
          filterResults ??= new FilterResults(publication)
          if (!filterResults.matches(subscription.filter)) continue
        }
        subscription.client.push(frames.for(subscription))
        deliveries += 1
      }
    }
    // Evaluated filters are charged too: a tenant whose filters match nothing would otherwise use the CPU for
    // free.
    channel.tenant.quota.rates.chargeDeliveries(deliveries, filterResults?.evaluatedNodes)
    if (deliveries === 0) return
    const { clock, metrics, tenantMetrics } = this.#deps
    metrics.deliveries.add(deliveries)
    const delaySeconds = Math.max(0, clock.epochMs() - publication.timeMs) / 1000
    metrics.deliverySeconds.observe(delaySeconds)
    tenantMetrics.deliverySeconds.observe({ tenant: channel.tenant.key }, delaySeconds)
  }

  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    const channel = this.#find(ref)
    if (!channel) return
    let deliveries = 0
    for (const [codec, subscriptions] of channel.byCodec) {
      const payload = codec.announcement(ref.channel, announcement)
      if (!payload) continue
      const frame: Frame = { payload }
      for (const subscription of subscriptions) {
        if (!subscription.live || !subscription.joinLeave) continue
        subscription.client.push(frame)
        deliveries += 1
      }
    }
    channel.tenant.quota.rates.chargeDeliveries(deliveries)
  }

  /**
   * Notifies the subscriptions that track a position. When the codec has a push for it, the subscription
   * continues from `top`. Otherwise the subscription ends with code 2500 and the client subscribes again.
   */
  onContinuityLost(ref: ChannelRef, top: Position): void {
    const channel = this.#find(ref)
    if (!channel) return
    for (const [codec, subscriptions] of channel.byCodec) {
      const payload = codec.continuityLost(ref.channel, top)
      for (const subscription of subscriptions) {
        if (!subscription.positioned) continue
        // A subscription that is still recovering reports the gap in its reply.
        if (!subscription.live) {
          subscription.recordLoss(top)
          continue
        }
        if (!payload) {
          subscription.client.endSubscription(subscription, unsubscribeCodes.insufficientState)
          continue
        }
        subscription.jumpTo(top)
        subscription.client.push({ payload })
      }
    }
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
