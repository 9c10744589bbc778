// Commands that only read: presence, presence statistics and history of a channel.
import type { Broker, ChannelRef, HistoryPage, Position, Publication } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import type { Command, HistoryCommand, ReplyRef } from '../../protocol/commands.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import { channelSettings, requireAllowed } from '../authorize.js'
import type { Client } from '../client.js'

type QueryOf<Kind> = Extract<Command, { kind: Kind }>

export async function handlePresence(
  client: Client,
  command: QueryOf<'presence'>,
  ref: ReplyRef,
): Promise<void> {
  const channel = requirePresence(client, command.channel)
  const { presence, limits } = client.context
  const members = await presence.members(refOf(client, channel), { limit: limits.membersMax })
  client.reply(ref, { kind: 'presence', channel, members })
}

export async function handlePresenceStats(
  client: Client,
  command: QueryOf<'presenceStats'>,
  ref: ReplyRef,
): Promise<void> {
  const channel = requirePresence(client, command.channel)
  const stats = await client.context.presence.stats(refOf(client, channel))
  client.reply(ref, { kind: 'presenceStats', channel, ...stats })
}

export async function handleHistory(client: Client, command: HistoryCommand, ref: ReplyRef): Promise<void> {
  const channel = channelOf(client, command.channel)
  const { broker, limits } = client.context
  requireAllowed(client, 'History', channel)
  if (!channelSettings(client.tenant, channel).history)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no history`)
  const page = await readHistory(broker, refOf(client, channel), { ...command, ...limits })
  client.reply(ref, { kind: 'history', channel, page })
}

interface PageQuery {
  /** Largest number of publications to return. −1: as many as `pageMax` and `pageBytesMax` allow. */
  readonly limit: number
  readonly since?: Position | undefined
  /** Newest first. */
  readonly reverse: boolean
  readonly pageMax: number
  readonly pageBytesMax: number
}

/**
 * Reads a page of history. Throws UNRECOVERABLE_POSITION for a `since` of another epoch, and the errors of
 * `Broker.history`.
 */
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
      `The position belongs to an earlier stream of "${ref.channel}" (epoch ${since.epoch}, now ${page.top.epoch}): read its history from the start`,
    )
  }
  return cutToBytes(page, pageBytesMax)
}

/**
 * Returns the first publications of the page whose data fits into `bytesMax`, and at least one. The client
 * continues from the last one it received.
 */
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

function requirePresence(client: Client, name: string): ChannelName {
  const channel = channelOf(client, name)
  requireAllowed(client, 'Presence', channel)
  if (!channelSettings(client.tenant, channel).presence)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no presence`)
  return channel
}

function channelOf(client: Client, name: string): ChannelName {
  return parseChannelName(name, { maxLength: client.tenant.policy.limits.channels.nameMaxLength })
}

function refOf(client: Client, channel: ChannelName): ChannelRef {
  return { tenantId: client.tenant.policy.tenantId, channel }
}
