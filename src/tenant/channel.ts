// The rules for channel names. Names are used in Redis keys, logs and patterns, and people compare them by
// eye, so characters that are invisible or that imitate others are not allowed.
import { CommandError } from '../errors.js'

declare const channelName: unique symbol

/** A channel name that `parseChannelName` has validated. */
export type ChannelName = string & { readonly [channelName]: true }

/** The longest channel name that any tenant can allow, in UTF-8 bytes. */
export const channelNameBytesMax = 255

/**
 * Braces would choose the Redis slot, and `*` belongs to patterns. The other characters are invisible or
 * change the direction of text. With the flag `u`, `Cs` matches a lone surrogate.
 */
const forbidden = /[{}*\p{Cc}\p{White_Space}\p{Bidi_Control}\p{Cs}\u180E\u200B\u2060\uFEFF]/u

/**
 * Validates a channel name of at most `maxLength` UTF-8 bytes, and never more than 255.
 * @throws CommandError INVALID_CHANNEL when `text` is not a valid name.
 */
export function parseChannelName(text: string, options: { maxLength: number }): ChannelName {
  assertChannelName(text, options)
  return text
}

function assertChannelName(text: string, options: { maxLength: number }): asserts text is ChannelName {
  const problem = channelNameProblem(text, options)
  if (problem !== undefined) throw new CommandError('INVALID_CHANNEL', problem)
}

/**
 * Returns why `text` is not a valid channel name, as a sentence that does not quote `text`. Returns undefined
 * when `text` is valid.
 */
export function channelNameProblem(text: string, options: { maxLength: number }): string | undefined {
  if (text === '') return 'A channel name must have at least one character.'

  const bytesMax = Math.min(options.maxLength, channelNameBytesMax)
  const bytes = Buffer.byteLength(text)
  if (bytes > bytesMax) return `The channel name has ${bytes} bytes; at most ${bytesMax} are allowed.`

  if (text.startsWith('$') || text.startsWith('#')) {
    return `A channel name may not begin with "${text.charAt(0)}": such names are reserved for Parley.`
  }

  const bad = forbidden.exec(text)
  if (bad) {
    return (
      `The channel name contains ${codePointText(bad[0])} at position ${bad.index + 1}; white ` +
      'space, control characters, invisible characters, braces and "*" are not allowed.'
    )
  }

  // Two names that look the same would otherwise be two channels with two sets of members.
  if (text.normalize('NFC') !== text) {
    return (
      'The channel name is not in Unicode normal form C: normalize it (in JavaScript, ' +
      'name.normalize()) and send it again.'
    )
  }
  return undefined
}

/** Returns a notation such as `U+202E` for a character that must not be printed. */
export function codePointText(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16).toUpperCase()
  return `U+${hex.padStart(4, '0')}`
}
