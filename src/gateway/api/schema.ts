// What the server API is asked and answers, method by method. One zod source gives the parser and the OpenAPI document.
// As in the Go structs behind this protocol, absent, null and the zero value are one thing, and unknown fields are ignored.
import { z } from 'zod'

const channel = z.string().min(1, 'It is empty').max(255).describe('Name of the channel.')
const user = z.string().max(255).describe('The user. Empty: all guests.')
const client = z.string().nullish().describe('Only connections of this name (`client` in presence).')
const session = z.string().nullish().describe('Only the connection with this id.')
const anyJson = z.unknown()
/** Unix seconds; above this they are no milliseconds that compute. */
const unixSeconds = z.int().min(0).max(8_640_000_000_000)

/** Numbers above 2^53 − 1 are no offsets of ours: a position ahead of its stream is unrecoverable, never a wrong match. */
const StreamPosition = z.object({
  offset: z.int().min(0).nullish(),
  epoch: z.string().nullish().describe('Empty: of whatever life of the stream.'),
})

const idempotencyKeyMax = 128
/** Spelled out, for tools that read the document and know no Unicode properties. */
// oxlint-disable-next-line no-control-regex -- it is what keeps them out
const keyCharacters = /^[^\u0000-\u001F\u007F-\u009F\uD800-\uDFFF]*$/u
const tagsMax = 32
const tagsBytesMax = 2_048
/** Comparing takes time with their length. */
const tagLengthMax = 128
const tagText = z.string().max(tagLengthMax)
const Tags = z
  .record(tagText, tagText)
  .refine(
    (tags) => Object.keys(tags).length <= tagsMax && bytesOf(tags) <= tagsBytesMax,
    `expected at most ${tagsMax} tags, and ${tagsBytesMax} bytes of names and values`,
  )

function bytesOf(tags: Readonly<Record<string, string>>): number {
  return Object.entries(tags).reduce((sum, pair) => sum + Buffer.byteLength(pair.join('')), 0)
}

const message = {
  data: anyJson.optional().describe('The message: any JSON but null. It reaches subscribers byte for byte.'),
  b64data: z.base64().nullish().describe('The same as base64 of JSON text, instead of `data`.'),
  skip_history: z.boolean().nullish().describe('Deliver it to who is there, and forget it.'),
  idempotency_key: z
    .string()
    .max(idempotencyKeyMax)
    .regex(keyCharacters, 'expected no control characters and no lone surrogates')
    .nullish()
    .describe(
      'A repeat within two minutes is answered like the first and delivered once; with other data it is refused (409).',
    ),
  tags: Tags.nullish().describe(
    `What it is about: subscribers see it, and may filter by it. At most ${tagsMax}, together ${tagsBytesMax} bytes.`,
  ),
  delta: z.boolean().nullish().describe('A hint; the full message is sent.'),
  version: z.int().min(0).nullish().describe('Not available: only 0 is taken.'),
  version_epoch: z.string().nullish(),
}
export const PublishRequest = z.object({ channel, ...message })

export const channelsMax = 1_000
export const BroadcastRequest = z.object({
  channels: z.array(channel).max(channelsMax).describe('Each is a publish of its own.'),
  ...message,
})

const connections = { user, client, session }
export const SubscribeRequest = z.object({
  ...connections,
  channel,
  data: anyJson.optional().describe('Any JSON, for the client: it comes with the push.'),
  b64data: z.base64().nullish().describe('The same as base64 of JSON text, instead of `data`.'),
  expire_at: unixSeconds
    .nullish()
    .describe('Unix seconds at which the subscription ends. Default: with the connection.'),
  recover_since: StreamPosition.nullish().describe(
    'What was published since comes first, if history has all of it.',
  ),
  info: anyJson.optional().describe('Not read.'),
  b64info: z.string().nullish().describe('Not read.'),
  override: z.record(z.string(), z.unknown()).nullish().describe('Not read: the channel’s rule decides.'),
})
export const UnsubscribeRequest = z.object({ ...connections, channel })
export const DisconnectRequest = z.object({
  ...connections,
  whitelist: z.array(z.string()).max(channelsMax).nullish().describe('Connections of these names stay.'),
  disconnect: z
    .object({
      code: z
        .int()
        .refine((code) => code === 0 || (code >= 3000 && code <= 4999), 'expected 3000 to 4999')
        .nullish()
        .describe('3000–4999; SDKs come back after 3000–3499 and 4000–4499. Default: 3503.'),
      reason: z
        .string()
        .refine((reason) => Buffer.byteLength(reason) <= 123, 'expected at most 123 bytes')
        .nullish(),
    })
    .nullish(),
})
export const RefreshRequest = z.object({
  ...connections,
  expired: z.boolean().nullish().describe('Close with 3005: the client needs a new token.'),
  expire_at: unixSeconds
    .nullish()
    .describe('Unix seconds until which the connection may stay. Default: as it was.'),
  info: anyJson.optional().describe('What others see of it from now on. Default: as it was.'),
})
export const ChannelRequest = z.object({ channel })
export const HistoryRequest = z.object({
  channel,
  limit: z.int32().nullish().describe('0 asks for the position alone, -1 for as many as fit.'),
  since: StreamPosition.nullish().describe('Exclusive.'),
  reverse: z.boolean().nullish().describe('Newest first.'),
})
export const ChannelsRequest = z.object({
  pattern: z
    .string()
    .max(255)
    .nullish()
    .describe('`*` stands for any text, `?` for one character. Default: all.'),
})
export const InfoRequest = z.object({})

const commandsMax = 100
export const BatchRequest = z.object({
  commands: z
    .array(z.record(z.string(), z.unknown()))
    .max(commandsMax)
    .describe('Each is one method and its request: `{"publish": {…}}`.'),
  parallel: z.boolean().nullish().describe('Do not wait for one before the next.'),
})

// ——— Answers ———

const count = z.int().min(0)
export const EmptyResult = z.object({})
const ClientInfo = z.object({
  user: z.string().optional(),
  client: z.string().optional(),
  conn_info: anyJson.optional(),
})
export const PublishResult = z.object({
  offset: count.optional().describe('Absent in a channel without history.'),
  epoch: z.string().optional(),
  durability: z.enum(['accepted', 'replicated', 'durable']).describe('What was reached before this answer.'),
})
export const ApiErrorBody = z.object({
  code: z.int().describe('Centrifuge’s number: docs/reference/codes.md.'),
  message: z.string().describe('Parley’s code, a colon, and a sentence.'),
})
export const BroadcastResult = z.object({
  responses: z
    .array(z.object({ result: PublishResult.optional(), error: ApiErrorBody.optional() }))
    .describe('One for each channel, in order.'),
})
export const PresenceResult = z.object({ presence: z.record(z.string(), ClientInfo) })
export const PresenceStatsResult = z.object({ num_clients: count, num_users: count })
export const HistoryResult = z.object({
  publications: z.array(
    z.object({
      data: anyJson,
      offset: count.optional(),
      info: ClientInfo.optional(),
      tags: z.record(z.string(), z.string()).optional(),
      time: count.optional().describe('Unix milliseconds.'),
    }),
  ),
  epoch: z.string(),
  offset: count.describe('Of the newest publication.'),
})
export const ChannelsResult = z.object({ channels: z.record(z.string(), z.object({ num_clients: count })) })
export const InfoResult = z.object({
  nodes: z.array(
    z.object({
      uid: z.string(),
      name: z.string(),
      version: z.string(),
      num_clients: count,
      num_users: count,
      num_subs: count,
      num_channels: count,
      uptime: count.describe('Seconds.'),
    }),
  ),
})
