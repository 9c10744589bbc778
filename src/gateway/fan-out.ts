// The delivery of one event of a channel to its subscriptions on this gateway. A delivery to many
// subscriptions takes long, so it is divided into steps: between them, other tenants have their turn. The
// events of a tenant are delivered one after the other, so that each subscription receives them in their
// order.
import type { Announcement, ChannelRef, Position, Publication } from '../broker/broker.js'
import { unsubscribeCodes } from '../protocol/codes.js'
import type { Codec, DeltaBase } from '../protocol/commands.js'
import type { TagsFilter } from '../protocol/tags-filter.js'
import type { Work } from '../session/sharing/work-queue.js'
import type { Subscription } from '../session/subscription.js'
import type { Frame } from '../session/transport.js'

/** Subscriptions that are visited in one step. */
const visitsPerStep = 32

/** What an event needs of its channel. */
export interface FanOutChannel {
  readonly ref: ChannelRef
  readonly byCodec: ReadonlyMap<Codec, ReadonlySet<Subscription>>
}

/** Shared by the events of one hub. */
export interface FanOutState {
  /** True during a step. Events that the step causes come after it. */
  isInStep: boolean
}

/**
 * A subscription that is added between two steps is visited too: it knows by its position whether it has the
 * publication already.
 */
abstract class FanOut<Channel extends FanOutChannel> implements Work {
  protected readonly channel: Channel
  readonly #state: FanOutState
  readonly #codecs: Iterator<[Codec, ReadonlySet<Subscription>]>
  #subscriptions: Iterable<Subscription> | undefined

  constructor(channel: Channel, state: FanOutState) {
    this.channel = channel
    this.#state = state
    this.#codecs = channel.byCodec.entries()
  }

  step(): boolean {
    this.#state.isInStep = true
    try {
      return this.#visitSome()
    } finally {
      this.#state.isInStep = false
    }
  }

  #visitSome(): boolean {
    let visits = 0
    for (;;) {
      if (!this.#subscriptions) {
        const next = this.#codecs.next()
        if (next.done) {
          this.stepEnded(true)
          return false
        }
        const [codec, subscriptions] = next.value
        if (!this.begin(codec)) continue
        // The iterator of a Set continues where a loop over it was left.
        this.#subscriptions = subscriptions.values()
      }
      for (const subscription of this.#subscriptions) {
        this.visit(subscription)
        visits += 1
        if (visits < visitsPerStep) continue
        this.stepEnded(false)
        return true
      }
      this.#subscriptions = undefined
    }
  }

  /** Called before the subscriptions of a codec. Returns false when they have nothing to receive. */
  protected abstract begin(codec: Codec): boolean
  protected abstract visit(subscription: Subscription): void
  protected stepEnded(_isLast: boolean): void {}
}

export interface FanOutOptions<Channel> {
  readonly state: FanOutState
  /** Called after each step with what is charged for it: see `TenantRates.chargeDeliveries`. */
  readonly onStep: (channel: Channel, deliveries: number, other: number) => void
  /** Called after the last step of a publication that at least one subscription has received. */
  readonly onDone: (channel: Channel, publication: Publication) => void
}

export class PublicationFanOut<Channel extends FanOutChannel> extends FanOut<Channel> {
  readonly #publication: Publication
  readonly #options: FanOutOptions<Channel>
  #frames: PublicationFrames | undefined
  /** Created for the first subscription with a filter: most channels have none. */
  #filterResults: FilterResults | undefined
  /** The deliveries of this step. */
  #deliveries = 0
  #isDelivered = false

  constructor(channel: Channel, publication: Publication, options: FanOutOptions<Channel>) {
    super(channel, options.state)
    this.#publication = publication
    this.#options = options
  }

  protected override begin(codec: Codec): boolean {
    this.#frames = new PublicationFrames(codec, this.channel.ref, this.#publication)
    return true
  }

