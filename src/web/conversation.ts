// What rooms and direct messages have in common: everything that the timeline and the composer need.
import type { MessageLog } from './message-log.js'
import type { RoomMembers } from './room-members.js'
import type { MessageSender } from './message-sender.js'
import { displayNameOf } from './publication.js'

/** Whether the user can read and write in the conversation. */
export type Membership =
  /** `problem` is the last error. The SDK subscribes again by itself. */
  | { readonly kind: 'joining'; readonly problem?: string }
  | { readonly kind: 'joined' }
  | { readonly kind: 'refused'; readonly reason: string }

/** Whether history holds messages that are older than the oldest one shown. */
export type Earlier = 'none' | 'some' | 'loading'

export interface Conversation {
  readonly kind: 'room' | 'direct'
  /** The name of the room, or the id of the other user. */
  readonly name: string
  /** One sentence that is shown above the first message. */
  readonly description: string
  readonly log: MessageLog
  readonly sender: MessageSender
  readonly unread: Unread
  readonly membership: Membership
  readonly earlier: Earlier
  /** Undefined in a conversation between two users. */
  readonly members: RoomMembers | undefined
  /** Called when the user opens the conversation. */
  onOpened(): void
  /** Shows older messages from history. Does nothing when there are none. */
  loadEarlier(): void
  /** Subscribes again after a refusal. */
  rejoin(): void
}

/** Returns `#general` for a room, and the display name for a user. */
export function conversationTitle({ kind, name }: Pick<Conversation, 'kind' | 'name'>): string {
  return kind === 'room' ? `#${name}` : displayNameOf(name)
}

/** Counts the messages that the user has not seen yet. */
export class Unread {
  #count = 0
  #firstId: number | undefined

  get count(): number {
    return this.#count
  }

  /** Id of the message above which the "New" divider is drawn. It stays while the conversation is open. */
  get firstId(): number | undefined {
    return this.#firstId
  }

  add(id: number): void {
    if (this.#count === 0) this.#firstId = id
    this.#count += 1
  }

  markSeen(): void {
    this.#count = 0
  }

  /**
   * Removes the "New" divider, unless there are unread messages. Called when the user leaves the
   * conversation.
   */
  clearDivider(): void {
    if (this.#count === 0) this.#firstId = undefined
  }
}

/** Limit on the entries that a conversation shows. Older messages stay in history. */
export const entriesMax = 1000
/** Number of publications that one request for history returns. */
export const historyPageSize = 50
