// What a channel may be called. Names go into Redis keys, logs and patterns, and people compare them by eye: nothing in them may deceive.
import { CommandError } from '../errors.js'

declare const channelName: unique symbol

/** A name that `parseChannelName` let pass. */
export type ChannelName = string & { readonly [channelName]: true }

/** No tenant's limit goes above this. */
export const channelNameBytesMax = 255

/** Braces would choose the Redis slot, `*` is a pattern's; the rest is invisible or turns text around. Cs under /u is a lone surrogate. */
const forbidden = /[{}*\p{Cc}\p{White_Space}\p{Bidi_Control}\p{Cs}\u180E\u200B\u2060\uFEFF]/u

/** @throws CommandError INVALID_CHANNEL unless `text` is a channel name of at most `maxLength` (and 255) UTF-8 bytes. */
export function parseChannelName(text: string, options: { maxLength: number }): ChannelName {
  assertChannelName(text, options)
  return text
}

function assertChannelName(text: string, options: { maxLength: number }): asserts text is ChannelName {
  const problem = channelNameProblem(text, options)
  if (problem !== undefined) throw new CommandError('INVALID_CHANNEL', problem)
}

/** Why `text` is no channel name, as a sentence that does not repeat it. Undefined: it is one. */
export function channelNameProblem(text: string, options: { maxLength: number }): string | undefined {
  if (text === '') return 'A channel name needs at least one character.'

  const bytesMax = Math.min(options.maxLength, channelNameBytesMax)
  const bytes = Buffer.byteLength(text)
  if (bytes > bytesMax) return `The channel name has ${bytes} bytes; at most ${bytesMax} are allowed.`

  if (text.startsWith('$') || text.startsWith('#')) {
    return `A channel name may not begin with "${text.charAt(0)}": such names are kept for the platform.`
  }

  const bad = forbidden.exec(text)
  if (bad) {
    return `The channel name holds ${codePointText(bad[0])} at position ${bad.index + 1}; white space, control characters, braces and "*" may not be in a name.`
  }

  // Twins that look the same would be two channels with two sets of members.
  if (text.normalize('NFC') !== text) {
    return 'The channel name is not in Unicode normal form C: normalise it (in JavaScript, name.normalize()) and send it again.'
  }
  return undefined
}

/** `U+202E`: a name for a character that must not be printed. */
function codePointText(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16).toUpperCase()
  return `U+${hex.padStart(4, '0')}`
}
