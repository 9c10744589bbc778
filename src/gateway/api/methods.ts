// The methods of the server API, by the names that Centrifuge's server clients know.
import { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { defineMethod, type ApiMethodCall, type ApiMethod } from './method.js'
import { broadcastMethod, publishMethod } from './publish.js'
import { channelsMethod, historyMethod, historyRemoveMethod, infoMethod, presenceMethod, presenceStatsMethod } from './query.js'
import * as schema from './schema.js'
import { disconnectMethod, refreshMethod, subscribeMethod, unsubscribeMethod } from './users.js'

export const apiMethods: Readonly<Record<string, ApiMethod>> = {
  publish: defineMethod({
    summary: 'Sends a message to a channel.',
    request: schema.PublishRequest,
    result: schema.PublishResult,
    run: publishMethod,
  }),
  broadcast: defineMethod({
    summary: 'Sends one message to several channels.',
    request: schema.BroadcastRequest,
    result: schema.BroadcastResult,
    run: broadcastMethod,
  }),
  subscribe: defineMethod({
    summary: 'Subscribes a user’s connections to a channel.',
    request: schema.SubscribeRequest,
    result: schema.EmptyResult,
    run: subscribeMethod,
  }),
  unsubscribe: defineMethod({
    summary: 'Ends a user’s subscriptions to a channel, with 2000.',
    request: schema.UnsubscribeRequest,
    result: schema.EmptyResult,
    run: unsubscribeMethod,
  }),
  disconnect: defineMethod({
    summary: 'Ends a user’s connections.',
    request: schema.DisconnectRequest,
    result: schema.EmptyResult,
    run: disconnectMethod,
  }),
  refresh: defineMethod({
    summary: 'Lets a user’s connections live longer, or asks them for a new token.',
    request: schema.RefreshRequest,
    result: schema.EmptyResult,
    run: refreshMethod,
  }),
  presence: defineMethod({
    summary: 'Who is on a channel, by connection.',
    request: schema.ChannelRequest,
    result: schema.PresenceResult,
    run: presenceMethod,
  }),
  presence_stats: defineMethod({
    summary: 'How many are on a channel.',
    request: schema.ChannelRequest,
    result: schema.PresenceStatsResult,
    run: presenceStatsMethod,
  }),
  history: defineMethod({
    summary: 'What was said on a channel: at most 1000 publications and 1 MiB at once.',
    request: schema.HistoryRequest,
    result: schema.HistoryResult,
    run: historyMethod,
  }),
  history_remove: defineMethod({
    summary: 'Forgets what was said on a channel; offset and epoch stay.',
    request: schema.ChannelRequest,
    result: schema.EmptyResult,
    run: historyRemoveMethod,
  }),
  channels: defineMethod({
    summary: 'Channels with subscribers, over all gateways.',
    request: schema.ChannelsRequest,
    result: schema.ChannelsResult,
    run: channelsMethod,
  }),
  info: defineMethod({
    summary: 'The gateways, and what the tenant has on each.',
    request: schema.InfoRequest,
    result: schema.InfoResult,
    run: infoMethod,
  }),
}

/** All that can be called; `batch` is no method like the others. */
export const methodNames: readonly string[] = [...Object.keys(apiMethods), 'batch']

/** Rejects with UNKNOWN_TYPE for a name that is no method's, and as the method does. */
export async function runMethod(call: ApiMethodCall, name: string, fields: unknown): Promise<MessageFields> {
  const method = Object.hasOwn(apiMethods, name) ? apiMethods[name] : undefined
  if (!method)
    throw new CommandError(
      'UNKNOWN_TYPE',
      `There is no method of that name; there are ${methodNames.join(', ')}`,
    )
  const { key, policy } = call.tenant
  if (policy.suspended)
    throw new CommandError('TENANT_SUSPENDED', `The tenant ${key} is suspended; ask whoever runs it`)
  return method.run(call, fields)
}
