// A room: the channel of that name, with its subscription, its history and its members.
import type { PublicationContext, SubscribedContext, Subscription } from 'centrifuge'
import type { ChatConnection } from './chat-connection.js'
import {
  type Conversation,
  type Earlier,
  entriesMax,
  historyPageSize,
  type Membership,
  Unread,
} from './conversation.js'
import { MessageLog, type ChatMessage, type MessagePosition } from './message-log.js'
import { RoomMembers } from './room-members.js'
import { MessageSender } from './message-sender.js'
import { receivedMessageOf, ownAuthor } from './publication.js'
import { isServerRefusal, parseRefusal, refusalText, withFullStop } from './error-text.js'

/** What a room recovered after a reconnect. */
export interface RecoveryOutcome {
  readonly missed: 'nothing' | 'maybe'
  /** Number of messages that were published during the outage and recovered. */
  readonly recoveredCount: number
}

export interface RoomEvents {
  changed(): void
  received(room: Room, message: ChatMessage): void
  recovered(recovery: RecoveryOutcome): void
}

/** Joins and leaves are delivered at most once, so the members are read again this long after one of them. */
const recheckAfterMs = 3000

const gapText = 'Messages may be missing here: you were offline longer than this room keeps messages.'
const noHistoryText = 'Messages may be missing here: this room does not keep messages.'

export class Room implements Conversation {
  readonly kind = 'room'
  readonly name: string
  readonly log = new MessageLog({ entriesMax })
  readonly unread = new Unread()
  readonly members: RoomMembers
  readonly sender: MessageSender
  readonly #connection: ChatConnection
  readonly #events: RoomEvents
  readonly #subscription: Subscription
  #membership: Membership = { kind: 'joining' }
  #earlier: Earlier = 'none'
  #keepsHistory = true
  #hasHistory = false
  /**
   * True once the user opened the room. History and members are read only then: reading them for all rooms at
   * once would exhaust the quota on commands.
   */
  #wasOpened = false
  #wasJoined = false
  #epoch = ''
  #recoveredCount = 0
  #recheck: ReturnType<typeof setTimeout> | undefined

  /** Joins the room immediately, or as soon as the page is connected. */
  constructor(name: string, connection: ChatConnection, events: RoomEvents) {
    this.name = name
    this.#connection = connection
    this.#events = events
    this.members = new RoomMembers(() => connection.self)
    // The gateway grants these options only when the channel has them and the user is allowed to use them.
    const subscription = connection.client.newSubscription(name, { recoverable: true, joinLeave: true })
    this.#subscription = subscription
      .on('subscribed', (context) => this.#onSubscribed(context))
      .on('publication', (publication) => this.#onPublication(publication))
      .on('join', ({ info }) => this.#onMember('join', info))
      .on('leave', ({ info }) => this.#onMember('leave', info))
      .on('error', ({ error }) => this.#set({ kind: 'joining', problem: refusalText(parseRefusal(error)) }))
      .on('unsubscribed', ({ code, reason }) => this.#onUnsubscribed(code, reason))
    this.sender = new MessageSender({
      log: this.log,
      canSend: () => this.#membership.kind === 'joined' && connection.state.kind === 'connected',
      publish: (text) => subscription.publish(text),
      ownAuthor: () => ownAuthor(connection.self),
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

  get description(): string {
    return this.#keepsHistory
      ? 'This is the beginning of the conversation.'
      : 'This room does not keep messages: only users who are here now receive them.'
  }

  onOpened(): void {
    this.#wasOpened = true
    if (this.#membership.kind === 'joined') this.#read({ isComplete: true })
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
    if (isReturn) this.#onResubscribed(context)
    if (this.#wasOpened) this.#read({ isComplete: context.recovered })
    this.sender.flush()
    this.#events.changed()
  }

  /**
   * The SDK asks for the publications since its last position. `recovered` means that it received all of
   * them.
   */
  #onResubscribed(context: SubscribedContext): void {
    if (!context.recovered) this.log.gap(context.wasRecovering ? gapText : noHistoryText)
    this.#recoveredCount = 0
    // The SDK emits the recovered publications later in this task.
    queueMicrotask(() =>
      this.#events.recovered({
        missed: context.recovered ? 'nothing' : 'maybe',
        recoveredCount: this.#recoveredCount,
      }),
    )
  }

  /** Reads members and history. `isComplete` is true when the history that was read before has no gap. */
  #read({ isComplete }: { isComplete: boolean }): void {
    if (this.#keepsHistory && !(this.#hasHistory && isComplete)) void this.#loadHistory(undefined)
    void this.#readMembers()
  }

  #onPublication(publication: PublicationContext): void {
    const received = receivedMessageOf(publication, { self: this.#connection.self, epoch: this.#epoch })
    const message = this.log.receive({ ...received, timeMs: received.timeMs ?? Date.now() })
    this.#recoveredCount += 1
    if (message) this.#events.received(this, message)
  }

  #onUnsubscribed(code: number, reason: string): void {
    // Codes from 100 on are the server's: the error of the subscribe command, or the reason why the server
    // unsubscribed the client (2000 and above).
    const { message } = parseRefusal({ code, message: reason })
    const refusal = code >= 2000 ? `The gateway removed you from this room: ${message}` : message
    this.#set({ kind: 'refused', reason: withFullStop(refusal) })
  }

  #onMember(kind: 'join' | 'leave', info: Parameters<RoomMembers['apply']>[0]['info']): void {
    this.members.apply({ kind, info })
    if (this.#wasOpened) this.#recheck ??= setTimeout(() => void this.#readMembers(), recheckAfterMs)
    this.#events.changed()
  }

  /**
   * Reads the newest messages, or those before `before`. Reads in reverse, so that the limit leaves out the
   * oldest ones. Never rejects.
   */
  async #loadHistory(before: MessagePosition | undefined): Promise<void> {
    const shown = this.#earlier
    this.#earlier = 'loading'
    try {
      const page = await this.#subscription.history({
        limit: historyPageSize,
        reverse: true,
        ...(before && { since: before }),
      })
      for (const publication of page.publications) {
        this.log.receive(receivedMessageOf(publication, { self: this.#connection.self, epoch: page.epoch }))
      }
      this.#hasHistory = true
      this.#earlier = page.publications.length === historyPageSize ? 'some' : 'none'
    } catch (error) {
      // A permanent refusal means that the room has no history for this user. After any other error, the next
      // connection tries again.
      const refusal = parseRefusal(error)
      if (isServerRefusal(refusal) && !refusal.temporary) this.#keepsHistory = false
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
      const refusal = parseRefusal(error)
      if (isServerRefusal(refusal))
        this.members.fail(`The members of this room are not shown. ${withFullStop(refusal.message)}`)
    }
    this.#events.changed()
  }

  #set(membership: Membership): void {
    this.#membership = membership
    this.#events.changed()
  }
}
