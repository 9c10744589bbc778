// What a backend may know: who is on a channel, what was said there, which channels there are. And how it has a history forgotten.
import type { z } from 'zod'
import { historyLimitMax } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { clientInfo, publicationOf } from '../../protocol/centrifuge/encode.js'
import type { Fields } from '../../protocol/fields.js'
import { readHistory } from '../../session/commands/query.js'
import { settingsIn } from '../../session/authorize.js'
import type { ChannelName } from '../../tenant/channel.js'
import type { Operation } from '../../tenant/policy.js'
import { channelOf, refOf, type ApiCall } from './method.js'
import type { Channels, History, OfChannel } from './schema.js'
import { namedChannelsMax } from '../fleet/control-messages.js'

/** Bytes of one history answer; at least one publication comes whatever its size. */
const historyBytesMax = 1_048_576

export async function presence(call: ApiCall, fields: z.infer<typeof OfChannel>): Promise<Fields> {
  const { context } = call.gateway
  const channel = presenceOf(call, fields.channel)
  const members = await context.presence.members(refOf(call, channel), { limit: context.limits.membersMax })
  return { presence: new Map(Array.from(members, ([id, member]) => [id, clientInfo(member)] as const)) }
}

export async function presenceStats(call: ApiCall, fields: z.infer<typeof OfChannel>): Promise<Fields> {
  const channel = presenceOf(call, fields.channel)
  const { clients, users } = await call.gateway.context.presence.stats(refOf(call, channel))
  return { num_clients: clients, num_users: users }
}

export async function history(call: ApiCall, fields: z.infer<typeof History>): Promise<Fields> {
  const channel = allowedOn(call, 'History', fields.channel)
  requireHistory(call, channel)
  const reverse = fields.reverse ?? false
  const since = fields.since && { epoch: fields.since.epoch ?? '', offset: fields.since.offset ?? 0 }
  if (reverse && since?.offset === 0)
    throw new CommandError('BAD_REQUEST', 'since: nothing lies before offset 0, where reverse would begin')
  const { publications, top } = await readHistory(call.gateway.context.broker, refOf(call, channel), {
    limit: fields.limit ?? 0,
    since: since ?? undefined,
    reverse,
    pageMax: historyLimitMax,
    pageBytesMax: historyBytesMax,
  })
  return { publications: publications.map(publicationOf), epoch: top.epoch, offset: top.offset }
}

/** Who was told an offset goes on from there: offset and epoch stay. */
export async function historyRemove(call: ApiCall, fields: z.infer<typeof OfChannel>): Promise<Fields> {
  // It takes from everybody what they may still want to read.
  call.caller.requireRole('Admin')
  const channel = allowedOn(call, 'History', fields.channel)
  requireHistory(call, channel)
  await call.gateway.context.broker.removeHistory(refOf(call, channel))
  return {}
}

export async function channels(call: ApiCall, fields: z.infer<typeof Channels>): Promise<Fields> {
  call.caller.requireRole('ReadOnly', 'Admin')
  const answers = await call.gateway.surveys.ask(call.tenant, fields.pattern || '*')
  const clients = new Map<string, number>()
  for (const { named } of answers) {
    // Each of them cut its own list here: nobody could tell what is missing.
    if (named.length === namedChannelsMax)
      throw new CommandError(
        'BAD_REQUEST',
        `pattern: ${namedChannelsMax} channels of one gateway fit it, and that is as many as can be told; ask for fewer`,
      )
    for (const [channel, subscribers] of named)
      if (call.caller.may('Presence', channel))
        clients.set(channel, (clients.get(channel) ?? 0) + subscribers)
  }
  return {
    channels: new Map(Array.from(clients, ([name, count]) => [name, { num_clients: count }] as const)),
  }
}

/** Of the tenant alone: what others have on the same gateways is not its business. */
export async function info(call: ApiCall): Promise<Fields> {
  call.caller.requireRole('ReadOnly', 'Admin')
  const answers = await call.gateway.surveys.ask(call.tenant)
  const nodes = answers.map(
    ({ channels: channelCount, clients, gateway, subscriptions, uptimeS, users }) => ({
      uid: gateway,
      name: `gateway-${gateway.slice(0, 8)}`,
      version: 'parley',
      num_clients: clients,
      num_users: users,
      num_subs: subscriptions,
      num_channels: channelCount,
      uptime: uptimeS,
    }),
  )
  return { nodes }
}

function presenceOf(call: ApiCall, name: string): ChannelName {
  const channel = allowedOn(call, 'Presence', name)
  if (!settingsIn(call.tenant, channel).presence)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no presence`)
  return channel
}

function requireHistory({ tenant }: ApiCall, channel: ChannelName): void {
  if (!settingsIn(tenant, channel).history)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no history`)
}

function allowedOn(call: ApiCall, operation: Operation, name: string): ChannelName {
  const channel = channelOf(call, name)
  call.caller.require(operation, channel)
  return channel
}
