// What gateways tell each other over the control channel: orders about users, questions, and the answers to these.
import { z } from 'zod'

const ofTenant = {
  /** `<namespace>/<name>`, and its identity: a tenant recreated under the name is another. */
  tenant: z.string(),
  tenantId: z.string(),
}

/** Whose connections: all of `user` (empty: of all guests), those named `client`, or the one of `session`; never those named in `except`. */
export const ConnectionSelector = z.object({
  user: z.string(),
  client: z.string().optional(),
  session: z.string().optional(),
  except: z.array(z.string()).optional(),
})
export type ConnectionSelector = z.infer<typeof ConnectionSelector>

const Disconnect = z.object({
  kind: z.literal('disconnect'),
  ...ofTenant,
  ...ConnectionSelector.shape,
  code: z.int(),
  reason: z.string(),
})

const Unsubscribe = z.object({
  kind: z.literal('unsubscribe'),
  ...ofTenant,
  ...ConnectionSelector.shape,
  channel: z.string(),
})

/** What connections are subscribed to, though their clients did not ask. */
export const SubscriptionRequest = z.object({
  channel: z.string(),
  /** What they missed since then comes with it. Absent: they start now. */
  since: z.object({ epoch: z.string(), offset: z.int() }).optional(),
  /** Absent: it lasts as long as the connection. */
  expiresAtMs: z.int().optional(),
  /** JSON text for the client. */
  data: z.string().optional(),
})
export type SubscriptionRequest = z.infer<typeof SubscriptionRequest>

const Subscribe = z.object({
  kind: z.literal('subscribe'),
  ...ofTenant,
  ...ConnectionSelector.shape,
  ...SubscriptionRequest.shape,
})

/** Other facts of connections. What is absent stays as it is. */
export const ConnectionUpdate = z.object({
  /** Its time is over now. */
  expired: z.boolean().optional(),
  expiresAtMs: z.int().optional(),
  /** JSON text that others see. */
  info: z.string().optional(),
})
export type ConnectionUpdate = z.infer<typeof ConnectionUpdate>

const Refresh = z.object({
  kind: z.literal('refresh'),
  ...ofTenant,
  ...ConnectionSelector.shape,
  ...ConnectionUpdate.shape,
})

/** Asks every gateway how the tenant stands there; `asker` and `id` say where the answer goes. */
const SurveyRequest = z.object({
  kind: z.literal('survey'),
  ...ofTenant,
  id: z.string(),
  asker: z.string(),
  /** A glob; absent: no channel is wanted by name. */
  pattern: z.string().optional(),
})
export type SurveyRequest = z.infer<typeof SurveyRequest>

export const ControlCommand = z.discriminatedUnion('kind', [Disconnect, Subscribe, Unsubscribe, Refresh, SurveyRequest])
export type ControlCommand = z.infer<typeof ControlCommand>

export const SurveyAnswer = z.object({
  survey: z.string(),
  gateway: z.string(),
  clients: z.int(),
  users: z.int(),
  subscriptions: z.int(),
  /** With a subscriber on that gateway. */
  channels: z.int(),
  uptimeS: z.number(),
  /** Those that fit the pattern, with their subscribers there, at most `namedChannelsMax`. */
  named: z.array(z.tuple([z.string(), z.int()])),
})
export type SurveyAnswer = z.infer<typeof SurveyAnswer>

export const namedChannelsMax = 10_000
