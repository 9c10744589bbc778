// The messages that gateways exchange over the control channel: commands about users, survey requests, and
// survey answers.
import { z } from 'zod'

const tenantFields = {
  /** `<namespace>/<name>`. */
  tenant: z.string(),
  /**
   * The tenant's identity. A tenant that is deleted and created again under the same name has another one.
   */
  tenantId: z.string(),
}

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
  ...tenantFields,
  ...ConnectionSelector.shape,
  code: z.int(),
  reason: z.string(),
})

const UnsubscribeCommand = z.object({
  kind: z.literal('unsubscribe'),
  ...tenantFields,
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
  ...tenantFields,
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
  ...tenantFields,
  ...ConnectionSelector.shape,
  ...ConnectionUpdate.shape,
})

/**
 * Asks every gateway for its usage by one tenant. The answer goes to the gateway `asker` and repeats `id`.
 */
const SurveyRequest = z.object({
  kind: z.literal('survey'),
  ...tenantFields,
  id: z.string(),
  asker: z.string(),
  /** A glob that selects the channels to list by name. Absent: the answer lists none. */
  pattern: z.string().optional(),
})
export type SurveyRequest = z.infer<typeof SurveyRequest>

export const ControlCommand = z.discriminatedUnion('kind', [
  DisconnectCommand,
  SubscribeCommand,
  UnsubscribeCommand,
  RefreshCommand,
  SurveyRequest,
])
export type ControlCommand = z.infer<typeof ControlCommand>

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
   * `namedChannelsMax`.
   */
  named: z.array(z.tuple([z.string(), z.int()])),
})
export type SurveyAnswer = z.infer<typeof SurveyAnswer>

export const namedChannelsMax = 10_000
