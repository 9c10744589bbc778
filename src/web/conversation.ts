// What rooms and direct messages have in common: all that the middle of the page needs to know.
import type { Log } from './message-log.js'
import type { Members } from './members.js'
import type { Outbox } from './outbox.js'
import { displayNameOf } from './publication.js'

/** May we read and write here? */
export type Membership =
  /** `problem`: the last answer, when the SDK tries again by itself. */
  | { readonly kind: 'joining'; readonly problem?: string }
  | { readonly kind: 'joined' }
  | { readonly kind: 'refused'; readonly why: string }

/** Is there more above the oldest message? */
export type Earlier = 'none' | 'some' | 'loading'

export interface Conversation {
  readonly kind: 'room' | 'direct'
  /** The room's name, or the other person's. */
  readonly name: string
  /** One sentence about the place, for its beginning. */
  readonly about: string
  readonly log: Log
  readonly outbox: Outbox
  readonly unread: Unread
  readonly membership: Membership
  readonly earlier: Earlier
  /** Undefined: who is here is no question. */
  readonly members: Members | undefined
  /** Somebody looks at it now. */
  opened(): void
  loadEarlier(): void
  /** Tries to get in again after a refusal. */
  rejoin(): void
}

/** `#general` for a room, the name alone for a person. */
export function placeName({ kind, name }: Pick<Conversation, 'kind' | 'name'>): string {
  return kind === 'room' ? `#${name}` : displayNameOf(name)
}

/** Messages that nobody has looked at yet. */
export class Unread {
  #count = 0
  #firstId: number | undefined

  get count(): number {
    return this.#count
  }

  /** Where the line "new" is drawn; it stays while the conversation is open. */
  get firstId(): number | undefined {
    return this.#firstId
  }

  add(id: number): void {
    if (this.#count === 0) this.#firstId = id
    this.#count += 1
  }

  see(): void {
    this.#count = 0
  }

  /** The reader has gone elsewhere: the line has done its duty. */
  forgetLine(): void {
    if (this.#count === 0) this.#firstId = undefined
  }
}

/** How many entries a conversation holds; older ones are in history. */
export const entriesMax = 1000
export const historyPage = 50
