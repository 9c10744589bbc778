// Compiles the `match` of a channel rule. It does not use regular expressions, because a tenant's pattern
// must not be able to stall a gateway: each comparison is one pass over the channel name.
import { channelNameBytesMax, channelNameProblem } from './channel.js'
import { claimAt, claimTexts, type Claims } from './claims.js'
import type { ChannelRule } from './policy.js'
import { guestPrefix, isGuest } from './user.js'

/** The values of a pattern's variables. The user of a guest is `guest:<id>`. */
export interface MatchSubject {
  readonly user: string
  readonly anonymous: boolean
  readonly claims: Claims
}

export interface ChannelMatch {
  /** Returns whether the rule covers `channel` for this subject. */
  matches(channel: string, subject: MatchSubject): boolean
  /**
   * Returns whether the rule covers `channel` for any subject: a variable matches any value. True whenever
   * `matches` is true.
   */
  matchesAnySubject(channel: string): boolean
  /**
   * Higher is more specific: a literal ranks above a prefix (longer is higher), and a prefix above a pattern
   * (by number of literal segments).
   */
  readonly specificity: number
}

/** One part of a pattern, between colons. `path` is the path of a claim. */
type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'user' }
  | { readonly kind: 'claim'; readonly path: string }

/** The most segments that a pattern may have. */
export const segmentsMax = 16
const noMatch = -1

/** Returns why a match cannot be compiled, as a sentence, or undefined when it can be compiled. */
export function matchProblem(match: ChannelRule['match']): string | undefined {
  const { type, value } = match
  if (value === '')
    return (
      'The value is empty: enter a channel name, a prefix or a pattern ("*" matches every name ' +
      'without a colon).'
    )
  if (type !== 'Pattern') {
    if (/[{}*]/.test(value))
      return `"${value}" contains braces or "*", which are allowed only in type Pattern.`
    return channelNameProblem(value, { maxLength: channelNameBytesMax })
  }
  const segments = value.split(':')
  if (segments.length > segmentsMax)
    return `"${value}" has ${segments.length} segments; at most ${segmentsMax} are allowed.`
  for (const text of segments) {
    if (text !== '' && !parseSegment(text)) {
      return (
        `"${text}" is not a valid segment: a segment is plain text, "*", "{user}" or ` +
        '"{claims.<name>}", and these cannot be combined.'
      )
    }
  }
  const literals = value.replaceAll(/[{}*]/g, 'x')
  return channelNameProblem(literals, { maxLength: channelNameBytesMax })
}

/** Compiles a match that has no `matchProblem`; throws a plain Error otherwise. */
export function compileMatch(match: ChannelRule['match']): ChannelMatch {
  const problem = matchProblem(match)
  if (problem !== undefined) throw new Error(problem)
  const { type, value } = match
  switch (type) {
    case 'Literal': {
      const matches = (channel: string): boolean => channel === value
      return { matches, matchesAnySubject: matches, specificity: 2000 }
    }
    case 'Prefix': {
      const matches = (channel: string): boolean => channel.startsWith(value)
      return { matches, matchesAnySubject: matches, specificity: 1000 + value.length }
    }
    case 'Pattern':
      return compilePattern(value)
  }
}

function compilePattern(value: string): ChannelMatch {
  const segments = value.split(':').map((text) => parseSegment(text) ?? { kind: 'literal' as const, text })
  const hasUser = segments.some((segment) => segment.kind === 'user')
  return {
    matches: (channel, subject) =>
      matchSegments(segments, channel, (segment, at) => matchForSubject(segment, channel, at, subject)),
    matchesAnySubject: (channel) =>
      matchSegments(segments, channel, (segment, at) => matchForAnyUser(segment, channel, at)) ||
      (hasUser && matchSegments(segments, channel, (segment, at) => matchForAnyGuest(segment, channel, at))),
    specificity: segments.filter((segment) => segment.kind === 'literal').length,
  }
}

/**
 * Returns undefined for text that is not a segment. Empty text is a literal, because `a::b` is a valid name.
 */
function parseSegment(text: string): Segment | undefined {
  if (text === '*') return { kind: 'any' }
  if (text === '{user}') return { kind: 'user' }
  if (text.startsWith('{claims.') && text.endsWith('}')) {
    const path = text.slice('{claims.'.length, -1)
    return path === '' || /[{}*]/.test(path) ? undefined : { kind: 'claim', path }
  }
  return /[{}*]/.test(text) ? undefined : { kind: 'literal', text }
}

/**
 * Compares segments and name in one pass. `end(segment, at)` returns the index at which the segment that
 * starts at `at` ends, or `noMatch`.
 */
function matchSegments(
  segments: readonly Segment[],
  channel: string,
  end: (segment: Segment, at: number) => number,
): boolean {
  let at = 0
  for (const segment of segments) {
    if (at > channel.length) return false
    const stop = end(segment, at)
    if (stop === noMatch) return false
    at = stop + 1
  }
  return at === channel.length + 1
}

function matchForSubject(segment: Segment, channel: string, at: number, subject: MatchSubject): number {
  switch (segment.kind) {
    case 'user':
      return matchUser(channel, at, subject)
    case 'claim': {
      const end = segmentEnd(channel, at)
      const text = channel.slice(at, end)
      return text !== '' && claimTexts(claimAt(subject.claims, segment.path)).includes(text) ? end : noMatch
    }
    case 'any':
    case 'literal':
      return matchForAnyUser(segment, channel, at)
  }
}

/**
 * The name of a guest fills two segments, `guest` and its id. Any other user name that contains a
 * colon matches nothing, so that no `sub` can imitate a guest or span several segments.
 */
function matchUser(channel: string, at: number, subject: MatchSubject): number {
  const own = subject.anonymous ? subject.user.slice(guestPrefix.length) : subject.user
  if (own === '' || own.includes(':')) return noMatch
  if (subject.anonymous && !isGuest(subject.user)) return noMatch
  return matchText(channel, at, subject.user)
}

function matchForAnyUser(segment: Segment, channel: string, at: number): number {
  if (segment.kind === 'literal') return matchText(channel, at, segment.text)
  const end = segmentEnd(channel, at)
  return end > at ? end : noMatch
}

/** Does the same as `matchForAnyUser`, for a user that is a guest. */
function matchForAnyGuest(segment: Segment, channel: string, at: number): number {
  if (segment.kind !== 'user') return matchForAnyUser(segment, channel, at)
  if (!channel.startsWith(guestPrefix, at)) return noMatch
  const clientAt = at + guestPrefix.length
  const end = segmentEnd(channel, clientAt)
  return end > clientAt ? end : noMatch
}

function matchText(channel: string, at: number, text: string): number {
  const end = at + text.length
  const whole = end === channel.length || channel[end] === ':'
  return whole && channel.startsWith(text, at) ? end : noMatch
}

function segmentEnd(channel: string, at: number): number {
  const colon = channel.indexOf(':', at)
  return colon === -1 ? channel.length : colon
}
