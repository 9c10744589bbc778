// The messages that gateways exchange: commands about the users of a tenant on the tenant's own control
// channel, and survey requests and answers on channels that all tenants share.
import { z } from 'zod'

/**
 * Selects connections: all of `user` (empty: of all guests), only those of the client id `client`, or only
 * the one with the session id `session`. Connections whose client id is in `except` are left out.
 */
export const ConnectionSelector = z.object({
  user: z.string(),
  client: z.string().optional(),
  session: z.string().optional(),
  except: z.array(z.string()).optional(),
})
export type ConnectionSelector = z.infer<typeof ConnectionSelector>

const DisconnectCommand = z.object({
  kind: z.literal('disconnect'),
  ...ConnectionSelector.shape,
  code: z.int(),
  reason: z.string(),
})

const UnsubscribeCommand = z.object({
  kind: z.literal('unsubscribe'),
  ...ConnectionSelector.shape,
  channel: z.string(),
})

/** A subscription that the backend makes on behalf of clients. */
export const SubscriptionRequest = z.object({
  channel: z.string(),
  /**
   * Publications after this position are delivered first. Absent: the subscription starts at the current
   * position.
   */
  since: z.object({ epoch: z.string(), offset: z.int() }).optional(),
  /** Milliseconds since the epoch. Absent: the subscription lasts as long as the connection. */
  expiresAtMs: z.int().optional(),
  /** JSON text for the client. */
  data: z.string().optional(),
})
export type SubscriptionRequest = z.infer<typeof SubscriptionRequest>

const SubscribeCommand = z.object({
  kind: z.literal('subscribe'),
  ...ConnectionSelector.shape,
  ...SubscriptionRequest.shape,
})

/** Changes to connections. Absent fields stay as they are. */
export const ConnectionUpdate = z.object({
  /** True: the connection expires now. */
  expired: z.boolean().optional(),
  /** Milliseconds since the epoch. */
  expiresAtMs: z.int().optional(),
  /** JSON text that other clients see. */
  info: z.string().optional(),
})
export type ConnectionUpdate = z.infer<typeof ConnectionUpdate>

const RefreshCommand = z.object({
  kind: z.literal('refresh'),
  ...ConnectionSelector.shape,
  ...ConnectionUpdate.shape,
})

/** A command of a tenant's backend about its users. */
export const UserCommand = z.discriminatedUnion('kind', [
  DisconnectCommand,
  SubscribeCommand,
  UnsubscribeCommand,
  RefreshCommand,
])
export type UserCommand = z.infer<typeof UserCommand>

/**
 * One message on the control channel of a tenant. Each command is parsed for itself, because newer gateways
 * may send kinds that this one does not know.
 */
export const CommandBatch = z.object({ commands: z.array(z.unknown()) })

/**
 * Asks every gateway for its usage by one tenant. The answer goes to the gateway `asker` and repeats `id`.
 */
export const SurveyRequest = z.object({
  /** `<namespace>/<name>`. */
  tenant: z.string(),
  /**
   * The tenant's identity. A tenant that is deleted and created again under the same name has another one.
   */
  tenantId: z.string(),
  id: z.string(),
  asker: z.string(),
  /** A glob that selects the channels to list by name. Absent: the answer lists none. */
  pattern: z.string().optional(),
  /** The most bytes of names in one answer. */
  namedBytesMax: z.int(),
})
export type SurveyRequest = z.infer<typeof SurveyRequest>

export const SurveyAnswer = z.object({
  /** The id of the survey. */
  survey: z.string(),
  /** The id of the gateway that answers. */
  gateway: z.string(),
  clients: z.int(),
  users: z.int(),
  subscriptions: z.int(),
  /** The number of channels with a subscriber on that gateway. */
  channels: z.int(),
  uptimeS: z.number(),
  /**
   * Channels that match the pattern, each with its number of subscribers on that gateway; at most
   * `namedChannelsMax`, and at most `namedBytesMax` bytes.
   */
  named: z.array(z.tuple([z.string(), z.int()])),
  /** True: more channels match. Absent: all are named. */
  truncated: z.boolean().optional(),
})
export type SurveyAnswer = z.infer<typeof SurveyAnswer>

export const namedChannelsMax = 10_000
