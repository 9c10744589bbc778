// The schemas of limits: those of plans, where every limit has a default, and quotas, where every limit is
// optional.
import { z } from 'zod'
import { celRules } from './cel.js'
import { channelNameBytesMax } from '../tenant/channel.js'
import { limitDefaults } from '../tenant/policy.js'
import { duration } from './common.js'

const count = (max: number): z.ZodInt => z.int().min(0).max(max)

const connections = {
  max: count(1_000_000).describe(
    'The maximum number of connections that the tenant may have at one time, over all gateways.',
  ),
  perUser: count(10_000).describe('The maximum number of connections that one user may have at one time.'),
  connectsPerSecond: count(100_000).describe('The maximum number of new connections per second.'),
  commandsPerSecond: count(10_000).describe(
    'The maximum number of commands of any kind that one connection may send per second.',
  ),
  guests: count(1_000_000).describe(
    'The maximum number of connections that guests, which are clients without a token, may have at one ' +
      'time. They are part of max, and the rest of max is for signed-in users only. A number above max ' +
      'counts as max. Default: half of max of the same object.',
  ),
}

const messages = {
  publishPerSecond: count(1_000_000).describe(
    'The maximum number of messages that all clients of the tenant together may publish per second.',
  ),
  publishBurst: count(10_000_000).describe(
    'The maximum number of messages in a burst after an idle time. Default: publishPerSecond ' +
      'of the same object.',
  ),
  maxBytes: z.int().min(1).max(65_536).describe('The maximum size of a message, in bytes.'),
  fanoutPerSecond: count(100_000_000).describe(
    'The maximum number of deliveries per second. One message to a thousand subscribers counts as a ' +
      'thousand deliveries.',
  ),
  readsPerSecond: count(1_000_000).describe(
    'The maximum number of reads of history and presence per second, by all clients and backends of the ' +
      'tenant together.',
  ),
  joinsPerSecond: count(1_000_000).describe(
    'The maximum number of subscriptions per second that all clients of the tenant together may begin.',
  ),
  bytesOutPerSecond: count(100_000_000_000).describe(
    'The maximum number of bytes per second that the gateways send to all clients of the tenant together. ' +
      'While more was sent, publishes and reads are refused.',
  ),
}

const channels = {
  max: count(10_000_000).describe('The maximum number of channels that may have subscribers at one time.'),
  maxSubscribersPerChannel: count(1_000_000).describe(
    'The maximum number of connections that may be subscribed to one channel.',
  ),
  maxSubscriptionsPerConnection: count(10_000).describe(
    'The maximum number of channels that one connection may be subscribed to.',
  ),
  nameMaxLength: z
    .int()
    .min(1)
    .max(channelNameBytesMax)
    .describe('The maximum length of a channel name, in bytes of UTF-8.'),
}

const retention = {
  historyMessages: count(100_000).describe(
    'The maximum number of messages that a channel may keep. A channel rule that asks for more gets this number. ' +
      '0 turns history off.',
  ),
  historyTTL: duration({ min: '1s', max: '720h' }).describe(
    'The maximum time that a channel may keep a message. A channel rule that asks for a longer time ' +
      'gets this one.',
  ),
  presence: z.boolean().describe('Whether channels may keep a list of the clients that are subscribed.'),
  storedBytes: count(1_099_511_627_776).describe(
    'The maximum number of bytes that the stored messages of the tenant may use in Redis. Messages above ' +
      'it are refused until older ones expire.',
  ),
}

const api = {
  requestsPerSecond: count(1_000_000).describe(
    'The maximum number of calls of the server API per second. Each command of a batch counts as a call.',
  ),
}

const groupDescriptions = {
  connections: 'Limits of connections.',
  messages: 'Limits of published and delivered messages.',
  channels: 'Limits of channels and subscriptions.',
  retention: 'Limits of stored messages and presence.',
  api: 'Limits of the server API.',
}

const burstRules = celRules([
  {
    rule:
      '!has(self.publishBurst) || !has(self.publishPerSecond) || self.publishBurst >= ' +
      'self.publishPerSecond',
    message: 'publishBurst is below publishPerSecond: raise publishBurst or omit it.',
    fieldPath: '.publishBurst',
  },
])

/** The limits of a plan. */
export const PlanLimits = z.strictObject({
  connections: z
    .strictObject({
      max: connections.max.default(1000),
      perUser: connections.perUser.default(20),
      connectsPerSecond: connections.connectsPerSecond.default(100),
      commandsPerSecond: connections.commandsPerSecond.default(50),
      guests: connections.guests.optional(),
    })
    .prefault({})
    .describe(groupDescriptions.connections),
  messages: z
    .strictObject({
      publishPerSecond: messages.publishPerSecond.default(100),
      publishBurst: messages.publishBurst.optional(),
      maxBytes: messages.maxBytes.default(16_384),
      fanoutPerSecond: messages.fanoutPerSecond.default(10_000),
      readsPerSecond: messages.readsPerSecond.default(limitDefaults.messages.readsPerSecond),
      joinsPerSecond: messages.joinsPerSecond.default(limitDefaults.messages.joinsPerSecond),
      bytesOutPerSecond: messages.bytesOutPerSecond.default(limitDefaults.messages.bytesOutPerSecond),
    })
    .superRefine(checkBurst)
    .meta(burstRules)
    .prefault({})
    .describe(groupDescriptions.messages),
  channels: z
    .strictObject({
      max: channels.max.default(1000),
      maxSubscribersPerChannel: channels.maxSubscribersPerChannel.default(1000),
      maxSubscriptionsPerConnection: channels.maxSubscriptionsPerConnection.default(100),
      nameMaxLength: channels.nameMaxLength.default(128),
    })
    .prefault({})
    .describe(groupDescriptions.channels),
  retention: z
    .strictObject({
      historyMessages: retention.historyMessages.default(1000),
      historyTTL: retention.historyTTL.default('24h'),
      presence: retention.presence.default(true),
      storedBytes: retention.storedBytes.default(limitDefaults.retention.storedBytes),
    })
    .prefault({})
    .describe(groupDescriptions.retention),
  api: z
    .strictObject({
      requestsPerSecond: api.requestsPerSecond.default(limitDefaults.api.requestsPerSecond),
    })
    .prefault({})
    .describe(groupDescriptions.api),
})
export type PlanLimits = z.output<typeof PlanLimits>

/** The limits that a tenant sets for itself. */
export const Quota = z
  .strictObject({
    connections: z.strictObject(connections).partial().describe(groupDescriptions.connections),
    messages: z
      .strictObject(messages)
      .partial()
      .superRefine(checkBurst)
      .meta(burstRules)
      .describe(groupDescriptions.messages),
    channels: z.strictObject(channels).partial().describe(groupDescriptions.channels),
    retention: z.strictObject(retention).partial().describe(groupDescriptions.retention),
    api: z.strictObject(api).partial().describe(groupDescriptions.api),
  })
  .partial()
export type Quota = z.output<typeof Quota>

function checkBurst(
  limits: { publishPerSecond?: number | undefined; publishBurst?: number | undefined },
  context: z.core.$RefinementCtx,
): void {
  const { publishPerSecond = 0, publishBurst = publishPerSecond } = limits
  if (publishBurst >= publishPerSecond) return
  const message =
    `publishBurst (${publishBurst}) is below publishPerSecond (${publishPerSecond}): ` +
    'raise publishBurst or omit it.'
  context.addIssue({ code: 'custom', path: ['publishBurst'], message })
}
