// The methods of the server API, by the names of Centrifugo's server API.
import { CommandError } from '../../errors.js'
import type { MessageFields } from '../../protocol/message-fields.js'
import { defineMethod, type ApiMethodCall, type ApiMethod } from './method.js'
import { broadcastMethod, publishMethod } from './publish.js'
import {
  channelsMethod,
  historyMethod,
  historyRemoveMethod,
  infoMethod,
  presenceMethod,
  presenceStatsMethod,
} from './query.js'
import { revocationsMethod, revokeMethod, unrevokeMethod } from './revocations.js'
import * as schema from './schema.js'
import { disconnectMethod, refreshMethod, subscribeMethod, unsubscribeMethod } from './users.js'

/** A broadcast counts as one call for each of this number of channels. */
const channelsPerCall = 10
/** Every gateway answers these methods. */
const surveyCost = 10

export const apiMethods: Readonly<Record<string, ApiMethod>> = {
  publish: defineMethod({
    summary: 'Sends a message to a channel.',
    request: schema.PublishParams,
    result: schema.PublishResult,
    run: publishMethod,
  }),
  broadcast: defineMethod({
    summary: 'Sends one message to several channels.',
    request: schema.BroadcastParams,
    result: schema.BroadcastResult,
    // Each channel is also charged as a publish.
    cost: ({ channels }) => Math.ceil(channels.length / channelsPerCall),
    run: broadcastMethod,
  }),
  subscribe: defineMethod({
    summary: 'Subscribes a user’s connections to a channel.',
    request: schema.SubscribeParams,
    result: schema.EmptyResult,
    run: subscribeMethod,
  }),
  unsubscribe: defineMethod({
    summary: 'Ends a user’s subscriptions to a channel, with 2000.',
    request: schema.UnsubscribeParams,
    result: schema.EmptyResult,
    run: unsubscribeMethod,
  }),
  disconnect: defineMethod({
    summary: 'Ends a user’s connections.',
    request: schema.DisconnectParams,
    result: schema.EmptyResult,
    run: disconnectMethod,
  }),
  refresh: defineMethod({
    summary: 'Extends a user’s connections, or asks them for a new token.',
    request: schema.RefreshParams,
    result: schema.EmptyResult,
    run: refreshMethod,
  }),
  presence: defineMethod({
    summary: 'Lists the connections on a channel.',
    request: schema.ChannelParams,
    result: schema.PresenceResult,
    run: presenceMethod,
  }),
  presence_stats: defineMethod({
    summary: 'Counts the connections and users on a channel.',
    request: schema.ChannelParams,
    result: schema.PresenceStatsResult,
    run: presenceStatsMethod,
  }),
  history: defineMethod({
    summary: 'Reads the stored publications of a channel, at most 1000 and 1 MiB per request.',
    request: schema.HistoryParams,
    result: schema.HistoryResult,
    run: historyMethod,
  }),
  history_remove: defineMethod({
    summary: 'Deletes the stored publications of a channel; offset and epoch stay.',
    request: schema.ChannelParams,
    result: schema.EmptyResult,
    run: historyRemoveMethod,
  }),
  channels: defineMethod({
    summary: 'Lists the channels with subscribers on all gateways.',
    request: schema.ChannelsParams,
    result: schema.ChannelsResult,
    cost: () => surveyCost,
    run: channelsMethod,
  }),
  revoke: defineMethod({
    summary: 'Refuses a user, a guest or tokens from now on, and ends their connections.',
    request: schema.RevokeParams,
    result: schema.RevokeResult,
    run: revokeMethod,
  }),
  unrevoke: defineMethod({
    summary: 'Ends revocations that were made by revoke.',
    request: schema.UnrevokeParams,
    result: schema.UnrevokeResult,
    run: unrevokeMethod,
  }),
  revocations: defineMethod({
    summary: 'Lists the revocations that were made by revoke.',
    request: schema.RevocationsParams,
    result: schema.RevocationsResult,
    run: revocationsMethod,
  }),
  info: defineMethod({
    summary: 'Lists the gateways, and the tenant’s usage of each.',
    request: schema.InfoParams,
    result: schema.InfoResult,
    cost: () => surveyCost,
    run: infoMethod,
  }),
}

/** All names that can be called. `batch` is not in `apiMethods`, because it runs the others. */
export const methodNames: readonly string[] = [...Object.keys(apiMethods), 'batch']

/**
 * Runs a method. Rejects with UNKNOWN_TYPE for an unknown name, with TENANT_SUSPENDED, and like the method.
 */
export async function runMethod(call: ApiMethodCall, name: string, fields: unknown): Promise<MessageFields> {
  const method = Object.hasOwn(apiMethods, name) ? apiMethods[name] : undefined
  if (!method)
    throw new CommandError('UNKNOWN_TYPE', `Unknown method; the methods are ${methodNames.join(', ')}`)
  const { key, policy } = call.tenant
  if (policy.suspended)
    throw new CommandError('TENANT_SUSPENDED', `The tenant ${key} is suspended; contact its operator`)
  return method.run(call, name, fields)
}
