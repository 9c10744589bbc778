// Questions that change nothing: who is here, what was said.
import type { HistoryPage, Publication } from '../broker/broker.js'
import { CommandError } from '../errors.js'
import type { Command, HistoryCommand, ReplyRef } from '../protocol/commands.js'
import { parseChannelName, type ChannelName } from '../tenant/channel.js'
import { requireAllowed, settingsOf } from './rights.js'
import type { Session } from './session.js'

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
  const limit = command.limit < 0 ? limits.pageMax : Math.min(command.limit, limits.pageMax)
  const page = await broker.history(refOf(session, channel), {
    limit,
    since: command.since,
    reverse: command.reverse,
  })
  if (command.since && command.since.epoch !== '' && command.since.epoch !== page.top.epoch) {
    throw new CommandError(
      'UNRECOVERABLE_POSITION',
      `The position is of another life of "${channel}" (epoch ${command.since.epoch}, now ${page.top.epoch}): read its history from the start`,
    )
  }
  session.reply(ref, { kind: 'history', channel, page: cutToBytes(page, limits.pageBytesMax) })
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

function refOf(session: Session, channel: ChannelName): { tenantId: string; channel: ChannelName } {
  return { tenantId: session.tenant.policy.tenantId, channel }
}
