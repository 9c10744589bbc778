// The requests and results of the server API. The same zod schemas parse the requests and generate the
// OpenAPI document. As in the Go structs of Centrifugo, an absent field, null and the zero value mean the
// same, and unknown fields are ignored.
import { z } from 'zod'
import { userProblem } from '../../tenant/user.js'

const channel = z.string().min(1, 'It is empty').max(255).describe('Name of the channel.')
const user = z
  .string()
  .max(255)
  .superRefine((value, context) => {
    const problem = userProblem(value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: `names a user ${problem}` })
  })
  .describe('The user. Empty: all guests.')
const client = z.string().nullish().describe('Only connections with this client id (`client` in presence).')
const session = z.string().nullish().describe('Only the connection with this id.')
const anyJson = z.unknown()
/** Unix seconds. The limit is the largest time that a JavaScript Date can represent. */
const unixSeconds = z.int().min(0).max(8_640_000_000_000)

/**
 * Numbers above 2^53 − 1 are not offsets that Parley assigns. A position ahead of its stream cannot be
 * recovered, so it never matches wrongly.
 */
const StreamPosition = z.object({
  offset: z.int().min(0).nullish(),
  epoch: z.string().nullish().describe('Empty: the current epoch of the stream.'),
})

const idempotencyKeyMax = 128
/** Spelled out, because some tools that read the OpenAPI document do not support Unicode properties. */
// oxlint-disable-next-line no-control-regex -- the expression excludes control characters
const keyCharacters = /^[^\u0000-\u001F\u007F-\u009F\uD800-\uDFFF]*$/u
const tagsMax = 32
const tagsBytesMax = 2_048
/** Comparing tags takes time in proportion to their length. */
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
  skip_history: z
    .boolean()
    .nullish()
    .describe('Deliver the message to current subscribers without storing it.'),
  idempotency_key: z
    .string()
    .max(idempotencyKeyMax)
    .regex(keyCharacters, 'expected no control characters and no lone surrogates')
    .nullish()
    .describe(
      'A repeat within two minutes is delivered once and gets the first result. With other data it is refused (409).',
    ),
  tags: Tags.nullish().describe(
    `Names and values for subscribers and their filters. At most ${tagsMax}, together ${tagsBytesMax} bytes.`,
  ),
  delta: z.boolean().nullish().describe('Accepted, but the full message is sent.'),
  version: z.int().min(0).nullish().describe('Not supported: must be 0.'),
  version_epoch: z.string().nullish(),
}
export const PublishParams = z.object({ channel, ...message })

export const channelsMax = 1_000
export const BroadcastParams = z.object({
  channels: z.array(channel).max(channelsMax).describe('Each channel gets its own publication.'),
  ...message,
})

const connections = { user, client, session }
export const SubscribeParams = z.object({
  ...connections,
  channel,
  data: anyJson.optional().describe('Any JSON; the client receives it with the push.'),
  b64data: z.base64().nullish().describe('The same as base64 of JSON text, instead of `data`.'),
  expire_at: unixSeconds
    .nullish()
    .describe('Unix seconds at which the subscription ends. Default: it ends with the connection.'),
  recover_since: StreamPosition.nullish().describe(
    'Publications after this position are delivered first, if the history holds all of them.',
  ),
  info: anyJson.optional().describe('Not read.'),
  b64info: z.string().nullish().describe('Not read.'),
  override: z.record(z.string(), z.unknown()).nullish().describe('Ignored: the channel’s rule applies.'),
})
export const UnsubscribeParams = z.object({ ...connections, channel })
export const DisconnectParams = z.object({
  ...connections,
  whitelist: z
    .array(z.string())
    .max(channelsMax)
    .nullish()
    .describe('Connections with these client ids stay connected.'),
  disconnect: z
    .object({
      code: z
        .int()
        .refine((code) => code === 0 || (code >= 3000 && code <= 4999), 'expected 3000 to 4999')
        .nullish()
        .describe('3000–4999; SDKs reconnect after 3000–3499 and 4000–4499. Default: 3503.'),
      reason: z
        .string()
        .refine((reason) => Buffer.byteLength(reason) <= 123, 'expected at most 123 bytes')
        .nullish(),
    })
    .nullish(),
})
export const RefreshParams = z.object({
  ...connections,
  expired: z.boolean().nullish().describe('Close with 3005: the client needs a new token.'),
  expire_at: unixSeconds
    .nullish()
    .describe('Unix seconds at which the connection expires. Default: unchanged.'),
  info: anyJson
    .optional()
    .describe('The connection’s info that other clients see from now on. Default: unchanged.'),
})
export const ChannelParams = z.object({ channel })
export const HistoryParams = z.object({
  channel,
  limit: z
    .int32()
    .nullish()
    .describe('0 reads only the position, -1 as many publications as the limits allow.'),
  since: StreamPosition.nullish().describe('Exclusive.'),
  reverse: z.boolean().nullish().describe('Newest first.'),
})
export const ChannelsParams = z.object({
  pattern: z
    .string()
    .max(255)
    .nullish()
    .describe('`*` matches any text, `?` matches one character. Default: all.'),
})
export const InfoParams = z.object({})

