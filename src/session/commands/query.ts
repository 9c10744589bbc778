// Commands that only read: presence, presence statistics and history of a channel.
import {
  isSameStream,
  type Broker,
  type ChannelRef,
  type ClientInfo,
  type HistoryPage,
  type Position,
  type Publication,
} from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import type { Command, HistoryCommand, ReplyRef } from '../../protocol/commands.js'
import { parseChannelName, type ChannelName } from '../../tenant/channel.js'
import { channelSettings, requireAllowed } from '../authorize.js'
import type { Client } from '../client.js'
import type { SessionContext } from '../context.js'
import { inTurn } from '../in-turn.js'

type QueryOf<Kind> = Extract<Command, { kind: Kind }>

export async function handlePresence(
  client: Client,
  command: QueryOf<'presence'>,
  ref: ReplyRef,
): Promise<void> {
  const channel = requirePresence(client, command.channel)
  const { rates } = client.tenant.quota
  rates.chargeRead(`Cannot read the presence of "${channel}"`, client.delayedMs)
  const { bytes, members, truncated } = await readMembers(client.context, refOf(client, channel))
  rates.chargeReadSize(members.size, bytes)
  await inTurn(client, () => client.reply(ref, { kind: 'presence', channel, members, truncated }))
}

export async function handlePresenceStats(
  client: Client,
  command: QueryOf<'presenceStats'>,
  ref: ReplyRef,
): Promise<void> {
  const channel = requirePresence(client, command.channel)
  client.tenant.quota.rates.chargeRead(`Cannot read the presence of "${channel}"`, client.delayedMs)
  const stats = await client.context.presence.stats(refOf(client, channel))
  client.reply(ref, { kind: 'presenceStats', channel, ...stats })
}

