// The rules for user ids. People compare them by eye, and they appear in logs and in the names of channels,
// so characters that are invisible or that change the direction of text are not allowed.
import { codePointText } from './channel.js'

/** Begins the names of guests, and of no signed-in user. What follows is the id that the server issued. */
export const guestPrefix = 'guest:'

/**
 * Returns whether the user is a guest. Tokens must not name such a user, so the name alone tells guests from
 * signed-in users.
 */
export function isGuest(user: string): boolean {
  return user.startsWith(guestPrefix)
}

/** The longest user id, in UTF-8 bytes. */
const userBytesMax = 128

/**
 * Control characters, lone surrogates (`Cs`), line separators, and everything that has no shape of its own:
 * the characters that channel names forbid as invisible, and the joiners, fillers, tags and variation
 * selectors with which an id could imitate another one.
 */
const hidden = /[\p{Cc}\p{Cs}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u

/**
 * Returns why `user` is not a valid user id, as the end of a sentence after "a user"; undefined when it is
 * valid. The text does not quote `user`. An empty text is valid here: it stands for guests.
 */
export function userProblem(user: string): string | undefined {
  if (Buffer.byteLength(user) > userBytesMax) return `of more than ${userBytesMax} bytes: use a shorter id`
  const found = hidden.exec(user)
  if (!found) return undefined
  return (
    `with ${codePointText(found[0])} at position ${found.index + 1}: control characters, broken Unicode, ` +
    'and characters that are invisible or change the direction of text are not allowed'
  )
}