  protected override visit(subscription: Subscription): void {
    if (!this.#frames || !subscription.accepts(this.#publication)) return
    if (subscription.filter) {
      this.#filterResults ??= new FilterResults(this.#publication)
      if (!this.#filterResults.matches(subscription.filter)) return
    }
    subscription.client.push(this.#frames.for(subscription))
    this.#deliveries += 1
  }

  protected override stepEnded(isLast: boolean): void {
    const { onDone, onStep } = this.#options
    onStep(this.channel, this.#deliveries, this.#filterResults?.takeEvaluatedNodes() ?? 0)
    this.#isDelivered ||= this.#deliveries > 0
    this.#deliveries = 0
    if (isLast && this.#isDelivered) onDone(this.channel, this.#publication)
  }
}

export class AnnouncementFanOut<Channel extends FanOutChannel> extends FanOut<Channel> {
  readonly #announcement: Announcement
  readonly #options: FanOutOptions<Channel>
  #frame: Frame | undefined
  /** The subscriptions that received it in this step. */
  #receivers = 0

  constructor(channel: Channel, announcement: Announcement, options: FanOutOptions<Channel>) {
    super(channel, options.state)
    this.#announcement = announcement
    this.#options = options
  }

  protected override begin(codec: Codec): boolean {
    const payload = codec.announcement(this.channel.ref.channel, this.#announcement)
    this.#frame = payload && { payload }
    return payload !== undefined
  }

  protected override visit(subscription: Subscription): void {
    if (!this.#frame || !subscription.live || !subscription.joinLeave) return
    subscription.client.push(this.#frame)
    this.#receivers += 1
  }

  protected override stepEnded(): void {
    this.#options.onStep(this.channel, 0, this.#receivers)
    this.#receivers = 0
  }
}

/**
 * Notifies the subscriptions that track a position. When the codec has a push for it, the subscription
 * continues from `top`. Otherwise the subscription ends with code 2500 and the client subscribes again.
 */
export class ContinuityLostFanOut<Channel extends FanOutChannel> extends FanOut<Channel> {
  readonly #readTop: () => Position
  #top: Position | undefined
  #payload: Uint8Array | undefined

  /** `readTop` is called when the delivery begins, also when the channel has no subscription then. */
  constructor(channel: Channel, readTop: () => Position, state: FanOutState) {
    super(channel, state)
    this.#readTop = readTop
  }

  override step(): boolean {
    this.#top ??= this.#readTop()
    return super.step()
  }

  protected override begin(codec: Codec): boolean {
    if (!this.#top) return false
    this.#payload = codec.continuityLost(this.channel.ref.channel, this.#top)
    return true
  }

  protected override visit(subscription: Subscription): void {
    const top = this.#top
    if (!top || !subscription.positioned) return
    // A subscription that is still recovering reports the gap in its reply.
    if (!subscription.live) return subscription.recordLoss(top)
    if (!this.#payload)
      return subscription.client.endSubscription(subscription, unsubscribeCodes.insufficientState)
    subscription.jumpTo(top)
    subscription.client.push({ payload: this.#payload })
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
  /** Created for the first subscription with deltas. */
  #byBase: Map<DeltaBase, Frame> | undefined

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
    this.#byBase ??= new Map()
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
  #evaluatedNodes = 0

  constructor(publication: Publication) {
    this.#publication = publication
  }

  matches(filter: TagsFilter): boolean {
    let verdict = this.#byKey.get(filter.key)
    if (verdict === undefined) {
      verdict = filter.matches(this.#publication.tags)
      this.#byKey.set(filter.key, verdict)
      this.#evaluatedNodes += filter.nodes
    }
    return verdict
  }

  /** Returns the number of nodes in the filters that were evaluated since the last call. */
  takeEvaluatedNodes(): number {
    const nodes = this.#evaluatedNodes
    this.#evaluatedNodes = 0
    return nodes
  }
}