/**
 * Names of revocations hold no control characters: see redis/scripts.ts of the room `revocation`. An empty
 * name is not an absent one, because a revocation without `user` is of the whole tenant.
 */
const revocable = z
  .string()
  .min(1, 'expected a name that is not empty')
  .max(255)
  .regex(keyCharacters, 'expected no control characters')
  .nullish()
const revokedUser = revocable.describe('A user, or a guest as `guest:<id>`.')
/** Strict, because a misspelt field would revoke more than was meant. */
export const RevokeParams = z.strictObject({
  user: revokedUser,
  jti: revocable.describe('The id of one token. Requires `expires_at`.'),
  token: z
    .string()
    .min(1, 'expected a token')
    .max(16_384)
    .nullish()
    .describe('A valid connection token, instead of `jti` and `expires_at`.'),
  issued_before: unixSeconds
    .min(1, 'expected a time after 1970')
    .nullish()
    .describe(
      'Unix seconds. Only tokens whose `iat` is earlier: those of `user`, or without `user` of the whole tenant. A token without `iat` is earlier.',
    ),
  expires_at: unixSeconds
    .min(1, 'expected a time after 1970')
    .nullish()
    .describe(
      'Unix seconds at which the revocation ends by itself: when the last token that it hits expires. Default: it stays until `unrevoke`.',
    ),
})
export const UnrevokeParams = z.strictObject({
  user: revokedUser,
  jti: revocable,
  tenant: z.boolean().nullish().describe('The revocation by `issued_before` of the whole tenant.'),
})
const revocationsPageMax = 1_000
export const RevocationsParams = z.object({
  limit: z.int().min(0).max(revocationsPageMax).nullish().describe('Default: 100.'),
  cursor: z
    .string()
    .max(300)
    .regex(keyCharacters, 'expected the cursor of a page')
    .nullish()
    .describe('The `cursor` of the previous page. Default: the first page.'),
})

const commandsMax = 100
export const BatchParams = z.object({
  commands: z
    .array(z.record(z.string(), z.unknown()))
    .max(commandsMax)
    .describe('Each is one method and its request: `{"publish": {…}}`.'),
  parallel: z.boolean().nullish().describe('Run the commands concurrently.'),
})

// ——— Results ———

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
  durability: z
    .enum(['accepted', 'replicated', 'durable'])
    .describe('The durability that the message had before this response.'),
})
export const ApiErrorBody = z.object({
  code: z.int().describe('Centrifuge’s number: docs/reference/codes.md.'),
  message: z.string().describe('Parley’s error code, a colon, and a sentence.'),
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
  offset: count.describe('The offset of the newest publication.'),
})
const incomplete = z
  .object({ answered: count, expected: count })
  .optional()
  .describe('Present when not all gateways answered in time: their channels and connections are missing.')
export const ChannelsResult = z.object({
  channels: z.record(z.string(), z.object({ num_clients: count })),
  incomplete,
})
const RevocationFields = z.object({
  user: z.string().optional(),
  jti: z.string().optional(),
  issued_before: count.optional().describe('Unix seconds.'),
  expires_at: count.optional().describe('Unix seconds. Absent: it stays until `unrevoke`.'),
})
export const RevokeResult = RevocationFields
export const UnrevokeResult = z.object({ removed: count.describe('How many revocations ended: 0 to 2.') })
export const RevocationsResult = z.object({
  revocations: z.array(RevocationFields),
  cursor: z.string().optional().describe('For the next page. Absent on the last one.'),
  total: count,
})
export const InfoResult = z.object({
  incomplete,
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
