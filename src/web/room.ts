// One room: a channel of that name, with its history, its members and our place in it.
import type { PublicationContext, SubscribedContext, Subscription } from 'centrifuge'
import type { Connection } from './connection.js'
import {
  type Conversation,
  type Earlier,
  entriesMax,
  historyPage,
  type Membership,
  Unread,
} from './conversation.js'
import { Log, type Message, type Place } from './message-log.js'
import { Members } from './members.js'
import { Outbox } from './outbox.js'
import { arrivalOf, me } from './publication.js'
import { isAnswer, refusalOf, refusalSentence, withFullStop } from './error-text.js'

/** What is known about the time without connection, once the subscription is back. */
export interface Resumption {
  readonly missed: 'nothing' | 'maybe'
  /** Messages that came in one go. */
  readonly caughtUp: number
}

export interface RoomEvents {
  changed(): void
  received(room: Room, message: Message): void
  resumed(resumption: Resumption): void
}

/** Joins and leaves come at most once: a moment after the last of them the list is read again. */
const recheckAfterMs = 3000

const gapWords = 'Something may be missing here: the connection was away longer than this room remembers.'
const unkeptWords = 'Something may be missing here: this room keeps nothing for those who were away.'

export class Room implements Conversation {
  readonly kind = 'room'
  readonly name: string
  readonly log = new Log({ entriesMax })
  readonly unread = new Unread()
  readonly members: Members
  readonly outbox: Outbox
  readonly #connection: Connection
  readonly #events: RoomEvents
  readonly #subscription: Subscription
  #membership: Membership = { kind: 'joining' }
  #earlier: Earlier = 'none'
  #keepsHistory = true
  #hasHistory = false
  /** History and members are read for those who look: thirty rooms at once would use up the quota of commands. */
  #isWanted = false
  #wasJoined = false
  #epoch = ''
  #caughtUp = 0
  #recheck: ReturnType<typeof setTimeout> | undefined

  /** Joins at once, or as soon as there is a connection. */
  constructor(name: string, connection: Connection, events: RoomEvents) {
    this.name = name
    this.#connection = connection
    this.#events = events
    this.members = new Members(() => connection.self)
    // Both are wishes: the gateway grants what the channel has and this user may see.
    const subscription = connection.client.newSubscription(name, { recoverable: true, joinLeave: true })
    this.#subscription = subscription
      .on('subscribed', (context) => this.#onSubscribed(context))
      .on('publication', (publication) => this.#onPublication(publication))
      .on('join', ({ info }) => this.#onMember('join', info))
      .on('leave', ({ info }) => this.#onMember('leave', info))
      .on('error', ({ error }) => this.#set({ kind: 'joining', problem: refusalSentence(refusalOf(error)) }))
      .on('unsubscribed', ({ code, reason }) => this.#onUnsubscribed(code, reason))
    this.outbox = new Outbox({
      log: this.log,
      isOpen: () => this.#membership.kind === 'joined' && connection.state.kind === 'connected',
      publish: (text) => subscription.publish(text),
      me: () => me(connection.self),
      changed: () => events.changed(),
    })
    subscription.subscribe()
  }

  get membership(): Membership {
    return this.#membership
  }

  get earlier(): Earlier {
    return this.#earlier
  }

  get about(): string {
    return this.#keepsHistory
      ? 'This is where the conversation begins.'
      : 'Nothing is kept here: what is said is heard by those who are present.'
  }

  opened(): void {
    this.#isWanted = true
    if (this.#membership.kind === 'joined') this.#read({ isWhole: true })
  }

  rejoin(): void {
    this.#set({ kind: 'joining' })
    this.#subscription.subscribe()
  }

  leave(): void {
    clearTimeout(this.#recheck)
    this.#subscription.removeAllListeners()
    this.#subscription.unsubscribe()
    this.#connection.client.removeSubscription(this.#subscription)
  }

  loadEarlier(): void {
    if (this.#earlier === 'some') void this.#loadHistory(this.log.oldest)
  }

  #onSubscribed(context: SubscribedContext): void {
    const isReturn = this.#wasJoined
    this.#wasJoined = true
    this.#epoch = context.streamPosition?.epoch ?? ''
    this.#membership = { kind: 'joined' }
    if (isReturn) this.#resume(context)
    if (this.#isWanted) this.#read({ isWhole: context.recovered })
    this.outbox.flush()
    this.#events.changed()
  }

  /** The SDK asked for what was missed since its last position; `recovered` means that it got all of it. */
  #resume(context: SubscribedContext): void {
    if (!context.recovered) this.log.gap(context.wasRecovering ? gapWords : unkeptWords)
    this.#caughtUp = 0
    // Recovered publications follow in this same task.
    queueMicrotask(() =>
      this.#events.resumed({ missed: context.recovered ? 'nothing' : 'maybe', caughtUp: this.#caughtUp }),
    )
  }

  /** `isWhole`: what was read before still holds. */
  #read({ isWhole }: { isWhole: boolean }): void {
    if (this.#keepsHistory && !(this.#hasHistory && isWhole)) void this.#loadHistory(undefined)
    void this.#readMembers()
  }

  #onPublication(publication: PublicationContext): void {
    const arrival = arrivalOf(publication, { self: this.#connection.self, epoch: this.#epoch })
    const message = this.log.receive({ ...arrival, timeMs: arrival.timeMs ?? Date.now() })
    this.#caughtUp += 1
    if (message) this.#events.received(this, message)
  }

  #onUnsubscribed(code: number, reason: string): void {
    // From 100 on the server speaks: a refusal's sentence, or why it put us out (2000 and above).
    const { message } = refusalOf({ code, message: reason })
    const why = code >= 2000 ? `The gateway ended your stay here: ${message}` : message
    this.#set({ kind: 'refused', why: withFullStop(why) })
  }

  #onMember(kind: 'join' | 'leave', info: Parameters<Members['apply']>[0]['info']): void {
    this.members.apply({ kind, info })
    if (this.#isWanted) this.#recheck ??= setTimeout(() => void this.#readMembers(), recheckAfterMs)
    this.#events.changed()
  }

  /** Newest first is asked for, so that the limit cuts the old end. Never rejects. */
  async #loadHistory(before: Place | undefined): Promise<void> {
    const shown = this.#earlier
    this.#earlier = 'loading'
    try {
      const page = await this.#subscription.history({
        limit: historyPage,
        reverse: true,
        ...(before && { since: before }),
      })
      for (const publication of page.publications) {
        this.log.receive(arrivalOf(publication, { self: this.#connection.self, epoch: page.epoch }))
      }
      this.#hasHistory = true
      this.#earlier = page.publications.length === historyPage ? 'some' : 'none'
    } catch (error) {
      // A plain no says that there is none to be had; anything else is for the next connection to try.
      const refusal = refusalOf(error)
      if (isAnswer(refusal) && !refusal.temporary) this.#keepsHistory = false
      this.#earlier = before ? shown : 'none'
    }
    this.#events.changed()
  }

  /** Never rejects. */
  async #readMembers(): Promise<void> {
    clearTimeout(this.#recheck)
    this.#recheck = undefined
    try {
      await this.members.refresh(async () => Object.values((await this.#subscription.presence()).clients))
    } catch (error) {
      const refusal = refusalOf(error)
      if (isAnswer(refusal))
        this.members.fail(`This room does not show who is here. ${withFullStop(refusal.message)}`)
    }
    this.#events.changed()
  }

  #set(membership: Membership): void {
    this.#membership = membership
    this.#events.changed()
  }
}