export async function handleHistory(client: Client, command: HistoryCommand, ref: ReplyRef): Promise<void> {
  const channel = channelOf(client, command.channel)
  const { broker, limits } = client.context
  requireAllowed(client, 'History', channel)
  if (!channelSettings(client.tenant, channel).history)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no history`)
  const { rates } = client.tenant.quota
  rates.chargeRead(`Cannot read the history of "${channel}"`, client.delayedMs)
  const { bytes, page } = await readHistory(broker, refOf(client, channel), { ...command, ...limits })
  rates.chargeReadSize(page.publications.length, bytes)
  await inTurn(client, () => client.reply(ref, { kind: 'history', channel, page }))
}

/** The publications that are read before the size of the page is known. */
const firstPartMax = 64

interface PageQuery {
  /** Largest number of publications to return. −1: as many as `pageMax` and `pageBytesMax` allow. */
  readonly limit: number
  readonly since?: Position | undefined
  /** Newest first. */
  readonly reverse: boolean
  readonly pageMax: number
  readonly pageBytesMax: number
}

/** A page that fits into one reply. */
export interface SizedPage {
  readonly page: HistoryPage
  /** About how many bytes its publications have in a reply. */
  readonly bytes: number
}

/**
 * Reads a page of history. Throws UNRECOVERABLE_POSITION for a `since` of another epoch, and the errors of
 * `Broker.history`.
 */
export async function readHistory(broker: Broker, ref: ChannelRef, query: PageQuery): Promise<SizedPage> {
  const { pageBytesMax, pageMax, reverse, since } = query
  const limit = query.limit < 0 ? pageMax : Math.min(query.limit, pageMax)
  let first = await broker.history(ref, { limit: Math.min(limit, firstPartMax), since, reverse })
  const last = first.publications.at(-1)
  // The first publications have expired and are not returned, although later ones are left.
  const skipsExpired =
    !reverse &&
    first.publications.length < firstPartMax &&
    last?.offset !== first.top.offset &&
    bytesOf(first) < pageBytesMax
  if (skipsExpired && limit > firstPartMax) first = await broker.history(ref, { limit, since, reverse })
  const { top } = first
  const publications = [...first.publications]
  let bytes = bytesOf(first)
  // The broker counts publications and not bytes, so a long page of large publications is read in parts.
  while (publications.length >= firstPartMax && publications.length < limit && bytes < pageBytesMax) {
    const { length } = publications
    const fitting = Math.ceil(((pageBytesMax - bytes) * length) / bytes)
    const part = await broker.history(ref, {
      limit: Math.min(limit - length, Math.max(fitting, firstPartMax)),
      since: { epoch: top.epoch, offset: publications.at(-1)?.offset ?? 0 },
      reverse,
    })
    // An empty part is the end, or belongs to a stream that has replaced this one.
    if (part.publications.length === 0 || !part.continuous || part.top.epoch !== top.epoch) break
    publications.push(...part.publications)
    bytes += bytesOf(part)
  }
  const page: HistoryPage = { ...first, publications }
  if (since && since.epoch !== '' && !isSameStream(since.epoch, page.top.epoch)) {
    throw new CommandError(
      'UNRECOVERABLE_POSITION',
      `The position belongs to an earlier stream of "${ref.channel}" (epoch ${since.epoch}, now ${page.top.epoch}): read its history from the start`,
    )
  }
  return cutToBytes(page, pageBytesMax)
}

/**
 * The bytes that a publication or a member has in a reply beside its texts: names of fields, numbers, epoch.
 */
const envelopeBytes = 128

/** Returns about how many bytes the publication has in a reply. */
function publicationBytes({ data, info, tags }: Publication): number {
  let bytes = envelopeBytes + data.byteLength + (info ? memberBytes(info) : 0)
  for (const [name, value] of tags ?? []) bytes += name.length + value.length + 6
  return bytes
}

function memberBytes({ client, info, name, user }: ClientInfo): number {
  return user.length + client.length + (name?.length ?? 0) + (info?.byteLength ?? 0)
}

/** Returns about how many bytes the publications of the page have in a reply. */
function bytesOf(page: HistoryPage): number {
  return page.publications.reduce((sum, publication) => sum + publicationBytes(publication), 0)
}

/** The members that fit into one reply. */
export interface MembersPage {
  readonly members: ReadonlyMap<string, ClientInfo>
  readonly bytes: number
  /** Members were left out, or may have been: as many were read as one reply may have. */
  readonly truncated: boolean
}

/** Reads the members of a channel, as many as fit into one reply. Rejects like `Presence.members`. */
export async function readMembers(
  { limits, presence }: Pick<SessionContext, 'limits' | 'presence'>,
  ref: ChannelRef,
): Promise<MembersPage> {
  const { membersMax, pageBytesMax } = limits
  const { isCut, members } = await presence.members(ref, { limit: membersMax, bytesMax: pageBytesMax })
  const page = cutMembers(members, pageBytesMax)
  return members.size < membersMax && !isCut ? page : { ...page, truncated: true }
}

/** Returns the first members that fit into `bytesMax`. */
function cutMembers(members: ReadonlyMap<string, ClientInfo>, bytesMax: number): MembersPage {
  const fitting = new Map<string, ClientInfo>()
  let bytes = 0
  for (const [session, info] of members) {
    const memberSize = envelopeBytes + session.length + memberBytes(info)
    if (bytes + memberSize > bytesMax) return { members: fitting, bytes, truncated: true }
    bytes += memberSize
    fitting.set(session, info)
  }
  return { members, bytes, truncated: false }
}

/**
 * Returns the first publications of the page that fit into `bytesMax` with all their fields, and at least
 * one. The client continues from the last one it received.
 */
export function cutToBytes(page: HistoryPage, bytesMax: number): SizedPage {
  const fitting: Publication[] = []
  let bytes = 0
  for (const publication of page.publications) {
    const next = bytes + publicationBytes(publication)
    if (next > bytesMax && fitting.length > 0) break
    bytes = next
    fitting.push(publication)
  }
  const isWhole = fitting.length === page.publications.length
  return { page: isWhole ? page : { ...page, publications: fitting }, bytes }
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
