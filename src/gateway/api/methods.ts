// The methods of the server API, by the names that Centrifuge's server clients know.
import { CommandError } from '../../errors.js'
import type { Fields } from '../../protocol/fields.js'
import { apiMethod, type ApiCall, type ApiMethod } from './method.js'
import { broadcast, publish } from './publish.js'
import { channels, history, historyRemove, info, presence, presenceStats } from './query.js'
import * as schema from './schema.js'
import { disconnect, refresh, subscribe, unsubscribe } from './users.js'

export const apiMethods: Readonly<Record<string, ApiMethod>> = {
  publish: apiMethod({
    about: 'Sends a message to a channel.',
    request: schema.Publish,
    result: schema.PublishResult,
    run: publish,
  }),
  broadcast: apiMethod({
    about: 'Sends one message to several channels.',
    request: schema.Broadcast,
    result: schema.BroadcastResult,
    run: broadcast,
  }),
  subscribe: apiMethod({
    about: 'Subscribes a user’s connections to a channel.',
    request: schema.Subscribe,
    result: schema.Nothing,
    run: subscribe,
  }),
  unsubscribe: apiMethod({
    about: 'Ends a user’s subscriptions to a channel, with 2000.',
    request: schema.Unsubscribe,
    result: schema.Nothing,
    run: unsubscribe,
  }),
  disconnect: apiMethod({
    about: 'Ends a user’s connections.',
    request: schema.Disconnect,
    result: schema.Nothing,
    run: disconnect,
  }),
  refresh: apiMethod({
    about: 'Lets a user’s connections live longer, or asks them for a new token.',
    request: schema.Refresh,
    result: schema.Nothing,
    run: refresh,
  }),
  presence: apiMethod({
    about: 'Who is on a channel, by connection.',
    request: schema.OfChannel,
    result: schema.PresenceResult,
    run: presence,
  }),
  presence_stats: apiMethod({
    about: 'How many are on a channel.',
    request: schema.OfChannel,
    result: schema.PresenceStatsResult,
    run: presenceStats,
  }),
  history: apiMethod({
    about: 'What was said on a channel: at most 1000 publications and 1 MiB at once.',
    request: schema.History,
    result: schema.HistoryResult,
    run: history,
  }),
  history_remove: apiMethod({
    about: 'Forgets what was said on a channel; offset and epoch stay.',
    request: schema.OfChannel,
    result: schema.Nothing,
    run: historyRemove,
  }),
  channels: apiMethod({
    about: 'Channels with subscribers, over all gateways.',
    request: schema.Channels,
    result: schema.ChannelsResult,
    run: channels,
  }),
  info: apiMethod({
    about: 'The gateways, and what the tenant has on each.',
    request: schema.Info,
    result: schema.InfoResult,
    run: info,
  }),
}

/** All that can be called; `batch` is no method like the others. */
export const callNames: readonly string[] = [...Object.keys(apiMethods), 'batch']

/** Rejects with UNKNOWN_TYPE for a name that is no method's, and as the method does. */
export async function runMethod(call: ApiCall, name: string, fields: unknown): Promise<Fields> {
  const method = Object.hasOwn(apiMethods, name) ? apiMethods[name] : undefined
  if (!method)
    throw new CommandError(
      'UNKNOWN_TYPE',
      `There is no method of that name; there are ${callNames.join(', ')}`,
    )
  const { key, policy } = call.tenant
  if (policy.suspended)
    throw new CommandError('TENANT_SUSPENDED', `The tenant ${key} is suspended; ask whoever runs it`)
  return method.run(call, fields)
}
