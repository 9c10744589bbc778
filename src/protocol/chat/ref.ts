// The data about a chat command that the encoder of its reply needs.
import type { ReplyRef } from '../commands.js'

export interface ChatRef {
  /** JSON text of the client's id, exactly as written. Undefined: the client wants no ack. */
  readonly id: string | undefined
  /** The page of history arrives newest first; the event lists the oldest message first in any case. */
  readonly newestFirst: boolean
}

export const emptyChatRef: ChatRef = { id: undefined, newestFirst: false }

/**
 * Returns the session's opaque ref as a ChatRef. The session passes what decodeChat() created, and undefined
 * for events that no command caused (the welcome, subscriptions that the session makes by itself).
 */
export function toChatRef(ref: ReplyRef): ChatRef {
  return isChatRef(ref) ? ref : emptyChatRef
}

function isChatRef(ref: unknown): ref is ChatRef {
  return typeof ref === 'object' && ref !== null && 'newestFirst' in ref
}
