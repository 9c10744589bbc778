// One session's interest in one channel. Until its reply is sent it only collects; from then on it delivers.
import type { ChannelRef, ClientInfo, Position, Publication } from '../broker/broker.js'
import type { DeltaBase } from '../protocol/commands.js'
import type { TagsFilter } from '../protocol/tags-filter.js'
import type { Timer } from '../time.js'
import type { Session } from './session.js'

type SubscriptionState =
  /** Collects what arrives while history is read. `lostUntil`: not all of it was kept or came, up to there. */
  | { readonly kind: 'catchingUp'; readonly live: Publication[]; lostUntil: Position | undefined }
  | { readonly kind: 'live' }
  | { readonly kind: 'ended' }

/** One for all: each delivery looks at it. */
const liveState: SubscriptionState = { kind: 'live' }
const endedState: SubscriptionState = { kind: 'ended' }

/** What may wait for one catch-up. More than this within one read of history: the subscriber starts, or is told of the gap, after it. */
const catchUpMax = 1000

export class Subscription {
  readonly session: Session
  readonly ref: ChannelRef
  /** What others see of the subscriber: kept here, since its leaving is told when the session is closed already. */
  readonly info: ClientInfo
  /** Positions are tracked and a lost one is said. */
  readonly positioned: boolean
  /** Hears of comings and goings. Ends with the right to presence; a new subscription brings it back. */
  joinLeave: boolean
  /** Listed in the channel's presence. */
  readonly present: boolean
  /** Allowed by a token or the tenant's backend; a deny still ends it. */
  readonly byToken: boolean
  /** Made by the connection's token or the tenant's backend: the client can neither leave nor refresh it, and a lost position ends the connection. */
  readonly serverSide: boolean
  /** The client takes deltas. */
  readonly delta: boolean
  /** The client wants only what fits. Positions count the rest too. */
  readonly filter: TagsFilter | undefined
  /** What a delta for the client can build on: the last it got live. */
  base: DeltaBase = 'none'
  #state: SubscriptionState = { kind: 'catchingUp', live: [], lostUntil: undefined }
  #epoch = ''
  #offset = 0
  /** Ends it when a subscription token runs out. */
  expiry: Timer | undefined

  constructor(
    session: Session,
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
    this.session = session
    this.ref = ref
    this.info = session.identity.info
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

  /** What came while history was read. */
  collected(): readonly Publication[] {
    return this.#state.kind === 'catchingUp' ? this.#state.live : []
  }

  /** Something that came while history was read is missing from `collected`: the last of it lies here. */
  get lostUntil(): Position | undefined {
    return this.#state.kind === 'catchingUp' ? this.#state.lostUntil : undefined
  }

  /** Publications up to `top` did not come, or could not be kept, while history was read. */
  lose(top: Position): void {
    if (this.#state.kind === 'catchingUp') this.#state.lostUntil = top
  }

  /** From now on `accepts` lets pass what follows `top`. One that has ended stays so. */
  goLive(top: Position | undefined): void {
    if (this.#state.kind === 'ended') return
    this.#state = liveState
    if (top) this.jumpTo(top)
  }

  /** Continuity was lost and said: what follows `top` is next. */
  jumpTo(top: Position): void {
    this.#epoch = top.epoch
    this.#offset = top.offset
  }

  end(): void {
    this.#state = endedState
  }

  /** Is this one for the client: not its own that it wants no echo of, nor held back by its filter? */
  wants(publication: Publication): boolean {
    return (
      publication.skipSession !== this.session.id && (!this.filter || this.filter.matches(publication.tags))
    )
  }

  /** Shall this publication go out to the session now? The broker gives each once and in order; what the reply held already is dropped here. Its filter is not asked: the hub asks equal ones once. */
  accepts(publication: Publication): boolean {
    const state = this.#state
    if (state.kind === 'live') {
      if (publication.offset > 0) {
        if (publication.epoch !== this.#epoch) this.#epoch = publication.epoch
        else if (publication.offset <= this.#offset) return false
        this.#offset = publication.offset
      }
      return publication.skipSession === undefined || publication.skipSession !== this.session.id
    }
    if (state.kind === 'catchingUp') {
      const { live, lostUntil } = state
      if (live.length < catchUpMax && !lostUntil) live.push(publication)
      else if (publication.offset > 0) this.lose({ epoch: publication.epoch, offset: publication.offset })
    }
    return false
  }
}
