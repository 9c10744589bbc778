// Questions that change nothing: who is here, what was said.
import type { Broker, ChannelRef, HistoryPage, Position, Publication } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import type { Command, HistoryCommand, ReplyRef } from '../../protocol/commands.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import { requireAllowed, settingsOf } from '../authorize.js'
import type { Session } from '../session.js'

type QueryOf<Kind> = Extract<Command, { kind: Kind }>

export async function presence(session: Session, command: QueryOf<'presence'>, ref: ReplyRef): Promise<void> {
  const channel = requirePresence(session, command.channel)
  const { presence: directory, limits } = session.context
  const members = await directory.members(refOf(session, channel), { limit: limits.membersMax })
  session.reply(ref, { kind: 'presence', channel, members })
}

export async function presenceStats(
  session: Session,
  command: QueryOf<'presenceStats'>,
  ref: ReplyRef,
): Promise<void> {
  const channel = requirePresence(session, command.channel)
  const stats = await session.context.presence.stats(refOf(session, channel))
  session.reply(ref, { kind: 'presenceStats', channel, ...stats })
}

export async function history(session: Session, command: HistoryCommand, ref: ReplyRef): Promise<void> {
  const channel = channelOf(session, command.channel)
  const { broker, limits } = session.context
  requireAllowed(session, 'History', channel)
  if (!settingsOf(session, channel).history)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no history`)
  const page = await readHistory(broker, refOf(session, channel), { ...command, ...limits })
  session.reply(ref, { kind: 'history', channel, page })
}

interface PageQuery {
  /** -1: as many as fit. */
  readonly limit: number
  readonly since?: Position | undefined
  readonly reverse: boolean
  readonly pageMax: number
  readonly pageBytesMax: number
}

/** Throws UNRECOVERABLE_POSITION for a `since` of another epoch. */
export async function readHistory(broker: Broker, ref: ChannelRef, query: PageQuery): Promise<HistoryPage> {
  const { limit, pageBytesMax, pageMax, reverse, since } = query
  const page = await broker.history(ref, {
    limit: limit < 0 ? pageMax : Math.min(limit, pageMax),
    since,
    reverse,
  })
  if (since && since.epoch !== '' && since.epoch !== page.top.epoch) {
    throw new CommandError(
      'UNRECOVERABLE_POSITION',
      `The position is of another life of "${ref.channel}" (epoch ${since.epoch}, now ${page.top.epoch}): read its history from the start`,
    )
  }
  return cutToBytes(page, pageBytesMax)
}

/** As many as fit, in the order asked for; at least one. The client pages on from the last it got. */
export function cutToBytes(page: HistoryPage, bytesMax: number): HistoryPage {
  const fitting: Publication[] = []
  let bytes = 0
  for (const publication of page.publications) {
    bytes += publication.data.byteLength
    if (bytes > bytesMax && fitting.length > 0) break
    fitting.push(publication)
  }
  return fitting.length === page.publications.length ? page : { ...page, publications: fitting }
}

function requirePresence(session: Session, name: string): ChannelName {
  const channel = channelOf(session, name)
  requireAllowed(session, 'Presence', channel)
  if (!settingsOf(session, channel).presence)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no presence`)
  return channel
}

function channelOf(session: Session, name: string): ChannelName {
  return parseChannelName(name, { maxLength: session.tenant.policy.limits.channels.nameMaxLength })
}

function refOf(session: Session, channel: ChannelName): ChannelRef {
  return { tenantId: session.tenant.policy.tenantId, channel }
}
