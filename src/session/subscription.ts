// One client's interest in one channel. Until its subscribe reply is sent, a subscription only collects
// publications; then it delivers.
import type { ChannelRef, ClientInfo, Position, Publication } from '../broker/broker.js'
import { unsubscribeCodes, type UnsubscribeCode } from '../protocol/codes.js'
import type { Codec, DeltaBase } from '../protocol/commands.js'
import type { TagsFilter } from '../protocol/tags-filter.js'
import { revocationMessage, type TokenFacts } from '../tenant/revocations.js'
import type { Timer } from '../time.js'
import type { Identity } from './identity.js'
import type { TokenHolder } from './tenant/revocations.js'
import type { TenantRuntime } from './tenant/runtime.js'
import type { Frame } from './transport.js'

/** The part of a client that a subscription, and the hub that delivers to it, need. */
export interface Subscriber {
  /** The session's id. */
  readonly id: string
  readonly identity: Pick<Identity, 'info'>
  readonly tenant: TenantRuntime
  readonly codec: Codec
  push(frame: Frame): void
  /** Counts bytes that are held for the client; a negative number subtracts them. */
  hold(bytes: number): void
  /** Ends the subscription and sends the client the reason. */
  endSubscription(subscription: Subscription, code: UnsubscribeCode): void
}

type SubscriptionState =
  /**
   * Collects the publications that arrive while history is read. `lostUntil`: publications up to this
   * position are missing from `live`.
   */
  | { readonly kind: 'catchingUp'; readonly live: Publication[]; lostUntil: Position | undefined }
  | { readonly kind: 'live' }
  | { readonly kind: 'ended' }

/** Shared by all subscriptions: each delivery reads the state. */
const liveState: SubscriptionState = { kind: 'live' }
const endedState: SubscriptionState = { kind: 'ended' }

/**
 * Publications that a subscription collects at most during one read of history, and the bytes of their data.
 * Above it, the subscriber gets a gap instead.
 */
const [collectedMax, collectedBytesMax] = [1000, 1_048_576]

export class Subscription implements TokenHolder {
  readonly client: Subscriber
  readonly ref: ChannelRef
  /**
   * The information that other clients see of the subscriber. It is kept here, because its leave is announced
   * after the session has closed.
   */
  readonly info: ClientInfo
  /** Positions are tracked, and the client is notified when continuity is lost. */
  readonly positioned: boolean
  /**
   * The client receives joins and leaves. Ends with the permission for presence; a new subscription can bring
   * it back.
   */
  joinLeave: boolean
  /** The subscriber has an entry in the channel's presence. */
  readonly present: boolean
  /** Allowed by a token or the tenant's backend. A rule that denies the client still ends it. */
  readonly byToken: boolean
  /**
   * Made by the connection token or the tenant's backend: the client can neither end nor refresh it, and a
   * lost position closes the session.
   */
  readonly serverSide: boolean
  /** The client accepts deltas. */
  readonly delta: boolean
  /** The client receives only matching publications. Positions count the others too. */
  readonly filter: TagsFilter | undefined
  /** The publication that the next delta builds on: the last one delivered live. */
  base: DeltaBase = 'none'
  #state: SubscriptionState = { kind: 'catchingUp', live: [], lostUntil: undefined }
  #collectedBytes = 0
  #epoch = ''
  #offset = 0
  #token: TokenFacts | undefined
  /** Ends the subscription when its token or its lifetime expires. */
  expiry: Timer | undefined

  constructor(
    client: Subscriber,
    ref: ChannelRef,
    options: {
      positioned: boolean
      joinLeave: boolean
      present: boolean
      byToken: boolean
      serverSide?: boolean | undefined
      delta?: boolean | undefined
      filter?: TagsFilter | undefined
    },
  ) {
    this.client = client
    this.ref = ref
    this.info = client.identity.info
    this.positioned = options.positioned
    this.joinLeave = options.joinLeave
    this.present = options.present
    this.byToken = options.byToken
    this.serverSide = options.serverSide ?? false
    this.delta = options.delta ?? false
    this.filter = options.filter
  }

  get live(): boolean {
    return this.#state.kind === 'live'
  }

  get ended(): boolean {
    return this.#state.kind === 'ended'
  }

  /**
   * Returns the publications that arrived while history was read, in order of arrival. Empty once the
   * subscription is live.
   */
  collected(): readonly Publication[] {
    return this.#state.kind === 'catchingUp' ? this.#state.live : []
  }

  /**
   * The last position up to which publications are missing from `collected`. Undefined when none are missing.
   */
  get lostUntil(): Position | undefined {
    return this.#state.kind === 'catchingUp' ? this.#state.lostUntil : undefined
  }

  /** Records that publications up to `top` did not arrive, or could not be kept, while history was read. */
  recordLoss(top: Position): void {
    if (this.#state.kind === 'catchingUp') this.#state.lostUntil = top
  }

  /** Delivers the publications after `top` from now on. Does nothing on a subscription that has ended. */
  goLive(top: Position | undefined): void {
    if (this.#state.kind === 'ended') return
    this.#state = liveState
    this.#releaseCollected()
    if (top) this.jumpTo(top)
  }

  /** Continues after `top`. The caller notifies the client that continuity was lost. */
  jumpTo(top: Position): void {
    this.#epoch = top.epoch
    this.#offset = top.offset
  }

  end(): void {
    this.holdToken(undefined)
    this.#state = endedState
    this.#releaseCollected()
  }

  #releaseCollected(): void {
    if (this.#collectedBytes > 0) this.client.hold(-this.#collectedBytes)
    this.#collectedBytes = 0
  }

  /** Replaces the subscription token. When it is revoked, the subscription ends. */
  holdToken(token: TokenFacts | undefined): void {
    if (this.#token) this.client.tenant.revocations.unwatchToken(this, this.#token)
    this.#token = this.ended ? undefined : token
    if (this.#token) this.client.tenant.revocations.watchToken(this, this.#token)
  }

  recheckRevocations(): void {
    const revocation = this.#token && this.client.tenant.revocations.find(this.#token)
    if (!revocation) return
    this.client.endSubscription(this, { ...unsubscribeCodes.expired, reason: revocationMessage(revocation) })
  }

  /**
   * Returns whether the publication is for this client: its filter matches, and it is not its own publication
   * without echo.
   */
  wants(publication: Publication): boolean {
    return (
      publication.skipSession !== this.client.id && (!this.filter || this.filter.matches(publication.tags))
    )
  }

  /**
   * Takes the next publication of the channel and returns whether it is delivered to the client now. Moves
   * the position, or collects the publication while catching up. The broker gives each publication once and
   * in order; those that the subscribe reply contained are dropped here. Does not evaluate the filter: the
   * hub evaluates equal filters once.
   */
  accepts(publication: Publication): boolean {
    const state = this.#state
    if (state.kind === 'live') {
      if (publication.offset > 0) {
        if (publication.epoch !== this.#epoch) this.#epoch = publication.epoch
        else if (publication.offset <= this.#offset) return false
        this.#offset = publication.offset
      }
      return publication.skipSession === undefined || publication.skipSession !== this.client.id
    }
    if (state.kind === 'catchingUp') {
      const { live, lostUntil } = state
      const isFull = live.length >= collectedMax || this.#collectedBytes >= collectedBytesMax
      if (!isFull && !lostUntil) {
        this.#collectedBytes += publication.data.byteLength
        this.client.hold(publication.data.byteLength)
        live.push(publication)
      } else if (publication.offset > 0)
        this.recordLoss({ epoch: publication.epoch, offset: publication.offset })
    }
    return false
  }
}
