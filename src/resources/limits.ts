// What can be limited, in one table for plans (every limit has a default) and quotas (every limit may be left to the plan).
import { z } from 'zod'
import { celRules } from './cel.js'
import { channelNameBytesMax } from '../tenant/channel.js'
import { duration } from './common.js'

const count = (max: number): z.ZodInt => z.int().min(0).max(max)

const connections = {
  max: count(1_000_000).describe('Connections of the tenant at one time, over all gateways.'),
  perUser: count(10_000).describe('Connections of one user at one time.'),
  connectsPerSecond: count(100_000).describe('New connections per second.'),
  commandsPerSecond: count(10_000).describe(
    'Commands per second that one connection may send, whatever they are.',
  ),
}

const messages = {
  publishPerSecond: count(1_000_000).describe(
    'Messages that the tenant’s clients may send per second, together.',
  ),
  publishBurst: count(10_000_000).describe(
    'Messages that may come at once after a quiet time. Default: publishPerSecond of the same object.',
  ),
  maxBytes: z.int().min(1).max(65_536).describe('Bytes of the longest message.'),
  fanoutPerSecond: count(100_000_000).describe(
    'Deliveries per second: one message to a thousand subscribers is a thousand.',
  ),
}

const channels = {
  max: count(10_000_000).describe('Channels that have subscribers at one time.'),
  maxSubscribersPerChannel: count(1_000_000).describe('Connections subscribed to one channel.'),
  maxSubscriptionsPerConnection: count(10_000).describe('Channels that one connection may subscribe to.'),
  nameMaxLength: z.int().min(1).max(channelNameBytesMax).describe('Bytes of the longest channel name.'),
}

const retention = {
  historyMessages: count(100_000).describe(
    'Messages that a channel may keep. A channel rule that asks for more gets this many; 0 turns history off.',
  ),
  historyTTL: duration({ min: '1s', max: '720h' }).describe(
    'How long a channel may keep a message. A channel rule that asks for longer gets this.',
  ),
  presence: z.boolean().describe('May channels show who is there?'),
}

const groupDescriptions = {
  connections: 'Connections and what they may send.',
  messages: 'Messages sent and delivered.',
  channels: 'Channels and subscriptions.',
  retention: 'What is kept for late comers.',
}

const burstRules = celRules([
  {
    rule: '!has(self.publishBurst) || !has(self.publishPerSecond) || self.publishBurst >= self.publishPerSecond',
    message: 'The burst is below the rate (publishPerSecond): raise the burst or leave it out.',
    fieldPath: '.publishBurst',
  },
])

export const PlanLimits = z.strictObject({
  connections: z
    .strictObject({
      max: connections.max.default(1000),
      perUser: connections.perUser.default(20),
      connectsPerSecond: connections.connectsPerSecond.default(100),
      commandsPerSecond: connections.commandsPerSecond.default(50),
    })
    .prefault({})
    .describe(groupDescriptions.connections),
  messages: z
    .strictObject({
      publishPerSecond: messages.publishPerSecond.default(100),
      publishBurst: messages.publishBurst.optional(),
      maxBytes: messages.maxBytes.default(16_384),
      fanoutPerSecond: messages.fanoutPerSecond.default(10_000),
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
    })
    .prefault({})
    .describe(groupDescriptions.retention),
})
export type PlanLimits = z.output<typeof PlanLimits>

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
  })
  .partial()
export type Quota = z.output<typeof Quota>

function checkBurst(
  limits: { publishPerSecond?: number | undefined; publishBurst?: number | undefined },
  context: z.core.$RefinementCtx,
): void {
  const { publishPerSecond = 0, publishBurst = publishPerSecond } = limits
  if (publishBurst >= publishPerSecond) return
  const message = `A burst of ${publishBurst} is below the rate of ${publishPerSecond} per second: raise the burst or leave it out.`
  context.addIssue({ code: 'custom', path: ['publishBurst'], message })
}
