// The state of one signed-in user: the connection, the rooms, the direct messages, and the conversation that
// is open.
import { ChatConnection } from './chat-connection.js'
import type { Conversation } from './conversation.js'
import type { DevTenant } from './dev-server.js'
import { type DirectConversation, DirectMessages } from './direct-messages.js'
import type { PageIdentity } from './page-identity.js'
import type { ChatMessage } from './message-log.js'
import { loadItem, loadList, saveItem, saveList } from './tab-storage.js'
import { type RecoveryOutcome, Room } from './room.js'
import { SentMessages } from './sent-messages.js'

export interface ChatEvents {
  /** The state changed, so that the views have to be drawn again. */
  changed(): void
  /** A new message of another user arrived. */
  messageReceived(conversation: Conversation, message: ChatMessage): void
}

/**
 * Limit on joined rooms. Each room uses one of the subscriptions that the quota grants to a connection, and
 * direct messages use another.
 */
const roomsMax = 30

export class Chat {
  readonly identity: PageIdentity
  readonly connection: ChatConnection
  readonly directMessages: DirectMessages
  readonly #events: ChatEvents
  readonly #rooms = new Map<string, Room>()
  readonly #storageKey: string
  #active: Conversation | undefined
  #isVisible = true
  /**
   * What the rooms recovered after the last reconnect. Undefined before the first reconnect, and until a room
   * is subscribed again.
   */
  #recovery: RecoveryOutcome | undefined

  constructor(identity: PageIdentity, tenant: DevTenant, events: ChatEvents) {
    this.identity = identity
    this.#events = events
    this.#storageKey = `${identity.tenant} ${identity.user ?? 'guest'}`
    this.connection = new ChatConnection(identity, {
      changed: () => {
        if (this.connection.state.kind !== 'connected') this.#recovery = undefined
        events.changed()
      },
      connected: () => this.directMessages.listen(),
    })
    this.directMessages = new DirectMessages(this.connection, {
      sent: new SentMessages(this.#storageKey),
      events: {
        changed: () => events.changed(),
        received: (direct, message) => this.#onMessage(direct, message),
      },
    })
    for (const name of loadList(`rooms ${this.#storageKey}`) ?? tenant.rooms) this.#addRoom(name)
    const last = this.#rooms.get(loadItem(`room ${this.#storageKey}`) ?? '')
    this.#active = last ?? this.rooms[0]
    this.#active?.onOpened()
    this.connection.client.connect()
  }

  get rooms(): readonly Room[] {
    return Array.from(this.#rooms.values())
  }

  get active(): Conversation | undefined {
    return this.#active
  }

  get recovery(): RecoveryOutcome | undefined {
    return this.#recovery
  }

  /** All conversations in the order of the sidebar. */
  get conversations(): readonly Conversation[] {
    return [...this.rooms, ...this.directMessages.conversations]
  }

  get unread(): number {
    return this.conversations.reduce((sum, conversation) => sum + conversation.unread.count, 0)
  }

  get isFull(): boolean {
    return this.#rooms.size >= roomsMax
  }

  /**
   * Joins and opens the room. A leading `#` is removed, since users write `#general` for the room `general`.
   * Does nothing for an empty name, and for a new room when `isFull`.
   */
  join(text: string): void {
    const name = text.trim().replace(/^#/u, '')
    if (name === '' || (this.isFull && !this.#rooms.has(name))) return
    this.open(this.#rooms.get(name) ?? this.#addRoom(name))
    this.#saveRooms()
  }

  leave(room: Room): void {
    room.leave()
    this.#rooms.delete(room.name)
    this.#saveRooms()
    const [first] = this.conversations
    if (this.#active === room) this.#active = undefined
    if (!this.#active && first) this.open(first)
    this.#events.changed()
  }

  open(conversation: Conversation): void {
    if (this.#active !== conversation) this.#active?.unread.clearDivider()
    this.#active = conversation
    conversation.onOpened()
    conversation.unread.markSeen()
    if (conversation.kind === 'room') saveItem(`room ${this.#storageKey}`, conversation.name)
    this.#events.changed()
  }

  openDirect(user: string): void {
    this.open(this.directMessages.with(user))
  }

  /** Opens the next (1) or the previous (-1) conversation of the list, and wraps around at its ends. */
  openAdjacent(step: 1 | -1): void {
    const list = this.conversations
    const index = list.findIndex((conversation) => conversation === this.#active)
    const next = list.at((index + step) % list.length)
    if (next) this.open(next)
  }

  /** Records whether the page is visible. A message that arrives while it is hidden counts as unread. */
  setVisible(isVisible: boolean): void {
    this.#isVisible = isVisible
    if (isVisible) this.#active?.unread.markSeen()
    else this.#active?.unread.clearDivider()
    this.#events.changed()
  }

  end(): void {
    for (const room of this.#rooms.values()) room.leave()
    this.connection.client.disconnect()
  }

  #addRoom(name: string): Room {
    const room = new Room(name, this.connection, {
      changed: () => this.#events.changed(),
      received: (conversation, message) => this.#onMessage(conversation, message),
      recovered: (recovery) => this.#onRecovered(recovery),
    })
    this.#rooms.set(name, room)
    return room
  }

  #onMessage(conversation: Room | DirectConversation, message: ChatMessage): void {
    if (!message.author.isOwn) {
      if (conversation !== this.#active || !this.#isVisible) conversation.unread.add(message.id)
      this.#events.messageReceived(conversation, message)
    }
    this.#events.changed()
  }

  /** Adds the outcome of one room. Messages may be missing as soon as one room says so. */
  #onRecovered(recovery: RecoveryOutcome): void {
    const { missed, recoveredCount } = this.#recovery ?? { missed: 'nothing', recoveredCount: 0 }
    this.#recovery = {
      missed: missed === 'maybe' ? missed : recovery.missed,
      recoveredCount: recoveredCount + recovery.recoveredCount,
    }
    this.#events.changed()
  }

  #saveRooms(): void {
    saveList(`rooms ${this.#storageKey}`, Array.from(this.#rooms.keys()))
  }
}
