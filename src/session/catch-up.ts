// Reads from history what a new subscription has missed, and merges it with the publications that arrived
// during the read.
import { isSameStream, type HistoryPage, type Position, type Publication } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { SubscribeCommand } from '../protocol/commands.js'
import type { Client } from './client.js'
import { cutToBytes } from './commands/query.js'
import { mergeNewest, mergeRecovered, type Recovered } from './recovery.js'
import type { Subscription } from './subscription.js'

/**
 * Reads what the subscriber missed since `since`. The subscription collects the publications that arrive
 * during the read.
 */
export async function readMissed(
  { context, delayedMs, tenant }: Client,
  { filter, ref, serverSide }: Subscription,
  { newestOnly, since }: { newestOnly: boolean; since: Position | undefined },
): Promise<HistoryPage> {
  const { broker, limits } = context
  // A subscriber that is new, or whose position is the newest, has missed nothing: later publications arrive
  // live.
  const top = broker.confirmedPosition(ref)
  if (top && (!since || (isSameStream(since.epoch, top.epoch) && since.offset === top.offset)))
    return { publications: [], top, continuous: true }
  // The read of the position is part of the subscription and charged with it.
  if (!since) return broker.history(ref, { limit: 0 })
  const { rates } = tenant.quota
  // The client did not request a server-side subscription and cannot repeat it, so its read is not refused.
  if (serverSide) rates.chargeReadLater()
  else rates.chargeRead(`Cannot recover "${ref.channel}"`, delayedMs)
  if (newestOnly) return broker.history(ref, { limit: filter ? limits.pageMax : 1, reverse: true })
  // One publication more than the reply may hold, to distinguish a complete page from a truncated one.
  const { bytes, page } = cutToBytes(
    await broker.history(ref, { since, limit: limits.pageMax + 1 }),
    limits.pageBytesMax,
  )
  rates.chargeReadSize(page.publications.length, bytes)
  return page
}

/** The content of a subscribe reply, and the publications that are sent right after it. */
export interface CaughtUp {
  /**
   * The client's position before `missed`. Undefined: the subscription does not track positions.
   */
  readonly position?: Position | undefined
  /** Publications for the reply, oldest first. */
  readonly missed: readonly Publication[]
  /** Publications that arrived after `position` and are not part of the reply, oldest first. */
  readonly after: readonly Publication[]
  /** The position after `missed`. */
  readonly top?: Position | undefined
  readonly recovered: boolean
}

/**
 * Merges the page that was read with what arrived during the read. Throws PERMISSION_DENIED when the
 * subscription ended meanwhile, and UNRECOVERABLE_POSITION when the client prefers that error to a
 * subscription with a gap (`gapIsError`).
 */
export function catchUp(prepared: {
  readonly client: Client
  readonly subscription: Subscription
  readonly command: SubscribeCommand
  readonly page: HistoryPage | undefined
  readonly newestOnly: boolean
}): CaughtUp {
  const { client, command, newestOnly, page, subscription } = prepared
  if (subscription.ended)
    throw new CommandError(
      'PERMISSION_DENIED',
      `The channel rules changed: "${command.channel}" is no longer allowed`,
    )
  const live = subscription.collected()
  if (!page) return { missed: [], after: live, recovered: false }
  const { since } = command
  const { clock, limits, metrics } = client.context
  const { lostUntil } = subscription
  const merged: Recovered = lostUntil
    ? { kind: 'gap', reason: 'tooMany', top: later(page.top, lostUntil), after: [] }
    : newestOnly && since
      ? mergeNewest({ since, page, live, wants: ({ tags }) => subscription.filter?.matches(tags) ?? true })
      : mergeRecovered({ since, page, live, limit: limits.pageMax })
  if (!since) {
    // The client starts where the page ends, and first gets what arrived during the read. If the stream was
    // replaced meanwhile, it starts with the new stream.
    const [top, after] =
      merged.kind === 'whole' ? [page.top, merged.publications] : [merged.top, merged.after]
    return { position: top, missed: [], after, top, recovered: false }
  }
  metrics.recoveries.inc({ result: merged.kind === 'whole' ? 'recovered' : merged.reason })
  if (merged.kind === 'whole') {
    const [oldest] = merged.publications
    if (oldest) metrics.recoveryDelaySeconds.observe(Math.max(0, clock.epochMs() - oldest.timeMs) / 1000)
    const position = positionBefore(subscription, { since, missed: merged.publications, top: merged.top })
    return { position, missed: merged.publications, after: [], top: merged.top, recovered: true }
  }
  if (command.gapIsError) {
    throw new CommandError(
      'UNRECOVERABLE_POSITION',
      `Cannot recover "${command.channel}": ${gapText[merged.reason]}`,
    )
  }
  return { position: merged.top, missed: [], after: merged.after, top: merged.top, recovered: false }
}

/**
 * Returns the client's position before the first missed publication that passes its filter. The filter drops
 * the publications before that one, so the client does not have to request them again.
 */
function positionBefore(
  subscription: Subscription,
  { missed, since, top }: { missed: readonly Publication[]; since: Position; top: Position },
): Position {
  const first = missed.findIndex((publication) => subscription.wants(publication))
  if (first === -1) return top
  const skipped = missed.slice(0, first).findLast(({ offset }) => offset > 0)
  if (skipped) return { epoch: top.epoch, offset: skipped.offset }
  // An offset of another stream has no meaning in this one.
  const sameStream = since.epoch === '' || isSameStream(since.epoch, top.epoch)
  return { epoch: top.epoch, offset: sameStream ? since.offset : (missed[first]?.offset ?? 1) - 1 }
}

/**
 * Returns the later of two positions. When the epochs differ, that is the live one, because it is newer:
 * offsets of different epochs do not compare.
 */
function later(page: Position, live: Position): Position {
  return page.epoch === live.epoch && page.offset > live.offset ? page : live
}

const gapText: Readonly<Record<Extract<Recovered, { kind: 'gap' }>['reason'], string>> = {
  epoch: 'the position belongs to another stream',
  trimmed: 'history no longer reaches back that far',
  ahead: 'the position is after the newest publication',
  tooMany: 'more was missed than one reply holds',
  hole: 'an offset is missing',
}
