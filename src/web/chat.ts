// Everything that one signed-in person has on this page: the connection, the rooms, the direct messages, and which of them is looked at.
import { Connection } from './connection.js'
import type { Conversation } from './conversation.js'
import type { Tenant } from './dev-server.js'
import { type Direct, Directs } from './direct-messages.js'
import type { Identity } from './identity.js'
import type { Message } from './message-log.js'
import { recall, recallList, remember, rememberList } from './tab-storage.js'
import { type Resumption, Room } from './room.js'
import { SentDirects } from './sent-directs.js'

export interface ChatEvents {
  /** Something looks different now. */
  changed(): void
  /** Somebody else wrote, and it was not there before. */
  heard(conversation: Conversation, message: Message): void
}

/** Rooms and inbox share one connection, whose quota for subscriptions may be small. */
const roomsMax = 30

export class Chat {
  readonly identity: Identity
  readonly connection: Connection
  readonly directs: Directs
  readonly #events: ChatEvents
  readonly #rooms = new Map<string, Room>()
  readonly #memoryKey: string
  #active: Conversation | undefined
  #isLookedAt = true
  /** After an outage: what the rooms found out. Undefined: there was none, or nothing is known yet. */
  #resumption: Resumption | undefined

  constructor(identity: Identity, tenant: Tenant, events: ChatEvents) {
    this.identity = identity
    this.#events = events
    this.#memoryKey = `${identity.tenant} ${identity.user ?? 'guest'}`
    this.connection = new Connection(identity, {
      changed: () => {
        if (this.connection.state.kind !== 'connected') this.#resumption = undefined
        events.changed()
      },
      connected: () => this.directs.listen(),
    })
    this.directs = new Directs(this.connection, {
      sent: new SentDirects(this.#memoryKey),
      events: {
        changed: () => events.changed(),
        received: (direct, message) => this.#received(direct, message),
      },
    })
    for (const name of recallList(`rooms ${this.#memoryKey}`) ?? tenant.rooms) this.#enter(name)
    const last = this.#rooms.get(recall(`room ${this.#memoryKey}`) ?? '')
    this.#active = last ?? this.rooms[0]
    this.#active?.opened()
    this.connection.client.connect()
  }

  get rooms(): readonly Room[] {
    return Array.from(this.#rooms.values())
  }

  get active(): Conversation | undefined {
    return this.#active
  }

  get resumption(): Resumption | undefined {
    return this.#resumption
  }

  /** In the order of the list, for those who walk it by keyboard. */
  get conversations(): readonly Conversation[] {
    return [...this.rooms, ...this.directs.conversations]
  }

  get unread(): number {
    return this.conversations.reduce((sum, conversation) => sum + conversation.unread.count, 0)
  }

  get isFull(): boolean {
    return this.#rooms.size >= roomsMax
  }

  /** Joins and opens the room; nothing happens when there are too many. `#general` is what people write, `general` its name. */
  join(text: string): void {
    const name = text.trim().replace(/^#/u, '')
    if (name === '' || (this.isFull && !this.#rooms.has(name))) return
    this.open(this.#rooms.get(name) ?? this.#enter(name))
    this.#rememberRooms()
  }

  leave(room: Room): void {
    room.leave()
    this.#rooms.delete(room.name)
    this.#rememberRooms()
    const [first] = this.conversations
    if (this.#active === room) this.#active = undefined
    if (!this.#active && first) this.open(first)
    this.#events.changed()
  }

  open(conversation: Conversation): void {
    if (this.#active !== conversation) this.#active?.unread.forgetLine()
    this.#active = conversation
    conversation.opened()
    conversation.unread.see()
    if (conversation.kind === 'room') remember(`room ${this.#memoryKey}`, conversation.name)
    this.#events.changed()
  }

  openDirect(user: string): void {
    this.open(this.directs.with(user))
  }

  /** One further in the list, or one back; round at the ends. */
  walk(step: 1 | -1): void {
    const list = this.conversations
    const index = list.findIndex((conversation) => conversation === this.#active)
    const next = list.at((index + step) % list.length)
    if (next) this.open(next)
  }

  /** Is the page in sight? What arrives while it is not is unread. */
  lookAt(isLookedAt: boolean): void {
    this.#isLookedAt = isLookedAt
    if (isLookedAt) this.#active?.unread.see()
    else this.#active?.unread.forgetLine()
    this.#events.changed()
  }

  end(): void {
    for (const room of this.#rooms.values()) room.leave()
    this.connection.client.disconnect()
  }

  #enter(name: string): Room {
    const room = new Room(name, this.connection, {
      changed: () => this.#events.changed(),
      received: (conversation, message) => this.#received(conversation, message),
      resumed: (resumption) => this.#onResumed(resumption),
    })
    this.#rooms.set(name, room)
    return room
  }

  #received(conversation: Room | Direct, message: Message): void {
    if (!message.author.own) {
      if (conversation !== this.#active || !this.#isLookedAt) conversation.unread.add(message.id)
      this.#events.heard(conversation, message)
    }
    this.#events.changed()
  }

  /** One gap anywhere is a gap. */
  #onResumed(resumption: Resumption): void {
    const { missed, caughtUp } = this.#resumption ?? { missed: 'nothing', caughtUp: 0 }
    this.#resumption = {
      missed: missed === 'maybe' ? missed : resumption.missed,
      caughtUp: caughtUp + resumption.caughtUp,
    }
    this.#events.changed()
  }

  #rememberRooms(): void {
    rememberList(`rooms ${this.#memoryKey}`, Array.from(this.#rooms.keys()))
  }
}
