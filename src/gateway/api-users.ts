// What a backend may have done about users, on whatever gateway they are.
import type { z } from 'zod'
import { CommandError } from '../errors.js'
import { closeCodes } from '../protocol/codes.js'
import { object, type Pieces } from '../protocol/json-pieces.js'
import { nestingDepth, payloadDepthMax, rawValue } from '../protocol/raw-json.js'
import { channelOf, type ApiCall } from './api-method.js'
import type { Disconnect, Refresh, Subscribe, Unsubscribe } from './api-schema.js'
import type { Connections } from './order.js'

/** Clients subscribe themselves here; when sessions can be subscribed by the server, this becomes an order like the others. */
export async function subscribe(call: ApiCall, fields: z.infer<typeof Subscribe>): Promise<Pieces> {
  call.caller.require('Subscribe', channelOf(call, fields.channel))
  throw new CommandError(
    'NOT_AVAILABLE',
    'Clients are not subscribed by the server here: give them a subscription token, or a channel rule',
  )
}

export async function unsubscribe(call: ApiCall, fields: z.infer<typeof Unsubscribe>): Promise<Pieces> {
  const channel = channelOf(call, fields.channel)
  call.caller.require('Subscribe', channel)
  await call.gateway.orders.unsubscribe(call.tenant, connectionsOf(fields), channel)
  return object({})
}

export async function disconnect(call: ApiCall, fields: z.infer<typeof Disconnect>): Promise<Pieces> {
  call.caller.requireRole('Admin')
  call.caller.requireWholeTenant()
  const { code: given, reason } = fields.disconnect ?? {}
  const code = given || closeCodes.forceDisconnect.code
  await call.gateway.orders.disconnect(
    call.tenant,
    { ...connectionsOf(fields), ...(fields.whitelist && { except: fields.whitelist }) },
    { code, reason: reason || (given ? '' : closeCodes.forceDisconnect.reason) },
  )
  return object({})
}

export async function refresh(call: ApiCall, fields: z.infer<typeof Refresh>): Promise<Pieces> {
  call.caller.requireRole('Admin')
  call.caller.requireWholeTenant()
  const info = rawValue(call.text, ['info'])
  const { limits } = call.tenant.policy
  if (info !== undefined && (info.length > limits.messages.maxBytes || nestingDepth(info) > payloadDepthMax))
    throw new CommandError('BAD_REQUEST', 'info: it is longer than a message may be, or nested too deep')
  await call.gateway.orders.refresh(call.tenant, connectionsOf(fields), {
    expired: fields.expired ?? false,
    ...(fields.expire_at && { expiresAtMs: fields.expire_at * 1000 }),
    ...(info !== undefined && info !== 'null' && { info }),
  })
  return object({})
}

function connectionsOf(fields: {
  user: string
  client?: string | null | undefined
  session?: string | null | undefined
}): Connections {
  const { client, session, user } = fields
  return { user, ...(client && { client }), ...(session && { session }) }
}
