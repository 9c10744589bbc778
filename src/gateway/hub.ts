// Who on this gateway gets what the broker brings. One frame a publication and way of writing it, shared by all its subscribers.
import type {
  Announcement,
  Broker,
  BrokerListener,
  ChannelRef,
  Position,
  Publication,
} from '../broker/broker.js'
import type { Log } from '../log.js'
import type { Metrics } from '../metrics.js'
import { unsubscribeCodes } from '../protocol/codes.js'
import type { Codec, DeltaBase } from '../protocol/commands.js'
import type { TagsFilter } from '../protocol/tags-filter.js'
import type { ChannelHub } from '../session/context.js'
import type { Subscription } from '../session/subscription.js'
import type { TenantRuntime } from '../session/tenant/runtime.js'
import type { Frame } from '../session/transport.js'
import type { Clock, Timer, TimerWheel } from '../time.js'

/** Subscribers of one channel, by the language they speak. */
class LocalChannel {
  readonly ref: ChannelRef
  /** Of the newest subscriber: a tenant that is removed and comes back within the linger is another object. */
  tenant: TenantRuntime
  readonly byCodec = new Map<Codec, Set<Subscription>>()
  /** Set when it was empty for the first time; fires a while after the last time. */
  unsubscribeTimer: Timer | undefined
  size = 0
  /** The broker's subscription; every newcomer waits for it. */
  ready: Promise<void>

  constructor(ref: ChannelRef, tenant: TenantRuntime, ready: Promise<void>) {
    this.ref = ref
    this.tenant = tenant
    this.ready = ready
  }

  add(subscription: Subscription): void {
    const { codec, tenant } = subscription.session
    this.tenant = tenant
    const subscriptions = this.byCodec.get(codec)
    if (subscriptions) subscriptions.add(subscription)
    else this.byCodec.set(codec, new Set([subscription]))
    this.size += 1
  }

  remove(subscription: Subscription): void {
    const { codec } = subscription.session
    const subscriptions = this.byCodec.get(codec)
    if (!subscriptions?.delete(subscription)) return
    this.size -= 1
    if (subscriptions.size === 0) this.byCodec.delete(codec)
  }
}

/** One publication in one codec: a frame for all who take it whole, and one for each publication that others' deltas build on (mostly the one before). */
class PublicationFrames {
  readonly #codec: Codec
  readonly #ref: ChannelRef
  readonly #publication: Publication
  #whole: Frame | undefined
  readonly #byBase = new Map<DeltaBase, Frame>()

  constructor(codec: Codec, ref: ChannelRef, publication: Publication) {
    this.#codec = codec
    this.#ref = ref
    this.#publication = publication
  }

  for(subscription: Subscription): Frame {
    return subscription.delta ? this.#deltaFor(subscription) : (this.#whole ??= this.#frame())
  }

  /** The next delta builds on this publication. */
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

/** One publication and the filters it meets: equal ones are asked once. */
class FilterResults {
  readonly #publication: Publication
  readonly #byKey = new Map<string, boolean>()
  /** Nodes of all that were asked. */
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
  readonly log: Log
  readonly metrics: Metrics
  /** How long the broker's subscription outlives the last local subscriber: people reload pages. */
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

  get channels(): number {
    return this.#channels
  }

  get subscriptions(): number {
    return this.#subscriptions
  }

  async add(subscription: Subscription): Promise<void> {
    const { ref, session } = subscription
    const channel = this.#find(ref) ?? this.#create(ref, session.tenant)
    channel.add(subscription)
    this.#subscriptions += 1
    await channel.ready
  }

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

  /** Live subscriptions by channel, for keeping their presence alive. */
  *liveChannels(): Iterable<{ ref: ChannelRef; subscriptions: Iterable<Subscription> }> {
    for (const channels of this.#tenants.values()) {
      for (const channel of channels.values())
        yield { ref: channel.ref, subscriptions: subscriptionsOf(channel) }
    }
  }

  // ——— What the broker brings ———

  onPublication(ref: ChannelRef, publication: Publication): void {
    const channel = this.#find(ref)
    if (!channel) return
    let deliveries = 0
    // Made for the first that filters: mostly nobody does.
    let verdicts: FilterResults | undefined
    for (const [codec, subscriptions] of channel.byCodec) {
      const frames = new PublicationFrames(codec, ref, publication)
      for (const subscription of subscriptions) {
        if (!subscription.accepts(publication)) continue
        if (subscription.filter) {
          verdicts ??= new FilterResults(publication)
          if (!verdicts.matches(subscription.filter)) continue
        }
        subscription.session.push(frames.for(subscription))
        deliveries += 1
      }
    }
    // Or filters that let nothing pass would cost a tenant nothing.
    channel.tenant.chargeDeliveries(deliveries, verdicts?.evaluatedNodes)
    if (deliveries === 0) return
    const { clock, metrics } = this.#deps
    metrics.deliveries.add(deliveries)
    const delaySeconds = Math.max(0, clock.epochMs() - publication.timeMs) / 1000
    metrics.deliverySeconds.observe(delaySeconds)
    metrics.tenantDeliverySeconds.observe({ tenant: channel.tenant.key }, delaySeconds)
  }

  onAnnouncement(ref: ChannelRef, announcement: Announcement): void {
    const channel = this.#find(ref)
    if (!channel) return
    for (const [codec, subscriptions] of channel.byCodec) {
      const payload = codec.announcement(ref.channel, announcement)
      if (!payload) continue
      const frame: Frame = { payload }
      for (const subscription of subscriptions) {
        if (subscription.live && subscription.joinLeave) subscription.session.push(frame)
      }
    }
  }

  /** Who tracks a position is told, in the words its door has: the subscription goes on from `top`, or ends and is taken up again by the client. */
  onContinuityLost(ref: ChannelRef, top: Position): void {
    const channel = this.#find(ref)
    if (!channel) return
    for (const [codec, subscriptions] of channel.byCodec) {
      const payload = codec.continuityLost(ref.channel, top)
      for (const subscription of subscriptions) {
        if (!subscription.positioned) continue
        // One that is still catching up learns of it with its answer.
        if (!subscription.live) {
          subscription.lose(top)
          continue
        }
        if (!payload) {
          subscription.session.endSubscription(subscription, unsubscribeCodes.insufficientState)
          continue
        }
        subscription.jumpTo(top)
        subscription.session.push({ payload })
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
    // A failed subscription must not be remembered as a good one: the next subscriber tries again.
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
      .catch((error: unknown) => this.#deps.log.warn({ err: error }, 'cannot unsubscribe from the broker'))
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
