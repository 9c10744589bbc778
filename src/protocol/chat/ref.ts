// What the plain chat protocol's answers must know of their command.
import type { ReplyRef } from '../commands.js'

export interface ChatRef {
  /** JSON text of the client's id, as it was written. Undefined: the client wants no ack. */
  readonly id: string | undefined
  /** The page of history was asked for backwards; the event lists the oldest first all the same. */
  readonly newestFirst: boolean
}

export const emptyChatRef: ChatRef = { id: undefined, newestFirst: false }

/**
 * The one place where the session's opaque ref becomes ours again. It hands back what decodeChat made; for what no command caused
 * (welcome, a subscription of the session's own) it has none.
 */
export function chatRef(ref: ReplyRef): ChatRef {
  return isChatRef(ref) ? ref : emptyChatRef
}

function isChatRef(ref: unknown): ref is ChatRef {
  return typeof ref === 'object' && ref !== null && 'newestFirst' in ref
}
