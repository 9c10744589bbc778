// The methods that read presence, history, channels and gateways, and history_remove.
import type { z } from 'zod'
import { historyLimitMax } from '../../broker/broker.js'
import { CommandError } from '../../errors.js'
import { clientInfoFields, publicationFields } from '../../protocol/centrifuge/encode.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { readHistory, readMembers } from '../../session/commands/query.js'
import { channelSettings } from '../../session/authorize.js'
import type { ChannelName } from '../../tenant/channel.js'
import type { Operation } from '../../tenant/policy.js'
import { parseApiChannel, refOf, type ApiMethodCall } from './method.js'
import { resultBytesMax } from './result-bytes.js'
import type { ChannelsParams, HistoryParams, ChannelParams } from './schema.js'
import type { SurveyResult } from '../fleet/surveys.js'

export async function presenceMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof ChannelParams>,
): Promise<MessageFields> {
  const { context } = call.gateway
  const channel = presenceChannel(call, fields.channel)
  const { rates } = call.tenant.quota
  rates.chargeRead(`Cannot read the presence of "${channel}"`)
  const members = await call.results.read(async () => {
    const page = await readMembers(context, refOf(call, channel))
    rates.chargeReadSize(page.members.size, page.bytes)
    return { result: page.members, bytes: page.bytes }
  })
  return { presence: new Map(Array.from(members, ([id, member]) => [id, clientInfoFields(member)] as const)) }
}

export async function presenceStatsMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof ChannelParams>,
): Promise<MessageFields> {
  const channel = presenceChannel(call, fields.channel)
  call.tenant.quota.rates.chargeRead(`Cannot read the presence of "${channel}"`)
  const { clients, users } = await call.gateway.context.presence.stats(refOf(call, channel))
  return { num_clients: clients, num_users: users }
}

export async function historyMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof HistoryParams>,
): Promise<MessageFields> {
  const channel = allowedChannel(call, 'History', fields.channel)
  requireHistory(call, channel)
  const reverse = fields.reverse ?? false
  const since = fields.since && { epoch: fields.since.epoch ?? '', offset: fields.since.offset ?? 0 }
  if (reverse && since?.offset === 0)
    throw new CommandError(
      'BAD_REQUEST',
      'since: reverse reads the publications before the given offset, and there are none before 0',
    )
  const { rates } = call.tenant.quota
  rates.chargeRead(`Cannot read the history of "${channel}"`)
  const { publications, top } = await call.results.read(async () => {
    const { bytes, page } = await readHistory(call.gateway.context.broker, refOf(call, channel), {
      limit: fields.limit ?? 0,
      since: since ?? undefined,
      reverse,
      pageMax: historyLimitMax,
      pageBytesMax: resultBytesMax,
    })
    rates.chargeReadSize(page.publications.length, bytes)
    return { result: page, bytes }
  })
  return { publications: publications.map(publicationFields), epoch: top.epoch, offset: top.offset }
}

/** Deletes the publications and keeps offset and epoch, so that clients continue from their position. */
export async function historyRemoveMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof ChannelParams>,
): Promise<MessageFields> {
  // Every client of the channel loses the history.
  call.caller.requireRole('Admin')
  const channel = allowedChannel(call, 'History', fields.channel)
  requireHistory(call, channel)
  await call.gateway.context.broker.removeHistory(refOf(call, channel))
  return {}
}

export async function channelsMethod(
  call: ApiMethodCall,
  fields: z.infer<typeof ChannelsParams>,
): Promise<MessageFields> {
  call.caller.requireRole('ReadOnly', 'Admin')
  const { clients, survey } = await call.results.read(async () => {
    const result = await countClients(call, fields.pattern || '*')
    return { result, bytes: Array.from(result.clients.keys()).reduce(addChannelBytes, 0) }
  })
  return {
    channels: new Map(Array.from(clients, ([name, count]) => [name, { num_clients: count }] as const)),
    ...incompleteField(survey),
  }
}

/** Returns the number of clients of each channel that matches and that the caller may see. */
async function countClients(
  call: ApiMethodCall,
  pattern: string,
): Promise<{ clients: Map<string, number>; survey: SurveyResult }> {
  const survey = await call.gateway.surveys.collect(call.tenant, pattern)
  const clients = new Map<string, number>()
  for (const { named, truncated } of survey.answers) {
    if (truncated)
      throw new CommandError(
        'BAD_REQUEST',
        `pattern: one gateway has more matching channels than it can list; use a narrower pattern`,
      )
    for (const [channel, subscribers] of named)
      if (call.caller.isAllowed('Presence', channel))
        clients.set(channel, (clients.get(channel) ?? 0) + subscribers)
  }
  return { clients, survey }
}

/** Adds what a channel has in the result: its name, and about 24 bytes of JSON. */
function addChannelBytes(sum: number, channel: string): number {
  return sum + Buffer.byteLength(channel) + 24
}

/** Reports the usage of this tenant only, not that of other tenants on the same gateways. */
export async function infoMethod(call: ApiMethodCall): Promise<MessageFields> {
  call.caller.requireRole('ReadOnly', 'Admin')
  const survey = await call.gateway.surveys.collect(call.tenant)
  const nodes = survey.answers.map(
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
  return { nodes, ...incompleteField(survey) }
}

/** Says how many gateways are missing, because a caller would take a part for the whole. */
function incompleteField({ answers, expected }: SurveyResult): MessageFields {
  return answers.length < expected ? { incomplete: { answered: answers.length, expected } } : {}
}

function presenceChannel(call: ApiMethodCall, name: string): ChannelName {
  const channel = allowedChannel(call, 'Presence', name)
  if (!channelSettings(call.tenant, channel).presence)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no presence`)
  return channel
}

function requireHistory({ tenant }: ApiMethodCall, channel: ChannelName): void {
  if (!channelSettings(tenant, channel).history)
    throw new CommandError('NOT_AVAILABLE', `"${channel}" keeps no history`)
}

function allowedChannel(call: ApiMethodCall, operation: Operation, name: string): ChannelName {
  const channel = parseApiChannel(call, name)
  call.caller.requirePermission(operation, channel)
  return channel
}
