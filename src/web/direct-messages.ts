// Direct messages. A direct message is published to `dm:<user>`, a channel that only that user can read. This
// file sorts the messages of that channel into conversations. The sender does not receive its own messages,
// so the tab stores them.
import type { PublicationContext, SubscribedContext, Subscription } from 'centrifuge'
import type { ChatConnection } from './chat-connection.js'
import { type Conversation, entriesMax, historyPageSize, type Membership, Unread } from './conversation.js'
import { type ReceivedMessage, MessageLog, type ChatMessage } from './message-log.js'
import { MessageSender } from './message-sender.js'
import { receivedMessageOf, displayNameOf, ownAuthor } from './publication.js'
import type { SentMessages } from './sent-messages.js'
import { isServerRefusal, parseRefusal, withFullStop } from './error-text.js'

const gapText = 'Messages may be missing here: you were offline longer than direct messages are kept.'

export interface DirectMessagesEvents {
  changed(): void
  received(direct: DirectConversation, message: ChatMessage): void
}

export class DirectConversation implements Conversation {
  readonly kind = 'direct'
  readonly name: string
  readonly log = new MessageLog({ entriesMax })
  readonly unread = new Unread()
  readonly sender: MessageSender
  /** The page always lets the user write; the gateway's error is shown with the message. */
  readonly membership: Membership = { kind: 'joined' }
  readonly earlier = 'none'
  readonly members = undefined
  readonly #inboxProblem: () => string | undefined

  constructor(
    name: string,
    parts: { sender(log: MessageLog): MessageSender; inboxProblem: () => string | undefined },
  ) {
    this.name = name
    this.sender = parts.sender(this.log)
    this.#inboxProblem = parts.inboxProblem
  }

  get description(): string {
    const problem = this.#inboxProblem()
    const between = `Only you and ${displayNameOf(this.name)} can read this.`
    return problem ? `${between} Replies cannot reach you: ${problem}` : between
  }

  onOpened(): void {}
  loadEarlier(): void {}
  rejoin(): void {}
}

export class DirectMessages {
  readonly #connection: ChatConnection
  readonly #sent: SentMessages
  readonly #events: DirectMessagesEvents
  readonly #conversations = new Map<string, DirectConversation>()
  readonly #seen = new Set<string>()
  #inbox: Subscription | undefined
  #epoch = ''
  /** Live messages that arrived before the history that precedes them. Undefined when history is loaded. */
  #held: ReceivedMessage[] | undefined
  #problem: string | undefined

  constructor(connection: ChatConnection, options: { sent: SentMessages; events: DirectMessagesEvents }) {
    this.#connection = connection
    this.#sent = options.sent
    this.#events = options.events
    for (const { to, text, timeMs } of this.#sent.list) {
      const author = ownAuthor(connection.self)
      this.with(to).log.receive({ author, text, timeMs, position: undefined, isFromThisPage: false })
    }
  }

  get conversations(): readonly DirectConversation[] {
    return Array.from(this.#conversations.values())
  }

  /** Why direct messages cannot be received. Undefined while they can. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Returns the conversation with `user`, and creates it when there is none. */
  with(user: string): DirectConversation {
    const known = this.#conversations.get(user)
    if (known) return known
    const direct = new DirectConversation(user, {
      inboxProblem: () => this.#problem,
      sender: (log) =>
        new MessageSender({
          log,
          canSend: () => this.#connection.state.kind === 'connected',
          publish: (text) => this.#publish(user, text),
          ownAuthor: () => ownAuthor(this.#connection.self),
          changed: () => this.#events.changed(),
        }),
    })
    this.#conversations.set(user, direct)
    return direct
  }

  /**
   * Called after each connect. The channel stays the same, except when the gateway has issued a new identity
   * to a guest, because the old one had expired.
   */
  listen(): void {
    const channel = `dm:${this.#connection.self.user ?? ''}`
    for (const direct of this.#conversations.values()) direct.sender.flush()
    if (this.#inbox?.channel === channel) return
    if (this.#inbox) {
      this.#inbox.removeAllListeners()
      this.#inbox.unsubscribe()
      this.#connection.client.removeSubscription(this.#inbox)
    }
    this.#held = []
    this.#epoch = ''
    const inbox = this.#connection.client.newSubscription(channel, { recoverable: true })
    this.#inbox = inbox
      .on('subscribed', (context) => this.#onSubscribed(inbox, context))
      .on('publication', (publication) => this.#onPublication(publication))
      .on('unsubscribed', ({ reason }) => this.#fail(reason))
    inbox.subscribe()
  }

  async #publish(user: string, text: string): Promise<void> {
    await this.#connection.client.publish(`dm:${user}`, text)
    this.#sent.add({ to: user, text, timeMs: Date.now() })
  }

  #onSubscribed(inbox: Subscription, context: SubscribedContext): void {
    const isReturn = this.#epoch !== ''
    this.#epoch = context.streamPosition?.epoch ?? ''
    this.#problem = undefined
    if (isReturn && !context.recovered)
      for (const direct of this.#conversations.values()) direct.log.gap(gapText)
    if (this.#held || !context.recovered) void this.#loadHistory(inbox)
    this.#events.changed()
  }

  #onPublication(publication: PublicationContext): void {
    const received = receivedMessageOf(publication, { self: this.#connection.self, epoch: this.#epoch })
    const dated = { ...received, timeMs: received.timeMs ?? Date.now() }
    if (this.#held) this.#held.push(dated)
    else this.#receive(dated, { isNew: true })
  }

  /** Never rejects. Without history, the conversations begin with the messages that arrive from now on. */
  async #loadHistory(inbox: Subscription): Promise<void> {
    const self = this.#connection.self
    try {
      const page = await inbox.history({ limit: historyPageSize, reverse: true })
      const receivedMessages = page.publications.map((publication) =>
        receivedMessageOf(publication, { self, epoch: page.epoch }),
      )
      for (const received of receivedMessages.toReversed()) this.#receive(received, { isNew: false })
    } catch (error) {
      // There was no reply. The next connection asks again, and live messages are held until then.
      if (!isServerRefusal(parseRefusal(error))) return
    }
    for (const received of this.#held?.splice(0) ?? []) this.#receive(received, { isNew: true })
    this.#held = undefined
    this.#events.changed()
  }

  #receive(received: ReceivedMessage, options: { isNew: boolean }): void {
    if (received.position) {
      const key = `${received.position.offset} ${received.position.epoch}`
      if (this.#seen.has(key)) return
      this.#seen.add(key)
      // The oldest key is removed: a page of history does not reach back that far.
      if (this.#seen.size > entriesMax) this.#seen.delete(Array.from(this.#seen)[0] ?? '')
    }
    const direct = this.with(received.author.user)
    // The channel orders only the messages received. Sent messages are placed between them by time.
    const message = direct.log.receiveByTime(received)
    if (options.isNew) this.#events.received(direct, message)
  }

  #fail(reason: string): void {
    this.#problem = withFullStop(parseRefusal({ message: reason }).message)
    this.#events.changed()
  }
}
